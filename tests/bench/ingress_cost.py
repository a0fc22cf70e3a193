"""What does Venturi's own code cost a streamed request, without Ray and without a socket?

    python -m tests.bench.ingress_cost [--requests N]

What `overhead` shows for the ingress beyond this is Ray Serve's: its HTTP server, its handle, its streams.
"""

import argparse
import asyncio
import time
from random import Random

from starlette.types import ASGIApp, Message

from serve_app.config import Auth, Ingress, Model
from serve_app.engine.scripted import ScriptedBackend, ScriptedStream
from serve_app.ingress.api import make_app
from serve_app.ingress.gate import Gate
from serve_app.metrics import Metrics
from serve_app.pools.directory import Directory
from serve_app.pools.pool import Pool
from serve_app.router.dispatch import Router
from serve_app.router.policy import Policy
from serve_app.rules import Rules
from serve_app.types import Call, Effort, Head, PoolSnapshot
from tests.bench.load import Job, prompts

CHUNK = b'data: {"choices":[{"delta":{"content":" and so on"},"finish_reason":null}]}\n\n'
LAST = b'data: {"choices":[],"usage":{"prompt_tokens":12,"total_tokens":28,"completion_tokens":16}}\n\n'
"""What the ingress asks the engine for, and keeps to itself."""
NUM_CHUNKS = 5
"""A stream of 16 tokens, four to a chunk."""


class ForgetfulBackend(ScriptedBackend):
    """Keeps no record of its calls, of which there are many here."""

    def open(self, replica: str, call: Call) -> ScriptedStream:
        """Replay the script of `replica`."""
        return ScriptedStream(self.replicas[replica])


async def ask(app: ASGIApp, body: bytes) -> int:
    """Send one request through the app; return how many messages it sent."""
    messages = iter([{"type": "http.request", "body": body, "more_body": False}])
    num_sent = 0

    async def receive() -> Message:
        for message in messages:
            return message
        return await asyncio.Future()  # the client stays

    async def send(message: Message) -> None:
        nonlocal num_sent
        num_sent += 1
        await asyncio.sleep(0)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/v1/chat/completions",
        "raw_path": b"/v1/chat/completions",
        "query_string": b"",
        "root_path": "",
        "headers": [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())],
        "client": None,
        "server": None,
    }
    await app(scope, receive, send)
    return num_sent


async def measure(num_requests: int) -> float:
    """Return processor ms a request, after a tenth of them to warm up."""
    head = Head(200, ((b"content-type", b"text/event-stream"),))
    backend = ForgetfulBackend({"replica": (head, *[CHUNK] * NUM_CHUNKS, LAST)})
    pools = {"pool": Pool(PoolSnapshot("pool", frozenset(Effort)), backend)}
    metrics = Metrics("ingress")
    rules = Rules(max_age_s=float("inf"))
    router = Router(Directory(pools, period_s=1.0), Policy(rules, {}, Random(1)), metrics, {"pool": 1024})
    await pools["pool"].refresh()
    limits = Ingress(auth=Auth(open=True))
    gate = Gate(limits, "127.0.0.1", metrics)
    app = make_app(router, Model(path="x", name="m"), limits, metrics, gate, 8192)
    [body] = Job("", "m", prompts(1, 1), 1, 16).bodies()
    for _ in range(num_requests // 10):
        assert await ask(app, body) > NUM_CHUNKS
    began_s = time.thread_time()
    for _ in range(num_requests):
        await ask(app, body)
    return (time.thread_time() - began_s) * 1e3 / num_requests


def main() -> None:
    """Print the figure."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--requests", type=int, default=2000)
    given = options.parse_args()
    cost_ms = asyncio.run(measure(given.requests))
    print(f"ingress, router and pool: {cost_ms:.2f} processor ms a request of {NUM_CHUNKS} chunks")


if __name__ == "__main__":
    main()
