"""An engine group of real processes: which one is lost is known, and the rest can be ended."""

import asyncio
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any

import pytest

from serve_app.engine.group import Group, engine_processes

NAMES = ("VLLM::EngineCore", "VLLM::Worker_TP0", "VLLM::Worker_TP1")


@pytest.fixture
def processes() -> Iterator[dict[str, "subprocess.Popen[bytes]"]]:
    """Processes below this one with the titles of an engine's, and one that is not vLLM's."""
    with ExitStack() as stack:
        started = {}
        for name in (*NAMES, "resource_tracker"):
            started[name] = stack.enter_context(subprocess.Popen([name, "600"], executable="/bin/sleep"))
            stack.callback(started[name].kill)
        yield started


ENGINE: Any = SimpleNamespace(
    vllm_config=SimpleNamespace(parallel_config=SimpleNamespace(distributed_executor_backend="mp"))
)
"""vLLM's engine on one node, as far as a group looks at it."""


async def until_lost(group: Group) -> str:
    """Return what the group lost."""
    async with asyncio.timeout(10):
        while not group.lost:
            await asyncio.sleep(0.01)
    return group.lost


async def test_a_lost_process_is_named(
    processes: dict[str, "subprocess.Popen[bytes]"], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one that ends is what was lost, whatever ends after it; the rest can be ended."""
    # Other tests have engines below this process too, which go on.
    own = {process.pid for process in processes.values()}
    found = [one for one in engine_processes() if one[1] in own]
    assert dict(found) == {name: processes[name].pid for name in NAMES}
    monkeypatch.setattr("serve_app.engine.group.engine_processes", lambda: found)
    group = Group.of(ENGINE)
    assert not group.lost
    processes["VLLM::Worker_TP1"].kill()
    name = f"VLLM::Worker_TP1 (process {processes['VLLM::Worker_TP1'].pid})"
    assert await until_lost(group) == name

    processes["VLLM::Worker_TP0"].kill()
    processes["VLLM::Worker_TP0"].wait()
    await asyncio.sleep(0.05)
    assert group.lost == name
    group.kill()
    assert processes["VLLM::EngineCore"].wait(10) == -9
    assert processes["resource_tracker"].poll() is None


async def test_a_lost_actor_is_named() -> None:
    """The first actor that fails, however it does, is what was lost; one that is given up is not."""
    group = Group()
    given_up, closed, failed, ended = (asyncio.get_running_loop().create_future() for _ in range(4))
    for name, run in {"rank 0": given_up, "rank 1": closed, "rank 2": failed, "rank 3": ended}.items():
        group.watch_actor(name, run)
    given_up.cancel()
    ended.set_result(None)
    await asyncio.sleep(0)
    assert not group.lost
    failed.set_exception(RuntimeError("Executor failed."))
    closed.set_exception(ConnectionError("closed by peer"))
    assert await until_lost(group) == "rank 2 (RuntimeError)"
