"""Which arguments does vLLM's engine take?

The names are listed here so that a misspelt one is refused at once, on machines without vLLM too. A test
holds the list against the vLLM that is installed: after a change of version, it prints the difference.
"""

from collections.abc import Mapping
from typing import Any

SERVER_NAMES = frozenset(
    {"enable_force_include_usage", "enable_prompt_tokens_details", "sse_keep_alive_interval"}
)
"""Arguments of vLLM's API server, not of its engine, that an operator may set as well."""

ENGINE_NAMES = frozenset(
    """
    additional_config aggregate_engine_logging all2all_backend allow_deprecated_quantization
    allowed_local_media_path allowed_media_domains async_scheduling attention_backend attention_config
    block_size code_revision collect_detailed_traces compilation_config config_format convert
    cp_kv_cache_interleave_size cpu_distributed_timeout_seconds cpu_offload_gb cpu_offload_params
    cudagraph_capture_sizes cudagraph_metrics data_parallel_address data_parallel_backend
    data_parallel_external_lb data_parallel_hybrid_lb data_parallel_multi_port_external_lb
    data_parallel_rank data_parallel_rpc_port data_parallel_size data_parallel_size_local
    data_parallel_start_rank dbo_decode_token_threshold dbo_prefill_token_threshold dcp_comm_backend
    dcp_kv_cache_interleave_size dcp_q_replicate decode_context_parallel_size default_mm_loras
    device_ids diffusion_config disable_cascade_attn disable_chunked_mm_input disable_custom_all_reduce
    disable_hybrid_kv_cache_manager disable_log_stats disable_nccl_for_dp_synchronization
    disable_sliding_window distributed_executor_backend distributed_timeout_seconds download_dir dtype
    ec_manager_config ec_transfer_config enable_batch_sharded_sampling enable_bf16x3_router_gemm
    enable_chunked_prefill enable_cumem_allocator enable_dbo enable_elastic_ep enable_ep_weight_filter
    enable_eplb enable_expert_parallel enable_fault_tolerance enable_flashinfer_autotune
    enable_layerwise_nvtx_tracing enable_log_requests enable_logging_iteration_details enable_lora
    enable_mamba_cache_stochastic_rounding enable_mfu_metrics enable_mixed_moe_lora_format
    enable_mm_embeds enable_mm_processor_stats enable_moe_shared_loras enable_prefix_caching
    enable_prompt_embeds enable_return_routed_experts enable_sleep_mode enable_tower_connector_lora
    enable_trace_replay enforce_eager eplb_config expert_placement_strategy fail_on_environ_validation
    fault_tolerance_config fully_sharded_loras gdn_prefill_backend generation_config
    gpu_memory_utilization hf_config_path hf_overrides hf_token ignore_patterns interleave_mm_strings
    io_processor_plugin ir_op_priority jit_monitor_mode jit_monitor_verbose kda_prefill_backend
    kernel_config kv_cache_dtype kv_cache_dtype_skip_layers kv_cache_memory_bytes kv_cache_metrics
    kv_cache_metrics_sample kv_events_config kv_offloading_backend kv_offloading_size
    kv_sharing_fast_prefill kv_transfer_config language_model_only limit_mm_per_prompt linear_backend
    load_format logits_processors logprobs_mode long_prefill_token_threshold lora_dtype
    lora_target_modules mamba_backend mamba_block_size mamba_cache_dtype mamba_cache_mode
    mamba_cache_philox_rounds mamba_config mamba_ssm_cache_dtype mamba_ssu_algorithm master_addr
    master_port max_cpu_loras max_cudagraph_capture_size max_logprobs max_lora_rank max_loras
    max_model_len max_num_batched_tokens max_num_queued_reqs max_num_queued_tokens
    max_num_scheduled_tokens max_num_seqs max_parallel_loading_workers media_io_kwargs
    mm_device_do_normalize mm_encoder_attn_backend mm_encoder_attn_dtype mm_encoder_fp8_scale_path
    mm_encoder_fp8_scale_save_margin mm_encoder_fp8_scale_save_path mm_encoder_only mm_encoder_tp_mode
    mm_hasher_algorithm mm_ipc_gpu_memory_gb mm_processor_cache_gb mm_processor_cache_type
    mm_processor_device mm_processor_kwargs mm_shm_cache_max_object_size_mb mm_tensor_ipc model
    model_class_overrides model_impl model_loader_extra_config model_weights moe_backend nnodes
    node_rank num_gpu_blocks_override numa_bind numa_bind_cpus numa_bind_nodes offload_backend
    offload_group_size offload_num_in_group offload_params offload_prefetch_step optimization_level
    otlp_traces_endpoint override_generation_config per_request_spec_decode_metrics performance_mode
    pipeline_parallel_size pooler_config prefill_context_parallel_size prefill_schedule_interval
    prefix_cache_retention_interval prefix_caching_hash_algo prefix_match_unit profiler_config
    pt_load_map_location quantization quantization_config ray_workers_use_nsight reasoning_config
    reasoning_parser reasoning_parser_plugin renderer_num_workers replayssm_buffer_len
    return_sampling_mask revision runner safetensors_load_strategy safetensors_prefetch_block_size
    safetensors_prefetch_num_threads scheduler_cls scheduler_reserve_full_isl scheduling_policy seed
    served_model_name show_hidden_metrics_for_version shutdown_timeout skip_mm_profiling
    skip_tokenizer_init spec_method spec_model spec_tokens specialize_active_lora speculative_config
    stream_interval structured_outputs_config tensor_parallel_size tokenizer tokenizer_mode
    tokenizer_revision tokens_only trust_remote_code ubatch_size use_fp64_gumbel use_replayssm
    use_tqdm_on_load video_pruning_method video_pruning_rate watermark weight_transfer_config worker_cls
    worker_extension_cls
    """.split()  # noqa: SIM905 - one name a line would be a page and a half longer
)
"""The fields of vLLM's AsyncEngineArgs."""

