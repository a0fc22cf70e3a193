"""What do the tests of the fixes share: a process with the plugin, one without, and engines that answer?"""

import importlib
import json
import multiprocessing
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest
import torch

from parallel.vllm_plugin import EXPERT_COUNTER
from tests.parallel.vllm_plugin import generate

with warnings.catch_warnings():
    # torch warns of itself when vLLM first uses its compiler, which is while vLLM is imported.
    warnings.filterwarnings("ignore", "`torch.jit.script_method` is deprecated", DeprecationWarning)
    importlib.import_module("vllm.model_executor.models.deepseek_v2")

HERE = Path(__file__).resolve().parent
ENGINE_LIMIT_S = 900

Engine = Callable[..., Any]


@pytest.fixture(scope="session")
def probe() -> Callable[[bool], Any]:
    """Call with whether vLLM may load the plugin; gives what `probe.py` found in a process like that."""
    command = [sys.executable, str(HERE / "probe.py")]
    environments = {True: os.environ, False: os.environ | {"VLLM_PLUGINS": ""}}
    processes = {
        with_plugin: subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        for with_plugin, environment in environments.items()
    }
    said = {with_plugin: process.communicate()[0] for with_plugin, process in processes.items()}
    assert not any(process.returncode for process in processes.values())
    return {with_plugin: json.loads(out.splitlines()[-1]) for with_plugin, out in said.items()}.__getitem__


@pytest.fixture(scope="session")
def engine(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """Call with waves of requests and engine arguments; starts that engine on the pocket model in float32."""

    def answers(
        waves: generate.Waves, start_method: Literal["fork", "spawn"] = "fork", **engine_args: Any
    ) -> Any:
        arguments = {
            "model": str(checkpoint / "target"),
            "tokenizer_mode": "mistral",
            "config_format": "mistral",
            "load_format": "mistral",
            "dtype": "float32",
            "enforce_eager": True,
            "max_model_len": 2048,
            "max_num_seqs": 8,
            "disable_log_stats": False,
            "worker_cls": EXPERT_COUNTER,
        } | engine_args
        folder = tmp_path_factory.mktemp("engine")
        out, log = folder / "answers.json", folder / "log.txt"
        job = generate.Job(arguments, environment(arguments), waves, start_method)
        process = multiprocessing.get_context("forkserver").Process(
            target=generate.main, args=(job, out, log)
        )
        process.start()
        process.join(ENGINE_LIMIT_S)
        process.terminate()
        assert process.exitcode == 0, log.read_text()[-6000:]
        return json.loads(out.read_text())

    return answers


@pytest.fixture(scope="session")
def draft_head(checkpoint: Path) -> dict[str, Any]:
    """VLLM's argument `speculative_config` for the pocket model's draft head."""
    return {"method": "eagle", "model": str(checkpoint / "eagle"), "num_speculative_tokens": 3}


def environment(engine_args: dict[str, Any]) -> dict[str, str]:
    """What vLLM reads from the environment for an engine with these arguments; nothing, with a GPU."""
    if torch.cuda.is_available():
        return {}
    num_ranks = engine_args.get("tensor_parallel_size", 1) * engine_args.get("data_parallel_size", 1)
    chosen = {"VLLM_MLA_DISABLE": "1", "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_ENABLE_V1_MULTIPROCESSING": "0"}
    if num_ranks > 1:
        # One core a rank: left to itself, vLLM wants a memory node for each rank.
        cores = sorted(os.sched_getaffinity(0))
        chosen["VLLM_CPU_OMP_THREADS_BIND"] = "|".join(
            str(cores[rank % len(cores)]) for rank in range(num_ranks)
        )
    return chosen
