"""What does vLLM 0.29 lack to run this model, and how is it added from outside?

vLLM calls the two functions below through its entry points, in every process it starts. Each fix has a file
of its own that says why it is there and how to see that it has become needless; `fixes` checks that they took
effect. Nothing here imports vLLM before it is called: vLLM loads this module while it is still deciding on
its platform.
"""

EXPERT_COUNTER = "parallel.vllm_plugin.expert_counter.CountingWorker"
"""vLLM's argument `worker_cls` for an engine that counts which experts its tokens choose."""

FP8_DRAFT_OUTPUT = "fp8_draft_output"
"""True there in vLLM's argument `additional_config`, the draft head has an output layer in FP8."""

DRAFT_LENGTH = "draft_length"
"""Where settings of the draft length stand in vLLM's `additional_config`: `adapt`, values of `Adapt`, and
`predicted_s`, the cost model's `StepTimes` if it knows the device."""

DRAFT_LENGTH_SCHEDULER = "parallel.vllm_plugin.draft_length.scheduler"
"""vLLM's argument `scheduler_cls` for an engine that decides anew how many tokens are drafted."""


def register() -> None:
    """Install every fix this machine can use; calling it again changes nothing (`vllm.general_plugins`)."""
    from vllm import ModelRegistry, envs
    from vllm.platforms import current_platform

    from parallel.vllm_plugin import (
        detokenizer,
        draft_graphs,
        draft_passes,
        dummy_scales,
        eplb_policy,
        parser_cache,
        sampling_gpu,
        vision_import,
    )

    parser_cache.install()
    detokenizer.install()
    draft_graphs.install()
    draft_passes.install()
    sampling_gpu.install()
    vision_import.install()
    # Named, not imported: the classes pull in the whole model stack, which most processes never need.
    ModelRegistry.register_model("MistralLarge3ForCausalLM", "parallel.vllm_plugin.one_token:OneTokenMistral")
    ModelRegistry.register_model("EagleMistralLarge3ForCausalLM", "parallel.vllm_plugin.eagle:CompleteEagle")
    if current_platform.is_cpu():
        from parallel.vllm_plugin import experts_cpu, sampling_cpu

        experts_cpu.install()
        sampling_cpu.install()
    dummy_scales.install()
    eplb_policy.install()
    if envs.VLLM_MOE_ROUTING_SIMULATION_STRATEGY.startswith("venturi_"):
        from parallel.vllm_plugin import simulated_routing

        simulated_routing.install()


def platform() -> str | None:
    """The platform class to use in place of vLLM's own, or None to leave it (`vllm.platform_plugins`)."""
    from vllm.platforms import cpu_platform_plugin

    # Only in place of the plain CPU platform: None means a GPU build, any other name a vendor's subclass.
    if cpu_platform_plugin() != "vllm.platforms.cpu.CpuPlatform":
        return None
    return "parallel.vllm_plugin.platform_cpu.ExpertParallelCpuPlatform"
