"""What the server around an engine knows of its experts and of its death, and of one that does not start."""

import asyncio
import gc
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from vllm import envs
from vllm.v1.engine import EngineCoreOutput
from vllm.v1.metrics.stats import IterationStats, LoRARequestStates, RequestStateStats

from parallel.vllm_plugin import EXPERT_COUNTER, fixes
from serve_app.config import PROJECT_ROOT
from serve_app.engine import demands, response_ids, response_parts, stream_errors, token_ids, turns, vllm
from serve_app.engine.group import Group
from serve_app.engine.stats import EngineStats
from serve_app.engine.vllm import VllmServer
from serve_app.errors import StartError
from tests.serve_app.samples import cancel, until


class Engine:
    """One rank, whose experts are chosen more often each time it is asked, until it is dead."""

    core_engines = (b"0",)
    fails_at: int | None = None

    def __init__(self, worker: str, num_answers: int) -> None:
        self.engine_core = self
        parallel_config = SimpleNamespace(worker_cls=worker, enable_expert_parallel=False)
        self.vllm_config = SimpleNamespace(parallel_config=parallel_config)
        self.num_asked = 0
        self._num_answers = num_answers

    @property
    def errored(self) -> bool:
        """Whether it is dead."""
        return self.num_asked >= self._num_answers

    async def _call_utility_async(self, *asked: Any, engine: bytes) -> list[Any]:
        self.num_asked += 1
        if self.num_asked == self.fails_at:
            raise RuntimeError("busy")
        return [{"counts": [[3 * self.num_asked, self.num_asked]], "slots": None}]


@pytest.mark.parametrize(
    ("num_answers", "counts"), [(1, None), (2, [[3, 1]]), (5, [[12, 4]])], ids=["once", "twice", "often"]
)
async def test_experts_are_read_until_the_engine_is_dead(num_answers: int, counts: Any) -> None:
    """What was added since the first reading; nothing is known from one reading alone."""
    engine = Engine(EXPERT_COUNTER, num_answers)
    server = VllmServer(None, engine, Group(), EngineStats())
    await server.watch_experts(0.001)
    assert engine.num_asked == num_answers
    load = server.experts()
    assert (load and load["counts"]) == counts


async def test_one_failed_reading_is_not_the_last() -> None:
    """The next one is taken as if nothing had been."""
    engine = Engine(EXPERT_COUNTER, 3)
    engine.fails_at = 2
    server = VllmServer(None, engine, Group(), EngineStats())
    await server.watch_experts(0.001)
    load = server.experts()
    assert (engine.num_asked, load and load["counts"]) == (3, [[6, 2]])


async def test_statistics_are_logged_after_an_error_too() -> None:
    """Until the replica ends the task."""
    num_asked = 0

    async def do_log_stats() -> None:
        nonlocal num_asked
        num_asked += 1
        raise RuntimeError("busy")

    server = VllmServer(None, SimpleNamespace(do_log_stats=do_log_stats), Group(), EngineStats())
    task = asyncio.create_task(server.log_stats(0.001))
    await until(lambda: num_asked >= 3)
    await cancel(task)


async def test_an_operators_own_worker_is_not_asked() -> None:
    """It would not know what is wanted."""
    engine = Engine("an.operators.Worker", 1)
    server = VllmServer(None, engine, Group(), EngineStats())
    await server.watch_experts(0.001)
    assert (engine.num_asked, server.experts()) == (0, None)


@pytest.mark.parametrize(
    ("num_answers", "lost", "failure"),
    [(0, "", "the engine has errored"), (1, "Worker_TP1", "the engine has lost Worker_TP1")],
    ids=["vLLM says so", "a process is gone"],
)
def test_a_dead_engine(num_answers: int, lost: str, failure: str) -> None:
    """It is dead when vLLM says so, or when a process of its group is gone, which is named."""
    group = Group()
    group.lost = lost
    server = VllmServer(None, Engine("", num_answers), group, EngineStats())
    assert (server.errored, server.failure) == (True, failure)


