"""The gate without keys: the address that is listened on decides who comes in, and the log says so."""

import logging
from collections.abc import Mapping

import pytest

from serve_app.errors import ApiError
from serve_app.types import NO_TENANT, Headers
from tests.serve_app.ingress.small import Small, bearer, ingress, refusal


def raw(headers: Mapping[str, str]) -> Headers:
    """Return headers as ASGI has them."""
    return tuple((name.encode(), value.encode()) for name, value in headers.items())


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8000", 200),
        ("localhost:8000", 200),
        ("LOCALHOST", 200),
        ("[::1]:8000", 200),
        ("127.9.9.9", 200),
        ("venturi.example.com", 403),
        ("127.0.0.1.example.com:8000", 403),
        ("localhost.example.com", 403),
        ("10.0.0.7:8000", 403),
        ("0.0.0.0:8000", 403),
        ("::1", 403),
        ("", 403),
    ],
)
async def test_without_keys_on_loopback(host: str, status: int, caplog: pytest.LogCaptureFixture) -> None:
    """Without keys this machine may, under its own name, whatever key it sends; a warning says so."""
    with caplog.at_level(logging.WARNING, "ray.serve"):
        small = Small(ingress(), "127.0.0.1")
    assert caplog.messages == ["no API keys: everyone on this machine may use the API at 127.0.0.1"]
    answer = await small.post(effort="high", headers=bearer("unused") | {"host": host})
    assert answer.status_code == status
    if status == 200:
        assert answer.text == f"{NO_TENANT} 0"
    else:
        assert "ingress.auth.keys_file" in answer.json()["error"]["message"]
        assert small.refused("-", "not_allowed") == 1


def test_two_hosts() -> None:
    """A request with two Host headers, or none, is nobody's on this machine."""
    gate = Small(ingress(), "127.0.0.1").gate
    for headers in ((), ((b"host", b"localhost"), (b"host", b"evil.example.com"))):
        with pytest.raises(ApiError, match="Host is not this machine's own"):
            gate.admit(headers)
    gate.admit(raw({"host": "localhost"})).release()


async def test_without_keys_on_the_network(caplog: pytest.LogCaptureFixture) -> None:
    """Without keys nobody may, where the network is listened to: not even this machine."""
    with caplog.at_level(logging.WARNING, "ray.serve"):
        small = Small(ingress(), "0.0.0.0")
    answer = await small.post()
    assert refusal(answer) == (403, "permission_error", "not_allowed")
    message = "no API keys are configured, and this server listens to the network"
    assert answer.json()["error"]["message"].startswith(message)
    (said,) = caplog.records
    assert (said.levelname, said.message.partition(":")[0]) == (
        "ERROR",
        "no API keys, and 0.0.0.0 is not loopback",
    )


async def test_open(caplog: pytest.LogCaptureFixture) -> None:
    """Everyone may where the settings say so, and the log warns of it."""
    with caplog.at_level(logging.WARNING, "ray.serve"):
        small = Small(ingress(open=True), "0.0.0.0")
    assert (await small.post(headers={"host": "venturi.example.com"})).text == f"{NO_TENANT} 0"
    assert caplog.messages == [
        "ingress.auth.open: everyone who reaches 0.0.0.0 may use the API, without a key"
    ]
