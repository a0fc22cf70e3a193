"""The error tree: its drawing, and what a client sees of each class."""

from typing import Any

import pytest

from serve_app import errors
from serve_app.errors import ApiError, VenturiError

TABLE: list[tuple[type[ApiError], int, str, str]] = [
    (errors.InvalidRequest, 400, "invalid_request_error", "invalid_value"),
    (errors.UnknownModel, 404, "invalid_request_error", "model_not_found"),
    (errors.UnknownRoute, 404, "invalid_request_error", "unknown_url"),
    (errors.WrongMethod, 405, "invalid_request_error", "method_not_supported"),
    (errors.Unsupported, 400, "invalid_request_error", "unsupported"),
    (errors.BodyTooLarge, 413, "invalid_request_error", "body_too_large"),
    (errors.HeadersTooLarge, 431, "invalid_request_error", "headers_too_large"),
    (errors.Unauthorized, 401, "authentication_error", "invalid_api_key"),
    (errors.Forbidden, 403, "permission_error", "not_allowed"),
    (errors.RateLimited, 429, "rate_limit_error", "rate_limit_exceeded"),
    (errors.NoReplica, 503, "service_unavailable_error", "no_healthy_replica"),
    (errors.Overloaded, 503, "service_unavailable_error", "overloaded"),
    (errors.QueueFull, 503, "service_unavailable_error", "queue_full"),
    (errors.Displaced, 503, "service_unavailable_error", "displaced"),
    (errors.FloorKept, 503, "service_unavailable_error", "floor_kept"),
    (errors.DeadlineUnreachable, 503, "service_unavailable_error", "deadline_unreachable"),
    (errors.PoolBusy, 503, "service_unavailable_error", "pool_busy"),
    (errors.ReplicaLost, 502, "server_error", "replica_lost"),
    (errors.AnswerTimeout, 504, "timeout_error", "answer_timeout"),
    (ApiError, 500, "server_error", "internal_error"),
]


def subclasses(root: type[VenturiError]) -> set[type[VenturiError]]:
    """Return every class below `root`."""
    return {c for direct in root.__subclasses__() for c in {direct, *subclasses(direct)}}


@pytest.mark.parametrize(("error", "status", "kind", "code"), TABLE)
def test_what_a_client_sees(error: type[ApiError], status: int, kind: str, code: str) -> None:
    """Each class has its status, and OpenAI's four fields in the body."""
    more: dict[str, Any] = {"pool": "latency"} if issubclass(error, errors.Overloaded) else {}
    raised = error("what went wrong", param="model", **more)
    assert raised.status == status
    assert raised.body() == {
        "error": {"message": "what went wrong", "type": kind, "param": "model", "code": code}
    }


def test_headers_of_an_error() -> None:
    """An error may bring headers; without any it has none, and they are its own copy."""
    headers = {"retry-after": "3"}
    raised = errors.RateLimited("later", headers=headers)
    headers.clear()
    assert (raised.headers, ApiError("x").headers) == ({"retry-after": "3"}, {})


def test_when_to_come_back() -> None:
    """It stands in the header, and for people in the message, wherever that is read."""
    raised = errors.QueueFull("2 wait", pool="latency")
    raised.come_back_in(7)
    assert raised.headers == {"retry-after": "7"}
    assert raised.message == str(raised) == "2 wait; come back in 7 s"


def test_the_table_is_whole() -> None:
    """No class that reaches clients is missing from the table above."""
    assert subclasses(ApiError) | {ApiError} == {error for error, *_ in TABLE}


def drawn() -> list[tuple[str, str, str]]:
    """Return (class, its parent, the text behind it) of every line of the tree in the docstring."""
    above: list[str] = []
    rows = []
    for line in (errors.__doc__ or "").splitlines()[2:]:
        name, _, text = line.lstrip("│├└─ ").partition(" ")
        depth = (len(line) - len(line.lstrip("│├└─ "))) // 4
        above[depth:] = [name]
        rows.append((name, above[depth - 1] if depth else "VenturiError", text.strip()))
    return rows


def test_the_drawing_is_the_tree() -> None:
    """The drawing shows every class, each below its parent, and its status."""
    classes = {c.__name__: c for c in subclasses(VenturiError)}
    rows = drawn()[1:]
    assert {name for name, _, _ in rows} == set(classes)
    for name, parent, text in rows:
        assert parent in {c.__name__ for c in classes[name].__bases__}, name
        error = classes[name]
        if issubclass(error, ApiError) and error is not ApiError:
            assert text.startswith(str(error.status)), name