def test_an_engine_that_lives() -> None:
    """Neither vLLM nor its group says that it is dead."""
    assert not VllmServer(None, Engine("", 1), Group(), EngineStats()).errored


async def test_an_engine_that_cannot_be_served_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its processes would keep their devices: here the tokenizer has no tokens for an effort."""
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.v1.engine.async_llm import AsyncLLM

    stopped: list[bool] = []
    options = {"enable_log_requests": False, "aggregate_engine_logging": False, "disable_log_stats": False}
    given = SimpleNamespace(create_engine_config=lambda usage_context: None, **options)
    tokenizer = SimpleNamespace(decode=str, get_vocab=dict)
    engine = SimpleNamespace(
        get_tokenizer=lambda: tokenizer, generate=None, shutdown=lambda: stopped.append(True)
    )
    monkeypatch.setattr(vllm, "server_namespace", lambda arguments: None)
    monkeypatch.setattr(fixes, "require", lambda config: None)
    monkeypatch.setattr(AsyncEngineArgs, "from_cli_args", lambda namespace: given)
    monkeypatch.setattr(AsyncLLM, "from_vllm_config", lambda config, **named: engine)
    for mended in (stream_errors, token_ids, response_parts, turns, response_ids, demands):
        monkeypatch.setattr(mended, "install", lambda *_: None)
    with pytest.raises(KeyError, match="MODEL_SETTINGS"):
        await VllmServer.start({})
    assert stopped == [True]


@pytest.fixture
def unsettled() -> Iterator[None]:
    """A process that reads its environment and looks for garbage everywhere, before and after."""
    envs.disable_envs_cache()
    yield
    envs.disable_envs_cache()
    gc.unfreeze()


@pytest.mark.usefixtures("unsettled")
def test_what_is_settled_is_not_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """VLLM's statistics ask the environment for every output; from then on it has been read."""
    read: list[bool] = []
    monkeypatch.setitem(envs.environment_variables, "VLLM_COMPUTE_NANS_IN_LOGITS", lambda: read.append(True))
    statistics = IterationStats()

    def count_outputs() -> None:
        for _ in range(10):
            output = EngineCoreOutput("1", [7])
            statistics.update_from_output(output, 0.0, False, RequestStateStats(), LoRARequestStates(), None)

    count_outputs()
    assert len(read) == 10
    vllm.settle()
    count_outputs()
    assert len(read) == 11
    assert gc.get_freeze_count() > 10_000


FAILING = """
import asyncio
from serve_app.engine.vllm import VllmServer

if __name__ == "__main__":
    asyncio.run(VllmServer.start(MODEL | {"dtype": "float32", "enforce_eager": True, "max_model_len": 1024}))
"""


@pytest.mark.engine
@pytest.mark.timeout(300)
def test_why_an_engine_did_not_start(checkpoint: Path, tmp_path: Path) -> None:
    """A process of vLLM's knows, and logs it; vLLM raises that there is a cause."""
    model = {"model": str(checkpoint / "target"), "served_model_name": "pocket"}
    mistral = dict.fromkeys(("tokenizer_mode", "config_format", "load_format"), "mistral")
    program, log = tmp_path / "failing.py", tmp_path / "log"
    program.write_text(f"MODEL = {model | mistral}\n{FAILING}")
    more_than_there_is = {"VLLM_CPU_KVCACHE_SPACE": "90000", "VLLM_MLA_DISABLE": "1"}
    with log.open("w") as out:
        ended = subprocess.run(
            [sys.executable, str(program)],
            cwd=PROJECT_ROOT,
            env=os.environ | more_than_there_is | {"PYTHONPATH": str(PROJECT_ROOT)},
            stdout=out,
            stderr=subprocess.PIPE,
            text=True,
            timeout=250,
            check=False,
        )
    assert ended.returncode == 1, ended.stderr[-3000:]
    (said,) = (line for line in ended.stderr.splitlines() if line.startswith(f"{StartError.__module__}."))
    assert "the engine did not start: ValueError: Available memory" in said
    assert "90000" in said
