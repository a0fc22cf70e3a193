"""Which replicas do unit tests use? Ones that replay a script: policy and faults, never answers."""

import asyncio
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from serve_app.types import Call, Head, ReplicaReport

Step = Head | bytes | Exception | float
"""Yield it (Head, bytes), raise it, or sleep that many seconds."""

OK: tuple[Step, ...] = (Head(200, ((b"content-type", b"application/json"),)), b"{}")


class ScriptedStream:
    """Replays one script as an `engine.protocol.ReplicaStream`."""

    def __init__(self, script: Iterable[Step]) -> None:
        self._steps: Iterator[Step] = iter(script)
        self.num_cancels = 0

    def __aiter__(self) -> "ScriptedStream":
        """Return itself."""
        return self

    async def __anext__(self) -> Head | bytes:
        """Take steps until one yields or raises."""
        for step in self._steps:
            if isinstance(step, Exception):
                raise step
            if not isinstance(step, float):
                return step
            await asyncio.sleep(step)
        raise StopAsyncIteration

    def cancel(self) -> None:
        """Count the cancellation."""
        self.num_cancels += 1


@dataclass
class ScriptedBackend:
    """Replicas by name, each with the script of its next answers, as an `engine.protocol.Backend`."""

    replicas: dict[str, Iterable[Step]] = field(default_factory=dict)
    num_ongoing: dict[str, int] = field(default_factory=dict)
    said: dict[str, ReplicaReport] = field(default_factory=dict)
    """What replicas report, where it is more than their load."""
    stopping: set[str] = field(default_factory=set)
    """Replicas that report no more, and end the calls that they have."""
    num_silent: int = 0
    """Replicas that are there but do not report in time."""
    texts: dict[str, bytes] = field(default_factory=dict)
    """What each replica that answers shows as its metrics."""
    loads: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What each replica that answers says of its experts."""
    calls: list[tuple[str, Call]] = field(default_factory=list)
    streams: list[ScriptedStream] = field(default_factory=list)
    on_reports: Callable[[], None] = lambda: None
    told: int | None = None
    """How many wait for the pool, as its replicas were told last."""
    num_wakes: int = 0

    async def reports(self, num_queued: int) -> Sequence[ReplicaReport | None]:
        """Report every replica."""
        self.on_reports()
        self.told = num_queued
        loads = {name: ReplicaReport(name, self.num_ongoing.get(name, 0)) for name in self.replicas}
        return [*(loads | self.said).values(), *[None] * self.num_silent]

    async def finishing(self, replicas: Collection[str]) -> Collection[str]:
        """Return those that are stopping."""
        return self.stopping.intersection(replicas)

    def wake(self) -> None:
        """Count it."""
        self.num_wakes += 1

    async def metrics(self) -> Sequence[tuple[str, bytes]]:
        """Return the texts."""
        return list(self.texts.items())

    async def experts(self) -> Sequence[tuple[str, dict[str, Any]]]:
        """Return the loads."""
        return list(self.loads.items())

    def open(self, replica: str, call: Call) -> ScriptedStream:
        """Replay the script of `replica`."""
        self.calls.append((replica, call))
        self.streams.append(ScriptedStream(self.replicas[replica]))
        return self.streams[-1]
