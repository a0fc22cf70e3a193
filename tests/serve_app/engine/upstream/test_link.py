"""How a server is reached: certificates, redirects, cookies, and what its list of models may be."""

from pathlib import Path

import pytest

from serve_app.engine.upstream.link import max_model_len
from serve_app.errors import ReplicaLost
from tests.serve_app.engine.upstream.server import (
    DONE,
    chat,
    chunked,
    connected,
    delta,
    head,
    serving,
    whole,
)
from tests.serve_app.engine.upstream.test_backend import ANSWER, ask, report
from tests.serve_app.ingress.web import authority


async def test_certificates_are_verified(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A private authority is trusted where the settings name it, and nowhere else."""
    tls = authority(tmp_path, ["localhost"]).server
    async with serving([whole(ANSWER)], tls=tls) as server:
        url = f"https://localhost:{server.port}/v1"
        async with connected(server, url=url, ca_file=str(tmp_path / "server.pem")) as backend:
            assert (await ask(backend, chat()))[0].status == 200
        async with connected(server, url=url) as backend:
            assert await backend.reports(0) == [None]
            with pytest.raises(ReplicaLost, match="cannot be reached: ConnectError"):
                await ask(backend, chat())
        async with connected(server, url=url, ca_file=str(tmp_path / "none.pem")) as backend:
            assert await backend.reports(0) == [None]
    assert len(server.requests) == 1
    assert "none.pem': No such file or directory" in caplog.text


async def test_a_connection_is_used_again() -> None:
    """A stream that has ended leaves its connection to the next request."""
    async with serving([chunked(delta(content="a"), DONE)]) as server, connected(server) as backend:
        num_probes = server.num_connections
        for _ in range(3):
            await ask(backend, chat(stream=True))
        assert (len(server.requests), server.num_connections - num_probes) == (3, 1)


async def test_one_clients_cookie_is_not_anothers() -> None:
    """What an answer sets goes along with no other request."""
    answer = whole(ANSWER, "set-cookie: session=1; Path=/")
    async with serving([answer]) as server, connected(server) as backend:
        await ask(backend, chat())
        await ask(backend, chat())
    assert ["cookie" in request.headers for request in server.requests] == [False, False]


@pytest.mark.parametrize(
    ("models", "is_there"),
    [
        (whole({"data": []}), True),
        (whole({}, status="404 No"), True),
        (whole({}, status="401 Who"), False),
        (whole({}, "location: /x", status="302 Go"), False),
        (whole([1]), False),
        (whole(b"<html>"), False),
        (head("application/json") + b"[" * 5_000_000, False),
        (b"", False),
    ],
)
async def test_whether_it_is_there(models: bytes, is_there: bool) -> None:
    """A list of models says so, or that there is none; everything else does not."""
    async with serving([whole(ANSWER)]) as server:
        server.models = models
        async with connected(server) as backend:
            assert (await backend.reports(0) != [None]) is is_there


@pytest.mark.parametrize(
    ("card", "length"),
    [
        ({"id": "m", "max_model_len": 8192}, 8192),
        ({"id": "m", "max_context_length": 4096}, 4096),
        ({"id": "m", "max_model_len": None, "max_context_length": 4096}, 4096),
        ({"id": "m", "max_model_len": 0}, None),
        ({"id": "m"}, None),
        ({"id": "other", "max_model_len": 8192}, None),
    ],
)
def test_lengths(card: dict[str, object], length: int | None) -> None:
    """Under the names that servers have for it."""
    assert max_model_len([card], "m") == length


async def test_what_the_settings_say_goes_before_what_the_server_says() -> None:
    """An operator may allow less."""
    async with serving([whole(ANSWER)]) as server, connected(server, max_model_len=100) as backend:
        assert (await report(backend)).max_model_len == 100
