"""What do the metrics see of requests: how they ended, how long they took, and what they were held to?"""

import json
from typing import Any

import pytest

from serve_app.engine.scripted import Step
from serve_app.errors import ReplicaLost
from serve_app.rules import Rules, Targets
from serve_app.types import Effort
from tests.serve_app.ingress.asking import CHAT, SSE, body
from tests.serve_app.samples import System, api, client, head, system

EVENT = b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n'
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":4,"completion_tokens":3,"total_tokens":7}}\n\n'
WHERE = {"pool": "throughput", "effort": "none"}
RULES = Rules(targets={Effort.NONE: Targets(ttft_s=0.05, per_token_s=10.0, total_s=0.01)})


async def asked(*script: Step, path: str = CHAT, **fields: Any) -> System:
    """Ask a replica that has this script."""
    parts = system({"t1": script}, rules=RULES)
    async with client(api(parts)) as http:
        await http.post(path, json=body(**fields))
    return parts


def timed(parts: System, name: str, **labels: str) -> float:
    """Return how many times a histogram has seen something."""
    return parts.counted(f"venturi_{name}_count", **WHERE, **labels)


@pytest.mark.parametrize(
    ("script", "fields", "outcome"),
    [
        ((head("t1"), b"{}"), {}, "complete"),
        ((head("t1", status=400), b"{}"), {}, "refused"),
        ((head("t1", status=500), b"{}"), {}, "failed"),
        ((head("t1"), b"{", ReplicaLost("gone")), {}, "broken"),
        ((head("t1", SSE), EVENT, b"data: [DONE]\n\n"), {"stream": True}, "complete"),
        ((head("t1", SSE), EVENT, ReplicaLost("gone")), {"stream": True}, "broken"),
        ((head("t1", SSE), b'data: {"error":{"code":400}}\n\n'), {"stream": True}, "refused"),
    ],
    ids=["whole", "400", "500", "broken", "stream", "broken stream", "refused in the stream"],
)
async def test_outcomes(script: tuple[Step, ...], fields: dict[str, Any], outcome: str) -> None:
    """Every answer that began is counted once, by its end; only complete ones have a time."""
    parts = await asked(*script, **fields)
    counts = {
        each: parts.counted("venturi_answers_total", outcome=each, **WHERE)
        for each in ("complete", "refused", "failed", "broken", "abandoned")
    }
    assert counts == dict.fromkeys(counts, 0) | {outcome: 1}
    is_stream = str("stream" in fields).lower()
    assert timed(parts, "request_seconds", stream=is_stream) == (outcome == "complete")


async def test_times_of_a_stream() -> None:
    """First token, tokens after it and the whole, each held against the target that there is."""
    parts = await asked(head("t1", SSE), 0.06, EVENT, 0.06, EVENT, USAGE, b"data: [DONE]\n\n", stream=True)
    assert timed(parts, "time_to_first_token_seconds") == 1
    assert parts.counted("venturi_time_to_first_token_seconds_sum", **WHERE) >= 0.06
    assert parts.counted("venturi_request_seconds_sum", stream="true", **WHERE) >= 0.12
    # Three tokens, so two gaps.
    assert 0.03 <= parts.counted("venturi_time_per_output_token_seconds_sum", **WHERE) < 1
    held = {("ttft_s", "missed"): 1, ("per_token_s", "met"): 1, ("total_s", "missed"): 1}
    for target in ("ttft_s", "per_token_s", "total_s"):
        for outcome in ("met", "missed"):
            found = parts.counted("venturi_targets_total", target=target, outcome=outcome, **WHERE)
            assert found == held.get((target, outcome), 0), (target, outcome)


async def test_a_whole_answer_has_no_first_token() -> None:
    """All of it comes at once: its first byte would be held against a target that it cannot meet."""
    answer = json.dumps({"usage": {"prompt_tokens": 4, "completion_tokens": 3}}).encode()
    parts = await asked(head("t1"), 0.06, answer)
    assert timed(parts, "time_to_first_token_seconds") == 0
    assert parts.counted("venturi_targets_total", target="total_s", outcome="missed", **WHERE) == 1
    assert parts.counted("venturi_tokens_total", kind="output", **WHERE) == 3


async def test_what_asks_the_model_nothing() -> None:
    """Rendering and counting take no time that belongs to answers."""
    parts = await asked(head("t1"), b"{}", path=f"{CHAT}/render")
    assert parts.counted("venturi_answers_total", outcome="complete", **WHERE) == 1
    assert timed(parts, "request_seconds", stream="false") == 0
