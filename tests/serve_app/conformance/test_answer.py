"""What holds of answers in every dialect."""

import pytest

from serve_app.conformance.answer import Answer, Call, Finish, Usage, arguments
from serve_app.conformance.part import Malformed, Part


@pytest.mark.parametrize(
    ("reasoning", "calls", "finish", "usage", "effort", "said"),
    [
        ("", 0, "stop", Usage(1, 1), "none", None),
        ("hm", 0, "stop", Usage(1, 1), "high", None),
        ("", 1, "tool_calls", Usage(1, 1), "none", None),
        ("", 1, "length", Usage(1, 1), "none", None),
        ("hm", 0, "stop", Usage(1, 1), "none", "reasoning: is there at effort none: 'hm'"),
        ("", 1, "stop", Usage(1, 1), "none", "finish reason: is stop with 1 tool calls"),
        ("", 0, "tool_calls", Usage(1, 1), "none", "finish reason: is tool_calls with 0 tool calls"),
        ("", 0, "stop", Usage(1, 0), "none", "usage: counts no token of the answer"),
        ("", 0, "stop", Usage(0, 1), "none", "usage: counts no token of the prompt"),
    ],
)
def test_check(
    reasoning: str, calls: int, finish: Finish, usage: Usage, effort: str, said: str | None
) -> None:
    """Parts that contradict each other are found."""
    answer = Answer("x", reasoning, (Call("f", {}),) * calls, finish, usage)
    if said is None:
        answer.check(effort)
        return
    with pytest.raises(Malformed, match=said):
        answer.check(effort)


def test_arguments() -> None:
    """They are an object in JSON; what was cut off may be half of one."""
    assert arguments(Part('{"a": 1}', "x"), is_cut=False) == {"a": 1}
    assert arguments(Part('{"a": ', "x"), is_cut=True) == '{"a": '
    with pytest.raises(Malformed, match=r"x: is no JSON .*: '\{\"a\": '"):
        arguments(Part('{"a": ', "x"), is_cut=False)
    with pytest.raises(Malformed, match="x: must be an object, not 1"):
        arguments(Part("1", "x"), is_cut=False)
