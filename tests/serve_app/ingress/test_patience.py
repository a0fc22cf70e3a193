"""How long clients say that they wait."""

import pytest

from serve_app.errors import InvalidRequest
from serve_app.ingress.patience import READ_TIMEOUT_HEADER, WHOLE_TIMEOUT_HEADER, deadlines

NOW_S, LONGEST_S = 100.0, 1800.0


@pytest.mark.parametrize(
    ("headers", "is_stream", "wanted"),
    [
        ({}, True, (None, 1900)),
        ({READ_TIMEOUT_HEADER: "600.0"}, False, (None, 700)),
        ({READ_TIMEOUT_HEADER: "600"}, True, (700, 1900)),
        ({READ_TIMEOUT_HEADER: "9999"}, False, (None, 1900)),
        ({READ_TIMEOUT_HEADER: "inf"}, True, (1900, 1900)),
        ({WHOLE_TIMEOUT_HEADER: "15000"}, True, (None, 115)),
        ({WHOLE_TIMEOUT_HEADER: "0"}, False, (None, 1900)),
        ({READ_TIMEOUT_HEADER: "600", WHOLE_TIMEOUT_HEADER: "15000"}, True, (115, 115)),
    ],
)
def test_deadlines(headers: dict[str, str], is_stream: bool, wanted: tuple[float | None, float]) -> None:
    """A read timeout is for the first token of a stream, or for all of another answer; the least counts."""
    assert deadlines(headers, is_stream, NOW_S, LONGEST_S) == wanted


@pytest.mark.parametrize("value", ["soon", "-1", "nan", ""])
@pytest.mark.parametrize("name", [READ_TIMEOUT_HEADER, WHOLE_TIMEOUT_HEADER])
def test_not_a_time(name: str, value: str) -> None:
    """The refusal names the header and what stands there."""
    with pytest.raises(InvalidRequest, match=f"{name} must be a number of at least 0, not {value!r}"):
        deadlines({name: value}, False, NOW_S, LONGEST_S)
