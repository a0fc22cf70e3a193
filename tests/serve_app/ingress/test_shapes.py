"""Errors in the form of each dialect: whole, as an event, and out of a stream's opening."""

import json
from typing import Any

import pytest

from serve_app.errors import AnswerTimeout, ApiError, BodyTooLarge, InvalidRequest, NoReplica, ReplicaLost
from serve_app.ingress import shapes
from serve_app.ingress.shapes import Shape

REFUSAL = b'{"error":{"message":"no","type":"BadRequestError","param":null,"code":%s}}'
OPENAI_LOST = {
    "error": {"message": "gone", "type": "server_error", "param": None, "code": "replica_lost"},
}


def anthropic(kind: str, message: str) -> dict[str, Any]:
    """Return an error as Anthropic writes it."""
    return {"type": "error", "error": {"type": kind, "message": message}}


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (InvalidRequest("x", param="p"), "invalid_request_error"),
        (BodyTooLarge("x"), "request_too_large"),
        (ApiError("x"), "api_error"),
        (ReplicaLost("x"), "api_error"),
        (NoReplica("x"), "overloaded_error"),
        (AnswerTimeout("x"), "timeout_error"),
    ],
)
def test_bodies(error: ApiError, kind: str) -> None:
    """OpenAI's form has four fields; Anthropic's has a type of its own for each status."""
    assert Shape.OPENAI.body(error) == Shape.RESPONSES.body(error) == error.body()
    assert Shape.ANTHROPIC.body(error) == anthropic(kind, "x")


@pytest.mark.parametrize(
    ("status", "body", "kind", "message"),
    [
        (400, REFUSAL % b"400", "invalid_request_error", "no"),
        (404, b'{"type":"error","error":{"type":"NotFoundError","message":"m"}}', "not_found_error", "m"),
        (422, REFUSAL % b"422", "invalid_request_error", "no"),
        (501, REFUSAL % b"501", "api_error", "no"),
        (500, b"Internal Server Error", "api_error", "Internal Server Error"),
        (500, b"[1]", "api_error", "[1]"),
    ],
)
def test_what_an_engine_answers(status: int, body: bytes, kind: str, message: str) -> None:
    """Whatever form vLLM chose, a client of messages gets Anthropic's; others get it as it came."""
    assert json.loads(Shape.ANTHROPIC.engines(status, body)) == anthropic(kind, message)
    assert Shape.OPENAI.engines(status, body) is body
    assert Shape.RESPONSES.engines(status, body) is body


@pytest.mark.parametrize(
    ("shape", "name", "data"),
    [
        (Shape.OPENAI, None, OPENAI_LOST),
        (Shape.ANTHROPIC, b"event: error", anthropic("api_error", "gone")),
        (
            Shape.RESPONSES,
            b"event: error",
            {"type": "error", "code": "replica_lost", "message": "gone", "param": None, "sequence_number": 7},
        ),
    ],
)
def test_events(shape: Shape, name: bytes | None, data: dict[str, Any]) -> None:
    """The event that ends a broken stream is one of its dialect, whatever came before it."""
    before, _, event = (b'data: {"n":' + shape.event(ReplicaLost("gone"), 7)).partition(b"\n\n")
    assert before == b'data: {"n":'
    *named, line = event.removesuffix(b"\n\n").split(b"\n")
    assert named == ([name] if name else [])
    assert json.loads(line.removeprefix(b"data: ")) == data


@pytest.mark.parametrize(
    ("opening", "refusal"),
    [
        (b"data: " + REFUSAL % b"400" + b"\n\ndata: [DONE]\n\n", (400, REFUSAL % b"400")),
        (b"data: " + REFUSAL % b"503" + b"\n\n", (503, REFUSAL % b"503")),
        (b"data: " + REFUSAL % b'"odd"' + b"\n\n", (500, REFUSAL % b'"odd"')),
        (b"data: " + REFUSAL % b"200" + b"\n\n", (500, REFUSAL % b"200")),
        (b'data: {"n":1}\n\n', None),
        (b'data: {"choices":[{"delta":{"content":"{\\"error\\":1}"}}]}\n\n', None),
        (b'data: {"error":\n\n', None),
        (b"", None),
    ],
)
def test_a_stream_that_opens_with_an_error(opening: bytes, refusal: tuple[int, bytes] | None) -> None:
    """An error in the first event still becomes a status; whatever else opens a stream does not."""
    assert Shape.OPENAI.refusal(opening) == refusal


def event(name: str, **data: object) -> bytes:
    """Return a named event."""
    return f"event: {name}\ndata: {json.dumps({'type': name, **data})}\n\n".encode()


@pytest.mark.parametrize(
    ("kind", "status", "told"),
    [
        ("invalid_request_error", 400, "invalid_request_error"),
        ("not_found_error", 404, "not_found_error"),
        ("api_error", 500, "api_error"),
        ("internal_error", 500, "api_error"),
    ],
)
def test_messages_that_open_with_an_error(kind: str, status: int, told: str) -> None:
    """The type of the error says the status."""
    opening = event("error", error={"type": kind, "message": "no"}) + b"more"
    refused = Shape.ANTHROPIC.refusal(opening)
    assert refused is not None
    assert (refused[0], json.loads(refused[1])) == (status, anthropic(told, "no"))


@pytest.mark.parametrize(
    ("code", "status", "kind", "told"),
    [
        ("400", 400, "invalid_request_error", 400),
        ("503", 503, "server_error", 503),
        ("odd", 500, "server_error", "odd"),
    ],
)
def test_responses_that_open_with_an_error(code: str, status: int, kind: str, told: object) -> None:
    """The event becomes OpenAI's error, under the status that is its code."""
    refused = Shape.RESPONSES.refusal(event("error", code=code, message="no", param="input"))
    assert refused is not None
    wanted = {"error": {"message": "no", "type": kind, "param": "input", "code": told}}
    assert (refused[0], json.loads(refused[1])) == (status, wanted)


@pytest.mark.parametrize("shape", [Shape.ANTHROPIC, Shape.RESPONSES])
@pytest.mark.parametrize(
    "opening",
    [b"", event("message_start"), event("response.created"), b"event: error\ndata: {", event("error")],
)
def test_other_openings(shape: Shape, opening: bytes) -> None:
    """What is no error that can be read reaches the client as it came."""
    assert shape.refusal(opening) is None


@pytest.mark.parametrize(
    ("path", "shape"),
    [
        ("/v1/messages", Shape.ANTHROPIC),
        ("/v1/messages/count_tokens", Shape.ANTHROPIC),
        ("/v1/messages/batches", Shape.ANTHROPIC),
        ("/v1/messages2", Shape.OPENAI),
        ("/v1/responses", Shape.OPENAI),
        ("/", Shape.OPENAI),
    ],
)
def test_paths(path: str, shape: Shape) -> None:
    """The path says whose client it is, also where there is no route."""
    assert shapes.of_path(path) is shape
