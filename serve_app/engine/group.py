"""Which processes is an engine group made of, and which of them was lost first?

A group that lost one cannot go on. vLLM sees most losses itself, in its own time, and names the process
only in the log of another one.

Upstream symptom (vLLM 0.29.0): with dp over nodes, engine cores are actors of Ray. The replica is told of
one that dies, but not of one that fails, as it does when it loses its rank: what it had waits.
"""

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import psutil
import ray

TITLE = "VLLM::"
"""What the titles begin with that vLLM gives its processes."""


class Group:
    """Watches a group from within its replica's event loop."""

    def __init__(self) -> None:
        self.lost = ""
        """What was lost first, in words; empty while all are there."""
        self._processes: dict[str, int] = {}
        """The pidfd of every process on this node that is still there, by its name."""

    @classmethod
    def of(cls, engine: Any) -> "Group":
        """Return the group of vLLM's AsyncLLM, which has started: processes below this one, and actors."""
        group = cls()
        for title, pid in engine_processes():
            group.watch_process(f"{title} (process {pid})", pid)
        for name, ref in engine_actors(engine):
            group.watch_actor(name, asyncio.wrap_future(ref.future()))
        return group

    def watch_process(self, name: str, pid: int) -> None:
        """Note when this process ends, however it does."""
        self._processes[name] = pidfd = os.pidfd_open(pid)
        asyncio.get_running_loop().add_reader(pidfd, self._process_ended, name)

    def _process_ended(self, name: str) -> None:
        pidfd = self._processes.pop(name)
        asyncio.get_running_loop().remove_reader(pidfd)
        os.close(pidfd)
        self.lost = self.lost or name

    def watch_actor(self, name: str, run: "asyncio.Future[Any]") -> None:
        """Note when what an actor runs, which has no end, fails."""
        run.add_done_callback(partial(self._actor_ended, name))

    def _actor_ended(self, name: str, run: "asyncio.Future[Any]") -> None:
        if not run.cancelled() and (error := run.exception()):
            self.lost = self.lost or f"{name} ({type(error).__name__})"

    def kill(self) -> None:
        """Kill the group's processes on this node, whatever they wait for.

        A survivor in a collective that nobody will finish would keep its device's memory from the next group.
        """
        for pidfd in self._processes.values():
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)


def engine_processes() -> Iterator[tuple[str, int]]:
    """Yield title and id of each process below this one that is vLLM's: cores, ranks, dp's coordinator."""
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            title = "".join(process.cmdline()[:1])
            if title.startswith(TITLE):
                yield title, process.pid


def engine_actors(engine: Any) -> Iterator[tuple[str, Any]]:
    """Yield the name of every Ray actor of a group over nodes, with a call that fails when it does."""
    if engine.vllm_config.parallel_config.distributed_executor_backend != "ray":
        return
    for found in ray.util.list_named_actors(all_namespaces=True):
        if found["name"].startswith(f"vllm_Worker_{engine.vllm_config.instance_id}"):
            # A rank works off one endless call; what is asked after it waits until the rank dies.
            yield found["name"], ray.get_actor(found["name"], found["namespace"]).__ray_ready__.remote()
    for rank, run in enumerate(getattr(engine.engine_core.resources.engine_manager, "run_refs", [])):
        yield f"the engine core of dp rank {rank}", run
