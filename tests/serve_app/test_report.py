"""The report: everything that a serve file resolves to."""

import re
from pathlib import Path
from typing import Any

import pytest

from serve_app.config import PROJECT_ROOT, parse
from serve_app.report import report
from serve_app.serve_file import ServeFile, load
from tests.serve_app.samples import args

T = "pools.throughput"


def reported(changes: dict[str, Any]) -> str:
    """Return the report of some settings."""
    return report(ServeFile(Path("some.yaml"), parse(args(changes)), "127.0.0.1", 8000, "/"))


def test_local_yaml(checkpoint: Path) -> None:
    """The file of the first five minutes: both pools with plan, memory, arguments and environment."""
    path = PROJECT_ROOT / "deploy/local.yaml"
    text = report(load(path))
    assert text.startswith(f"{path}: valid\n")
    assert "model    mistral-small-4 from deploy/pocket/target; effort when none is given: none" in text
    assert "ingress  1 at http://127.0.0.1:8000" in text
    assert "access   WARNING: no keys; open to everyone on this machine" in text
    assert "router   spill over: yes" in text

    throughput, latency = text.split("\npool ")[1:]
    assert throughput.startswith("throughput: effort none; 1 replica\n")
    assert latency.startswith("latency: effort high; 1 replica\n")
    assert "tp 1 x dp 1, no expert parallelism, 1 node: 1 CPU a replica" in throughput
    assert "placement  STRICT_PACK [{'CPU': 0.5}]" in throughput
    assert "shape: deploy/pocket/target/params.json" in throughput
    assert re.search(r"weights    [\d.]+ MiB a rank \(routed experts [\d.]+ MiB, ", throughput)
    assert re.search(r"KV cache   \d+ bytes a token and rank$", throughput, re.MULTILINE)
    assert "    max_num_seqs: 64\n" in throughput
    assert '    served_model_name: ["mistral-small-4"]\n' in throughput
    assert "    VLLM_MLA_DISABLE=1" in throughput
    assert "\n  head  " not in throughput
    assert re.search(r"\n  head       [\d.]+ MiB a rank\n", latency)
    assert "draft      EAGLE from deploy/pocket/eagle, up to 3 tokens a step" in latency


def test_traces() -> None:
    """Where they go, and of how many requests; nothing where they are off."""
    text = reported({"tracing": {"endpoint": "http://collector:4318", "sample_ratio": 0.1}})
    assert "traces   to http://collector:4318/v1/traces, 0.1 of requests that no client has decided" in text
    assert "\ntraces" not in reported({})


def test_steps_that_are_no_graphs() -> None:
    """A draft head multiplies a step's tokens: past the largest graph that is said, with both figures."""
    pool = {
        "model.path": "/models/not-here",
        "model.weight_format": "fp8",
        f"{T}.gpu": "H200",
        f"{T}.speculation": {"draft": "/models/head", "max_draft_tokens": 3},
    }
    few, many, all_of_them = (
        reported(pool | {f"{T}.engine": {"max_model_len": 8192} | engine})
        for engine in (
            {"max_num_seqs": 128},
            {"max_num_seqs": 129},
            {"max_num_seqs": 129, "compilation_config": {"cudagraph_capture_sizes": [4, 516]}},
        )
    )
    assert "steps of" not in few
    assert "WARNING: steps of more than 512 tokens are no CUDA graphs" in many
    assert "one is of 516: raise engine.compilation_config.cudagraph_capture_sizes" in many
    assert "WARNING: steps" not in all_of_them
    assert re.search(r"room for about \d+ tokens a replica, less what .* 512 to 516 tokens take", all_of_them)


def test_a_large_plan() -> None:
    """Experts over ranks, nodes, autoscaling, the device's name and its room are all in words."""
    text = reported(
        {
            "model.path": "/models/not-here",
            "model.weight_format": "fp8",
            "router.spill_over": False,
            f"{T}.gpu": "H200",
            f"{T}.plan": {"tp": 2, "dp": 2, "ep": True, "nodes": 2},
            f"{T}.autoscaling": {"max_replicas": 4, "target_ongoing_requests": 64},
        }
    )
    assert "router   spill over: no" in text
    assert "pool throughput: effort none; 1 to 4 replicas" in text
    assert "tp 2 x dp 2, experts over 4 ranks, 2 nodes: 4 H200 a replica" in text
    assert "placement  PACK [{'CPU': 1.0}]" in text
    assert "shape: the published Mistral Small 4" in text
    assert re.search(r"weights    \d\d\.\d\d GiB a rank", text)
    assert re.search(r"room for about \d{6,8} tokens a replica", text)


def test_several_replicas() -> None:
    """A fixed number of replicas is told as it is."""
    assert "pool throughput: effort none; 3 replicas" in reported({f"{T}.replicas": 3})


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"ingress.auth.open": True}, "WARNING: open to everyone who reaches 127.0.0.1"),
        ({"ingress.auth.keys_file": "/etc/keys.yaml"}, "keys of /etc/keys.yaml"),
        (
            {"ingress.auth": {"keys_file": "k.yaml", "keys_env": "KEYS"}, "ingress.replicas": 2},
            "keys of k.yaml and $KEYS; each of 2 ingress replicas lets its part of a limit pass",
        ),
    ],
)
def test_who_may(changes: dict[str, Any], line: str) -> None:
    """The report says who may use the API."""
    assert f"\naccess   {line}\n" in reported(changes)


def test_pages_of_other_sites() -> None:
    """The report says which may use the API in a browser, and warns where nothing else holds a page back."""
    some = {"ingress.allowed_origins": ["https://a.example", "http://b:3000"]}
    every = {"ingress.allowed_origins": ["*"]}
    keys = {"ingress.auth.keys_file": "k.yaml"}
    assert "\norigins  pages of https://a.example, http://b:3000 may use the API in a browser\n" in reported(
        some
    )
    assert "\norigins  pages of * may use" in reported(every | keys)
    assert "\norigins  WARNING: no keys; every page in a browser" in reported(every)


def test_a_server_that_is_not_ours() -> None:
    """Where it is, what it is sent at each effort, whose key, each ingress replica's share, and a warning."""
    upstream = {
        "url": "http://there.example/v1",
        "key_env": "THEIR_KEY",
        "model": "theirs",
        "serves": ["none"],
        "merge": {"none": {"chat_template_kwargs": {"enable_thinking": False}}},
        "max_ongoing_requests": 9,
    }
    text = reported({"pools.overflow": {"efforts": [], "upstream": upstream}, "ingress.replicas": 2})
    assert text.split("\npool overflow: ")[1].splitlines() == [
        "overflow, home to no effort; a server that Venturi does not run",
        "  server     http://there.example/v1; model theirs; key of $THEIR_KEY",
        "  dialects   chat",
        '  at none    {"chat_template_kwargs": {"enable_thinking": false}}',
        "  at high    nothing is sent there",
        "  requests   9 at once, 5 of each of 2 ingress replicas",
        "  WARNING: http sends the key in clear",
    ]
