"""What vLLM is started with: the model's arguments, the plan's, and the operator's own on top."""

import json
from typing import Any

import pytest

from parallel.engine_arguments import NAMES
from parallel.speculation import Adapt
from parallel.vllm_plugin import DRAFT_LENGTH_SCHEDULER, EXPERT_COUNTER, FP8_DRAFT_OUTPUT
from serve_app.config import PROJECT_ROOT, parse
from serve_app.engine.arguments import NO_FETCHING, engine_arguments
from tests.serve_app.samples import args

T = "pools.throughput"


def arguments(changes: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the arguments of the throughput pool."""
    return engine_arguments(parse(args(changes)), "throughput")


def test_the_model() -> None:
    """Every pool serves the same folder under all names, in Mistral's format, and fetches no images."""
    assert arguments({"model.aliases": ["small"]}) == {
        "model": str(PROJECT_ROOT / "deploy/pocket/target"),
        "served_model_name": ["mistral-small-4", "small"],
        "tokenizer_mode": "mistral",
        "config_format": "mistral",
        "load_format": "mistral",
        "tool_call_parser": "mistral",
        "enable_auto_tool_choice": True,
        "reasoning_parser": "mistral",
        "structured_outputs_config": {"backend": "guidance"},
        "allowed_media_domains": [NO_FETCHING],
        "enable_log_requests": False,
        "max_num_seqs": 256,
    }


@pytest.mark.parametrize(
    ("changes", "added"),
    [
        (
            {f"{T}.plan": {"tp": 2, "ep": True}},
            {"tensor_parallel_size": 2, "enable_expert_parallel": True, "distributed_executor_backend": "mp"},
        ),
        ({f"{T}.engine": {"max_num_seqs": 512}}, {"max_num_seqs": 512}),
        ({f"{T}.engine": {"max_num_seqs": None}}, {"max_num_seqs": 256}),
        ({f"{T}.count_experts": True}, {"worker_cls": EXPERT_COUNTER}),
        ({f"{T}.engine": {"load_format": "dummy"}}, {"load_format": "dummy"}),
        (
            {f"{T}.engine": {"structured_outputs_config": {"enable_in_reasoning": True}}},
            {"structured_outputs_config": {"backend": "guidance", "enable_in_reasoning": True}},
        ),
        (
            {f"{T}.engine": {"structured_outputs_config": {"backend": "xgrammar"}}},
            {"structured_outputs_config": {"backend": "xgrammar"}},
        ),
        ({f"{T}.engine": {"allowed_media_domains": ["a.example"]}}, {"allowed_media_domains": ["a.example"]}),
        (
            {f"{T}.speculation": {"draft": "/models/eagle"}},
            {
                "speculative_config": {
                    "method": "eagle",
                    "model": "/models/eagle",
                    "num_speculative_tokens": 3,
                }
            },
        ),
        (
            {f"{T}.speculation": {"draft": "/e", "max_draft_tokens": 5, "max_model_len": 4096}},
            {
                "speculative_config": {
                    "method": "eagle",
                    "model": "/e",
                    "num_speculative_tokens": 5,
                    "max_model_len": 4096,
                }
            },
        ),
        (
            {f"{T}.speculation": {"draft": "/e", "engine": {"draft_sample_method": "probabilistic"}}},
            {
                "speculative_config": {
                    "method": "eagle",
                    "model": "/e",
                    "num_speculative_tokens": 3,
                    "draft_sample_method": "probabilistic",
                }
            },
        ),
    ],
)
def test_what_a_pool_adds(changes: dict[str, Any], added: dict[str, Any]) -> None:
    """A pool's plan, draft and own engine arguments come on top of the model's; the last word is its own."""
    assert arguments(changes) == arguments() | added


def adaptive(changes: dict[str, Any]) -> dict[str, Any]:
    """Return what the engine of a pool with a draft head is told about its number of draft tokens."""
    told = arguments({f"{T}.speculation": {"draft": "e", "adapt": True}} | changes)["additional_config"][
        "draft_length"
    ]
    assert isinstance(told, dict)
    return told


def test_the_output_layer_in_fp8() -> None:
    """It reaches the plugin beside the settings of an adapting draft length; without it nothing is said."""
    both = arguments({f"{T}.speculation": {"draft": "e", "adapt": True, "fp8_output": True}})
    assert both["additional_config"].keys() == {"draft_length", FP8_DRAFT_OUTPUT}
    alone = arguments({f"{T}.speculation": {"draft": "e", "fp8_output": True}})
    assert alone["additional_config"] == {FP8_DRAFT_OUTPUT: True}
    assert "additional_config" not in arguments({f"{T}.speculation": {"draft": "e"}})


def test_the_number_of_draft_tokens_adapts() -> None:
    """Where it is asked for, with vLLM's scheduler replaced; each setting can be given."""
    found = arguments({f"{T}.speculation": {"draft": "e", "adapt": True}})
    assert found["scheduler_cls"] == DRAFT_LENGTH_SCHEDULER
    assert adaptive({}) == {"adapt": Adapt().values()}
    given = {f"{T}.speculation": {"draft": "e", "adapt": {"explore": 0.01}}}
    assert adaptive(given)["adapt"] == Adapt(explore=0.01).values()


def test_predicted_step_times_go_along_where_the_gpu_is_known() -> None:
    """For batches up to the largest, and each number of draft tokens, as JSON."""
    changes = {f"{T}.gpu": "H200", "model.weight_format": "fp8", "model.path": "/models/not-here"}
    times = adaptive(changes | {f"{T}.engine": {"max_num_seqs": 8}})["predicted_s"]
    assert [len(row) for row in times] == [4] * 4
    assert all(row == sorted(row) for row in times)
    assert len(adaptive(changes)["predicted_s"]) == 9
    assert json.loads(json.dumps(times)) == times


def test_the_scheduler_is_named_right() -> None:
    """The name that needs no vLLM to be written is the one of the plugin's module."""
    from parallel.vllm_plugin import draft_length

    assert f"{draft_length.__name__}.{draft_length.scheduler.__name__}" == DRAFT_LENGTH_SCHEDULER


def test_pools_do_not_mix() -> None:
    """One pool's arguments are not another's."""
    settings = parse(args({f"{T}.engine": {"max_num_seqs": 512}}))
    assert engine_arguments(settings, "latency")["max_num_seqs"] == 256


def test_every_name_is_vllms() -> None:
    """What Venturi itself sets are arguments that vLLM's engine has, but for two of its server's."""
    own = arguments(
        {f"{T}.plan": {"tp": 2, "dp": 2, "ep": True, "nodes": 2}, f"{T}.speculation": {"draft": "e"}}
    )
    assert set(own) - NAMES == {"tool_call_parser", "enable_auto_tool_choice"}
