"""Which fixes does an engine configuration need, and which of those did not take effect?

vLLM logs a plugin that fails to load and goes on, `VLLM_PLUGINS` can leave it out, and without the project
installed there is no entry point at all. What follows is a slow server or a crash far from its cause, so the
replica asks first.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from parallel.vllm_plugin import DRAFT_LENGTH

VllmConfig = Any
"""`vllm.config.VllmConfig`, which carries no types we could check against."""


class MissingFixError(RuntimeError):
    """The engine configuration needs fixes that did not take effect in this process."""


@dataclass(frozen=True)
class Fix:
    """One fix to vLLM, and how to tell whether it is needed and whether it is there."""

    name: str
    """The module of this package that holds it."""
    symptom: str
    """What happens without it, in one clause."""
    applies: Callable[[VllmConfig], bool]
    """Whether an engine with this configuration needs it."""
    in_effect: Callable[[], bool]
    """Whether it took effect in this process; vLLM's other processes load it the same way."""


def always(vllm_config: VllmConfig) -> bool:
    """Every engine here serves chat through the Mistral parser."""
    return True


def has_draft_head(vllm_config: VllmConfig) -> bool:
    """Whether an EAGLE head is configured."""
    speculation = vllm_config.speculative_config
    return speculation is not None and speculation.method == "eagle"


def changes_draft_length(vllm_config: VllmConfig) -> bool:
    """Whether an engine of model runner V2, the one for GPUs, decides anew how many drafts are verified."""
    return DRAFT_LENGTH in vllm_config.additional_config and bool(vllm_config.use_v2_model_runner)


def speculates_on_cpu(vllm_config: VllmConfig) -> bool:
    """Whether draft tokens, of whatever method, are verified on a CPU."""
    from vllm.platforms import current_platform

    return vllm_config.speculative_config is not None and bool(current_platform.is_cpu())


def has_experts_apart_on_cpu(vllm_config: VllmConfig) -> bool:
    """Whether experts are spread over ranks of CPUs."""
    from vllm.platforms import current_platform

    return bool(vllm_config.parallel_config.enable_expert_parallel and current_platform.is_cpu())


def divides_tokens_over_ranks(vllm_config: VllmConfig) -> bool:
    """Whether tp ranks hand on shares of the tokens: with dp, tp and expert parallelism, on any device."""
    return bool(vllm_config.parallel_config.use_sequence_parallel_moe)


def has_vision_tower(vllm_config: VllmConfig) -> bool:
    """Whether the model's configuration has a vision part."""
    return getattr(vllm_config.model_config.hf_config, "vision_config", None) is not None


def has_random_weights(vllm_config: VllmConfig) -> bool:
    """Whether weights are drawn and not read."""
    return bool(vllm_config.load_config.load_format == "dummy")


def places_experts_steadily(vllm_config: VllmConfig) -> bool:
    """Whether our policy for placing experts is configured."""
    from parallel.vllm_plugin.eplb_policy import NAME

    return bool(vllm_config.parallel_config.eplb_config.policy == NAME)


def draft_head_is_replaced() -> bool:
    """Whether vLLM's registry of models names our draft head."""
    return _module_of("EagleMistralLarge3ForCausalLM") == "parallel.vllm_plugin.eagle"


def model_is_replaced() -> bool:
    """Whether vLLM's registry of models names our text model."""
    return _module_of("MistralLarge3ForCausalLM") == "parallel.vllm_plugin.one_token"


def _module_of(architecture: str) -> str | None:
    """The module that vLLM's registry of models names for an architecture."""
    from vllm import ModelRegistry

    return getattr(ModelRegistry.models.get(architecture), "module_name", None)


def experts_are_replaced() -> bool:
    """Whether vLLM's registry of operations names our experts."""
    from vllm.model_executor.custom_op import op_registry_oot

    replaced = op_registry_oot.get("UnquantizedFusedMoEMethod")
    return getattr(replaced, "__module__", None) == "parallel.vllm_plugin.experts_cpu"


def communicator_is_replaced() -> bool:
    """Whether the platform in use names our communicator."""
    from vllm.platforms import current_platform

    return str(current_platform.get_device_communicator_cls()).startswith("parallel.vllm_plugin.")


def saying(name: str, symptom: str, applies: Callable[[VllmConfig], bool]) -> Fix:
    """A fix whose module says itself whether it took effect."""

    def in_effect() -> bool:
        return bool(importlib.import_module(f"parallel.vllm_plugin.{name}").in_effect())

    return Fix(name, symptom, applies, in_effect)


FIXES = (
    saying("parser_cache", "every request blocks the server for 50 ms several times", always),
    saying("detokenizer", "every token is decoded twice", always),
    saying("sampling_gpu", "a request with a long logit_bias ends the engine", always),
    saying("vision_import", "the model cannot be inspected without torchvision", has_vision_tower),
    Fix(
        "eagle",
        "the draft head does not load, or ends an engine with a vision tower",
        has_draft_head,
        draft_head_is_replaced,
    ),
    saying("draft_graphs", "steps that verify fewer drafts run in pieces", changes_draft_length),
    saying("draft_passes", "the head proposes drafts that nobody verifies", changes_draft_length),
    saying("sampling_cpu", "answers at a temperature above 0 are noise", speculates_on_cpu),
    Fix(
        "experts_cpu",
        "workers read past their experts' weights",
        has_experts_apart_on_cpu,
        experts_are_replaced,
    ),
    Fix(
        "communicator_cpu",
        "uneven collectives are missing",
        has_experts_apart_on_cpu,
        communicator_is_replaced,
    ),
    Fix(
        "one_token",
        "a group's answer goes astray when it decodes one token",
        divides_tokens_over_ranks,
        model_is_replaced,
    ),
    saying(
        "dummy_scales", "with random weights in NVFP4 all tokens go to the same experts", has_random_weights
    ),
    saying("eplb_policy", "vLLM has no such policy", places_experts_steadily),
)


def missing(vllm_config: VllmConfig) -> list[Fix]:
    """The fixes this configuration needs that did not take effect."""
    return [fix for fix in FIXES if fix.applies(vllm_config) and not fix.in_effect()]


def require(vllm_config: VllmConfig) -> None:
    """Raise MissingFixError, naming each fix this configuration needs that did not take effect."""
    lacking = missing(vllm_config)
    if lacking:
        listed = "; ".join(f"{fix.name} ({fix.symptom})" for fix in lacking)
        raise MissingFixError(
            f"fixes to vLLM did not take effect: {listed}. Install this project where the engine runs; "
            "if VLLM_PLUGINS is set, name venturi and venturi_cpu in it."
        )
