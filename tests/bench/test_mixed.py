"""The load against a server that says what it was asked, and does as it is told."""

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.bench import mixed


@dataclass
class Server:
    """Answers with so many tokens as it is asked for, one a millisecond."""

    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0
    breaks: bool = False
    refuses: bool = False
    port: int = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """One request."""
        body = await request.json()
        self.asked.append((request.path, body | {"header": request.headers.get("x-reasoning-effort")}))
        if self.refuses:
            full = {"message": "full", "type": "x", "code": "queue_full"}
            return web.json_response({"error": full}, status=503, headers={"retry-after": "0.2"})
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        response = web.StreamResponse(headers={"x-venturi-pool": "throughput"})
        await response.prepare(request)
        for _ in range(body["max_tokens"]):
            await response.write(b'data: {"choices":[{"delta":{"content":"a"},"text":"a"}]}\n\n')
            await asyncio.sleep(0.001)
        if not self.breaks:
            usage = json.dumps({"usage": {"completion_tokens": body["max_tokens"]}}, separators=(",", ":"))
            await response.write(f"data: {usage}\n\ndata: [DONE]\n\n".encode())
        self.at_once -= 1
        return response

    async def serve(self, ready: threading.Event, stop: threading.Event) -> None:
        """Until told to stop."""
        app = web.Application()
        app.router.add_post("/v1/{tail:.*}", self.answer)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.port = runner.addresses[0][1]
        ready.set()
        while not stop.is_set():
            await asyncio.sleep(0.01)
        await runner.cleanup()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server in a thread of its own: the load has an event loop of its own, too."""
    monkeypatch.setattr(mixed, "START_S", 0.0)
    serving, ready, stop = Server(), threading.Event(), threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(serving.serve(ready, stop)))
    thread.start()
    assert ready.wait(10)
    yield serving
    stop.set()
    thread.join(10)


def given(server: Server, *options: str) -> list[str]:
    """A command line of short requests."""
    lengths = ["--none-lengths", "8", "4", "--high-lengths", "8", "6"]
    return [f"http://127.0.0.1:{server.port}", "--model", "m", *lengths, *options]


def test_open_loop(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every request is sent once, and the file holds all that the table says."""
    out = tmp_path / "mixed.json"
    assert mixed.main(given(server, "--rate", "40", "--duration-s", "1", "--out", str(out))) == 0
    record = json.loads(out.read_text())
    found = record["found"]
    assert found["requests"] == len(server.asked) == len(record["outcomes"])
    assert 20 < found["requests"] < 60
    assert set(found["efforts"]) == {"none", "high"}
    assert {body["reasoning_effort"] for _, body in server.asked} == {"none", "high"}
    assert sum(body["max_tokens"] for _, body in server.asked) == pytest.approx(
        found["output_tokens_per_s"] * found["duration_s"]
    )
    assert found["sent_late_s"]["p50"] < 0.1
    assert set(found["pools"]) == {"none -> throughput", "high -> throughput"}
    assert record["mix"]["seed"] == 0
    assert "| all |" in capsys.readouterr().out


def test_closed_loop(server: Server) -> None:
    """Never more at once than there are clients."""
    assert mixed.main(given(server, "--concurrency", "3", "--requests", "12", "--high", "0")) == 0
    assert len(server.asked) == 12
    assert server.most_at_once == 3


def test_token_ids(server: Server) -> None:
    """Completions of random ids."""
    options = ["--concurrency", "1", "--requests", "2", "--high", "1", "--tokens", "100", "200"]
    assert mixed.main(given(server, *options)) == 0
    assert {path for path, _ in server.asked} == {"/v1/completions"}
    assert {body["header"] for _, body in server.asked} == {"high"}


def test_processes(server: Server) -> None:
    """Several processes share the requests, none is sent twice."""
    options = ["--concurrency", "4", "--requests", "8", "--processes", "2"]
    assert mixed.main(given(server, *options)) == 0
    assert len({body["messages"][0]["content"] for _, body in server.asked}) == 8


@pytest.mark.parametrize(
    ("fault", "said"), [("breaks", "8 x the stream broke off"), ("refuses", "8 x 503: full")]
)
def test_faults(server: Server, fault: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A server that fails is no crash, but counted, and the command says so."""
    setattr(server, fault, True)
    assert mixed.main(given(server, "--concurrency", "2", "--requests", "8")) == 1
    assert said in capsys.readouterr().out


def test_who_is_refused_comes_back_when_told(server: Server) -> None:
    """A client of a closed loop waits for as long as the server says."""
    server.refuses = True
    began_s = time.perf_counter()
    mixed.main(given(server, "--concurrency", "1", "--requests", "4", "--high", "0"))
    assert len(server.asked) == 4
    assert time.perf_counter() - began_s >= 3 * 0.2


def test_nobody_there(capsys: pytest.CaptureFixture[str]) -> None:
    """Nor is one that is not there."""
    options = ["http://127.0.0.1:9", "--model", "m", "--concurrency", "1", "--requests", "2"]
    assert mixed.main(options) == 1
    assert "2 x ClientConnectorError" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--rate", "0"], "mixed: rate=0 must be more than 0"),
        (
            ["--rate", "1", "--duration-s", "0.001"],
            "mixed: --rate=1 brings no request within --duration-s=0.001",
        ),
        (
            ["--concurrency", "3", "--processes", "2"],
            "mixed: --concurrency=3 cannot be shared by --processes=2",
        ),
        (["--concurrency", "0"], "mixed: --concurrency=0 must be at least 1"),
        (["--rate", "1", "--high", "1.5"], "mixed: high=1.5 must be from 0 to 1"),
    ],
)
def test_mistakes(options: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One line that names the option and both values."""
    assert mixed.main(["http://127.0.0.1:9", "--model", "m", *options]) == 2
    assert capsys.readouterr().err.startswith(line)
