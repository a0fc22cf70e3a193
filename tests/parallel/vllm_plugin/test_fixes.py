"""Does an engine that needs a fix refuse to start without it, and only then?"""

import dataclasses
from types import SimpleNamespace
from typing import Any

import pytest

from parallel.vllm_plugin import fixes
from parallel.vllm_plugin.fixes import FIXES, MissingFixError


def config(
    *,
    method: str | None = None,
    expert_parallel: bool = False,
    divided_tokens: bool = False,
    vision: bool = False,
    policy: str = "default",
    load_format: str = "mistral",
    adapts: bool = False,
    v2: bool = False,
) -> Any:
    """As much of an engine configuration as the checks read."""
    return SimpleNamespace(
        speculative_config=None if method is None else SimpleNamespace(method=method),
        parallel_config=SimpleNamespace(
            enable_expert_parallel=expert_parallel,
            use_sequence_parallel_moe=divided_tokens,
            eplb_config=SimpleNamespace(policy=policy),
        ),
        load_config=SimpleNamespace(load_format=load_format),
        additional_config={"draft_length": {}} if adapts else {},
        use_v2_model_runner=v2,
        model_config=SimpleNamespace(
            hf_config=SimpleNamespace(vision_config={}) if vision else SimpleNamespace()
        ),
    )


@pytest.mark.parametrize(
    ("vllm_config", "wanted"),
    [
        (config(), ["parser_cache", "detokenizer", "sampling_gpu"]),
        (config(method="ngram"), ["parser_cache", "detokenizer", "sampling_gpu", "sampling_cpu"]),
        (config(method="eagle"), ["parser_cache", "detokenizer", "sampling_gpu", "eagle", "sampling_cpu"]),
        (config(adapts=True), ["parser_cache", "detokenizer", "sampling_gpu"]),
        (
            config(adapts=True, v2=True),
            ["parser_cache", "detokenizer", "sampling_gpu", "draft_graphs", "draft_passes"],
        ),
        (config(load_format="dummy"), ["parser_cache", "detokenizer", "sampling_gpu", "dummy_scales"]),
        (config(vision=True), ["parser_cache", "detokenizer", "sampling_gpu", "vision_import"]),
        (
            config(expert_parallel=True),
            ["parser_cache", "detokenizer", "sampling_gpu", "experts_cpu", "communicator_cpu"],
        ),
        (config(divided_tokens=True), ["parser_cache", "detokenizer", "sampling_gpu", "one_token"]),
        (config(policy="steady"), ["parser_cache", "detokenizer", "sampling_gpu", "eplb_policy"]),
    ],
)
def test_each_configuration_needs_its_fixes(
    monkeypatch: pytest.MonkeyPatch, vllm_config: Any, wanted: list[str]
) -> None:
    """Where none took effect, the error names exactly what is needed, with its symptom."""
    absent = tuple(dataclasses.replace(fix, in_effect=lambda: False) for fix in FIXES)
    monkeypatch.setattr(fixes, "FIXES", absent)
    with pytest.raises(MissingFixError) as raised:
        fixes.require(vllm_config)
    assert [fix.name for fix in absent if f"{fix.name} ({fix.symptom})" in str(raised.value)] == wanted
    assert [fix.name for fix in absent if fix.name in str(raised.value)] == wanted


def test_nothing_is_refused_where_all_took_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    """The most demanding configuration passes then."""
    monkeypatch.setattr(
        fixes, "FIXES", tuple(dataclasses.replace(fix, in_effect=lambda: True) for fix in FIXES)
    )
    fixes.require(
        config(method="eagle", expert_parallel=True, divided_tokens=True, vision=True, policy="steady")
    )


def test_gpus_do_not_need_the_fixes_for_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """Expert parallelism, and sampling under speculation, lack nothing there."""
    monkeypatch.setattr("vllm.platforms._current_platform", SimpleNamespace(is_cpu=lambda: False))
    demanding = config(method="eagle", expert_parallel=True, divided_tokens=True, policy="steady")
    needed = [fix.name for fix in FIXES if fix.applies(demanding)]
    assert needed == ["parser_cache", "detokenizer", "sampling_gpu", "eagle", "one_token", "eplb_policy"]


def test_every_fix_has_a_file_that_says_when_it_can_go() -> None:
    """A fix is named for its module, whose docstring tells how to see that it is needless."""
    for fix in FIXES:
        module = __import__(f"parallel.vllm_plugin.{fix.name}", fromlist=["__doc__"])
        assert module.__doc__ is not None
        for part in ("Reason:", "Upstream symptom", "No longer needed when:"):
            assert part in module.__doc__, fix.name
