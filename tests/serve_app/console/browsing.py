"""How do tests of the console serve it, and what do they do in it?"""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import uvicorn
from fastapi import FastAPI
from playwright.sync_api import Locator, Page, expect

from serve_app.engine.scripted import Step
from serve_app.types import ReplicaReport
from tests.serve_app.ingress.asking import SSE
from tests.serve_app.samples import System, head, system

DONE = b"data: [DONE]\n\n"
START_LIMIT_S = 30


def event(**fields: object) -> bytes:
    """Return one server-sent event."""
    return f"data: {json.dumps(fields)}\n\n".encode()


def delta(finish: str | None = None, **said: object) -> bytes:
    """Return an event of a chat stream."""
    return event(choices=[{"index": 0, "delta": said, "finish_reason": finish}])


def usage(num_prompt: int, num_answer: int) -> bytes:
    """Return the event with a chat stream's usage."""
    return event(choices=[], usage={"prompt_tokens": num_prompt, "completion_tokens": num_answer})


def answer(replica: str, *steps: Step) -> tuple[Step, ...]:
    """Return the script of a chat stream."""
    return (head(replica, SSE), *steps, DONE)


def says(replica: str, text: str) -> tuple[Step, ...]:
    """Return the script of a short answer."""
    return answer(replica, delta(content=text), delta("stop"), usage(9, 2))


def thinks(replica: str, thought: str, text: str) -> tuple[Step, ...]:
    """Return the script of an answer with reasoning, which takes a moment."""
    parts = (delta(reasoning=thought), 0.1, delta(content=text), 0.1, delta("stop"), usage(12, 21))
    return answer(replica, *parts)


def usual() -> System:
    """Two pools, the second with a draft head; both answer a sum."""
    parts = system({"t1": says("t1", "42")}, {"l1": thinks("l1", "17 + 25 is 42.", "It is 42.")})
    parts.backends["latency"].said = {"l1": ReplicaReport("l1", acceptance=(0.8, 0.6), draft_tokens=2)}
    return parts


@contextmanager
def served(app: FastAPI) -> Iterator[str]:
    """Serve `app` on a port of its own, in a thread; yield its URL."""
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, ws="none", log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline_s = time.monotonic() + START_LIMIT_S
    while not server.started:
        assert thread.is_alive(), "the server ended at its start"
        assert time.monotonic() < deadline_s, "the server does not start"
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(START_LIMIT_S)


@dataclass
class Console:
    """The console in a page, over a system of scripted replicas."""

    page: Page
    parts: System

    def control(self, name: str) -> Locator:
        """Return the one control that a screen reader would call `name`."""
        return self.page.get_by_label(name, exact=True)

    def button(self, name: str) -> Locator:
        """Return a button."""
        return self.page.get_by_role("button", name=name, exact=True)

    def ask(self, text: str, effort: str = "None") -> None:
        """Send a prompt."""
        self.page.get_by_text(effort, exact=True).click()
        self.control("Prompt").fill(text)
        self.button("Send").click()

    @property
    def last(self) -> Locator:
        """The last answer."""
        return self.page.get_by_role("article", name="Answer").last

    def ends(self) -> Locator:
        """Wait until the answer is there and another prompt may be sent; return the answer."""
        expect(self.button("Send")).to_be_enabled()
        return self.last

    def sent(self, pool: str) -> list[dict[str, Any]]:
        """Return the bodies that a pool was sent."""
        return [json.loads(call.body) for _, call in self.parts.backends[pool].calls]