NAMES = ENGINE_NAMES | SERVER_NAMES

SPECULATION_NAMES = frozenset(
    {
        "attention_backend",
        "code_revision",
        "disable_padded_drafter_batch",
        "draft_load_config",
        "draft_sample_method",
        "draft_tensor_parallel_size",
        "dspark_draft_topk",
        "enable_adaptive_verification",
        "enforce_eager",
        "index_share_for_mtp_iteration",
        "kv_cache_dtype",
        "max_model_len",
        "method",
        "model",
        "moe_backend",
        "num_speculative_tokens",
        "num_speculative_tokens_per_batch_size",
        "parallel_drafting",
        "prompt_lookup_max",
        "prompt_lookup_min",
        "quantization",
        "rejection_sample_method",
        "revision",
        "suffix_decoding_max_cached_requests",
        "suffix_decoding_max_spec_factor",
        "suffix_decoding_max_tree_depth",
        "suffix_decoding_min_token_prob",
        "synthetic_acceptance_length",
        "synthetic_acceptance_rates",
        "tensor_parallel_size",
        "use_heterogeneous_vocab",
        "use_local_argmax_reduction",
    }
)
"""What its speculative_config takes."""

CONTEXT_SPLITS = 32
"""Parts that vLLM's decode steps in CUDA graphs read a sequence's context in, by itself."""


def context_splits(arguments: Mapping[str, Any]) -> int:
    """How many parts an engine with these arguments reads a context in; ValueError for fewer than one."""
    config = arguments.get("attention_config")
    splits = CONTEXT_SPLITS
    if isinstance(config, Mapping):
        splits = config.get("flash_attn_max_num_splits_for_cuda_graph", CONTEXT_SPLITS)
    if not is_count(splits):
        raise ValueError(
            "engine.attention_config.flash_attn_max_num_splits_for_cuda_graph="
            f"{splits!r} must be a whole number of at least 1"
        )
    return int(splits)


def largest_graph(arguments: Mapping[str, Any]) -> int | None:
    """Tokens of the largest step that an engine with these arguments is told to record as a CUDA graph.

    None if it decides by itself; ValueError for sizes that are not whole numbers of at least 1.
    """
    config = arguments.get("compilation_config")
    for at, given in ("", arguments), ("compilation_config.", config if isinstance(config, Mapping) else {}):
        if sizes := given.get("cudagraph_capture_sizes"):
            if not isinstance(sizes, list) or not all(map(is_count, sizes)):
                raise ValueError(
                    f"engine.{at}cudagraph_capture_sizes={sizes!r} "
                    "must be a list of whole numbers of at least 1"
                )
            return int(max(sizes))
        if most := given.get("max_cudagraph_capture_size"):
            if not is_count(most):
                raise ValueError(
                    f"engine.{at}max_cudagraph_capture_size={most!r} must be a whole number of at least 1"
                )
            return int(most)
    return None


def is_count(given: Any) -> bool:
    """Tell whether `given` is a whole number of at least 1; True and 2.0 are none."""
    return type(given) is int and given >= 1
