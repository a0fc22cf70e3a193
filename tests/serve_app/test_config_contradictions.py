"""Settings: which two values contradict each other, and in which words are they refused?"""

from datetime import date
from typing import Any

import pytest

from tests.serve_app.samples import problems

T = "pools.throughput"
IMAGES = "ingress.images"

REFUSED: list[tuple[dict[str, Any], str]] = [
    (
        {f"{T}.count_experts": True, f"{T}.engine": {"worker_cls": "a.B"}},
        f"{T}: engine.worker_cls='a.B' needs count_experts=false, which uses it",
    ),
    (
        {f"{T}.engine": {"cudagraph_capture_sizes": 512}},
        f"{T}: engine.cudagraph_capture_sizes=512 must be a list of whole numbers of at least 1",
    ),
    (
        {f"{T}.engine": {"compilation_config": {"max_cudagraph_capture_size": "many"}}},
        f"{T}: engine.compilation_config.max_cudagraph_capture_size='many' "
        "must be a whole number of at least 1",
    ),
    (
        {f"{T}.engine": {"revision": date(2026, 1, 1)}},
        f"{T}.engine: Object of type date is not JSON serializable; in YAML such a text needs quotes",
    ),
    (
        {f"{T}.speculation": {"draft": "eagle", "engine": {"revision": date(2026, 1, 1)}}},
        f"{T}.speculation.engine: Object of type date is not JSON serializable; "
        "in YAML such a text needs quotes",
    ),
    (
        {f"{T}.engine": {"max_num_batched_tokens": 128}},
        f"{T}: engine.max_num_seqs=256 is more than engine.max_num_batched_tokens=128: "
        "each takes a token a step",
    ),
    (
        {
            f"{T}.device": "gpu",
            f"{T}.plan": {"dp": 2, "ep": True},
            f"{T}.speculation": {"draft": "e", "adapt": True},
        },
        f"{T}: speculation.adapt needs plan.dp=1 on GPUs, not plan.dp=2: ranks would choose unlike numbers "
        "of drafts, and have no CUDA graph for such a step",
    ),
    (
        {f"{T}.speculation": {"draft": "e", "adapt": True}, f"{T}.engine": {"scheduler_cls": "a.B"}},
        f"{T}: engine.scheduler_cls='a.B' needs speculation.adapt=false, which uses it",
    ),
    (
        {f"{T}.speculation": {"draft": "e", "fp8_output": True}, f"{T}.engine": {"additional_config": {}}},
        f"{T}: engine.additional_config={{}} needs speculation.fp8_output=false, which uses it",
    ),
    (
        {"ingress.auth": {"open": True, "keys_file": "keys.yaml"}},
        "ingress.auth: open=True and keys_file='keys.yaml' exclude each other",
    ),
    (
        {"ingress.auth": {"open": True, "keys_env": "KEYS"}},
        "ingress.auth: open=True and keys_env='KEYS' exclude each other",
    ),
    (
        {IMAGES: {"max_bytes": 2000, "max_total_bytes": 1000}},
        f"{IMAGES}: max_bytes=2000 is more than max_total_bytes=1000",
    ),
    (
        {IMAGES: {"https": False, "hosts": ["a.com"]}},
        f"{IMAGES}: hosts=['a.com'] has no use with https=False",
    ),
    ({f"{T}.plan": {"tp": 0}}, f"{T}.plan: tp=0 must be a whole number of at least 1"),
    ({f"{T}.plan": {"tp": True}}, f"{T}.plan: tp=True must be a whole number of at least 1"),
    ({f"{T}.replicas": True}, f"{T}.replicas: Input should be a valid integer, not True"),
    (
        {f"{T}.plan": {"ep": True}},
        f"{T}.plan: ep=True needs more than one rank, but tp*dp=1*1=1",
    ),
    (
        {f"{T}.replicas": 2, f"{T}.autoscaling": {"max_replicas": 3, "target_ongoing_requests": 4}},
        f"{T}: replicas=2 and autoscaling.max_replicas=3 exclude each other",
    ),
    (
        {f"{T}.autoscaling": {"min_replicas": 3, "max_replicas": 1, "target_ongoing_requests": 4}},
        f"{T}.autoscaling: min_replicas=3 is more than max_replicas=1",
    ),
    (
        {f"{T}.engine.max_num_seqs": "64"},
        f"{T}: engine.max_num_seqs='64' must be a whole number of at least 1",
    ),
    (
        {f"{T}.engine.max_model_len": -1},
        f"{T}: engine.max_model_len=-1 must be a whole number of at least 1",
    ),
    (
        {f"{T}.engine.max_model_len": 8192.5},
        f"{T}: engine.max_model_len=8192.5 must be a whole number of at least 1",
    ),
    (
        {f"{T}.engine.attention_config": {"flash_attn_max_num_splits_for_cuda_graph": 0}},
        f"{T}: engine.attention_config.flash_attn_max_num_splits_for_cuda_graph=0 must be a whole number of "
        "at least 1",
    ),
    (
        {f"{T}.engine.gpu_memory_utilization": 92},
        f"{T}: engine.gpu_memory_utilization=92 must be above 0 and at most 1",
    ),
    (
        {f"{T}.engine.gpu_memory_utilization": "much"},
        f"{T}: engine.gpu_memory_utilization='much' must be above 0 and at most 1",
    ),
    (
        {f"{T}.engine": {"max_num_seqs": 512, "max_num_batched_tokens": 256}},
        f"{T}: engine.max_num_seqs=512 is more than engine.max_num_batched_tokens=256: "
        f"each takes a token a step",
    ),
    (
        {
            f"{T}.autoscaling": {"max_replicas": 4, "target_ongoing_requests": 64},
            f"{T}.engine.max_num_seqs": 64,
        },
        f"{T}.autoscaling.target_ongoing_requests=64 is never passed: a replica is sent at most 64 requests "
        f"(engine.max_num_seqs, plan.dp, router.admission.places), the others wait at the ingress, "
        f"where Ray Serve does not count them",
    ),
    ({"pools.latency": ...}, "no pool serves effort 'high' (pools: throughput: ['none'])"),
    (
        {f"{T}.engine": {"max_num_seqs": 65}, f"{T}.max_ongoing_requests": 64},
        f"{T}: engine.max_num_seqs=65 can never be reached with max_ongoing_requests=64",
    ),
    (
        {f"{T}.plan": {"dp": 4}, f"{T}.engine": {"max_num_seqs": 512}},
        f"{T}: engine.max_num_seqs=512 on each of plan.dp=4 can never be reached with "
        f"max_ongoing_requests=1024",
    ),
    (
        {"model.aliases": ["small", "mistral-small-4"]},
        "model: name='mistral-small-4' and aliases=['small', 'mistral-small-4'] repeat 'mistral-small-4'",
    ),
    (
        {"router.max_age_s": 0.5, "router.report_period_s": 0.5},
        "router: max_age_s=0.5 must be more than report_period_s=0.5",
    ),
    (
        {"router.max_age_s": 5, "router.max_silence_s": 4},
        "router: max_silence_s=4 must not be less than max_age_s=5",
    ),
    (
        {f"{T}.gpu": "H900"},
        f"{T}: no GPU named 'H900'; known: A100-40, A100-80, L40S, H100, H200, B200, B300",
    ),
    ({f"{T}.gpu": "H100", f"{T}.device": "cpu"}, f"{T}: device='cpu' has no gpu='H100'"),
    (
        {"pools.ingress": {"efforts": ["none"]}},
        "a pool may not be named 'ingress': that is the ingress deployment",
    ),
    (
        {"pools.Fast": {"efforts": ["none"]}},
        "pools.Fast.[key]: String should match pattern '^[a-z][a-z0-9-]{0,40}$', not 'Fast'",
    ),
]


@pytest.mark.parametrize(("changes", "line"), REFUSED)
def test_a_contradiction_gives_one_line(changes: dict[str, Any], line: str) -> None:
    """It names both settings, with their values."""
    assert problems(changes) == [line]
