"""Requests with a mistake in them are refused, with a status and in a form."""

import httpx
import pytest

from serve_app.conformance.matrix import Outcome
from tests.serve_app.conformance.scripted import Scripted
from tests.serve_app.conformance.speech import Payload
from tests.serve_app.conformance.spoil import row

OPENAI = {"error": {"message": "no", "type": "invalid_request_error", "param": None, "code": 400}}
ANTHROPIC = {"type": "error", "error": {"type": "invalid_request_error", "message": "no"}}


def refusing(status: int, body: Payload) -> Scripted:
    """A server that refuses whatever is asked."""
    return Scripted(instead=lambda request: httpx.Response(status, json=body))


@pytest.mark.parametrize("how", ["whole", "stream"])
@pytest.mark.parametrize(
    ("dialect", "mistake", "status", "body", "said"),
    [
        ("chat", "unknown-effort", 400, OPENAI, ""),
        ("messages", "unknown-effort", 400, ANTHROPIC, ""),
        ("chat", "unknown-effort", 422, OPENAI, "must be refused with 400, not 422: "),
        ("chat", "long-prompt", 500, OPENAI, "must be refused with 400 or 413, not 500: "),
        ("chat", "unknown-effort", 400, {"detail": "no"}, "error: is missing"),
        (
            "responses",
            "unknown-effort",
            400,
            {"error": {"message": "no", "type": "x"}},
            "error.param: is missing",
        ),
        (
            "chat",
            "unknown-effort",
            400,
            {"error": OPENAI["error"] | {"code": []}},
            "error.code: must be null",
        ),
        ("messages", "unknown-effort", 400, OPENAI, "type: is missing"),
        (
            "messages",
            "unknown-model",
            400,
            {"type": "error", "error": {"type": "x"}},
            "error.type: must be 'inv",
        ),
    ],
)
def test_refusals(how: str, dialect: str, mistake: str, status: int, body: Payload, said: str) -> None:
    """Status and form are those of the dialect."""
    came = row(refusing(status, body), f"{dialect} {how} {mistake}")
    assert came.outcome is (Outcome.FAILED if said else Outcome.OK)
    assert came.reason.startswith(said)


def test_what_is_sent() -> None:
    """Each request has its mistake, and no other."""
    scripted = Scripted()
    for name in ("chat", "responses", "messages"):
        row(scripted, f"{name} whole unknown-effort")
    assert [body["model"] for _, body in scripted.asked] == ["scripted"] * 6
    assert scripted.asked[1][1]["reasoning_effort"] == "huge"
    assert scripted.asked[3][1]["reasoning"] == {"effort": "huge"}
    assert scripted.asked[5][1]["output_config"] == {"effort": "huge"}


@pytest.mark.parametrize("how", ["whole", "stream"])
def test_an_answer_to_a_mistake(how: str) -> None:
    """A server that takes any name for its model does not notice what is wrong."""
    scripted = Scripted(max_body=10**9)
    came = row(scripted, f"chat {how} long-prompt")
    assert came.outcome is Outcome.FAILED
    assert came.reason.startswith("must be refused with 400 or 413, but is answered: ")
