"""What does the cost model say of the steps that `verify` timed?

python -m parallel compare verify.json
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from parallel.bench.compare import engine_of
from parallel.bench.verify import by_drafts
from parallel.cost import speculative_s
from parallel.plan import ParallelPlan
from parallel.speed import usual_head


@dataclass(frozen=True)
class Step:
    """One timed step, and what is predicted for it."""

    requests: int
    draft_tokens: int
    """Verified of each request."""
    measured_ms: float
    predicted_ms: float

    @property
    def error(self) -> float:
        """By how much the prediction is off: 0.1 is a tenth too long."""
        return self.predicted_ms / self.measured_ms - 1


def steps(results: Mapping[str, Any]) -> Iterator[Step]:
    """Every step of a results file; ValueError for a GPU that is not known here.

    Files without `passes` are of engines whose head proposed its most tokens in every step.
    """
    engine = engine_of(results["machine"], results, ParallelPlan())
    head = usual_head(engine.shape)
    most = results["arguments"]["speculative_config"]["num_speculative_tokens"]
    for row in results["rows"]:
        requests, draft_tokens = row["requests"], row["draft_tokens"]
        context_tokens = results["prompt_tokens"] + results["steps"] / 2 * row["tokens_a_step"]
        passes = row.get("passes", most)
        said_s = speculative_s(engine, head, requests, context_tokens, draft_tokens, passes)
        yield Step(requests, draft_tokens, row["step_ms"], 1e3 * said_s)


def table(results: Mapping[str, Any]) -> str:
    """A Markdown table: milliseconds of a step, measured / predicted, by requests and verified drafts."""
    cells = {
        (one.requests, one.draft_tokens): f"{one.measured_ms:.1f} / {one.predicted_ms:.1f}"
        for one in steps(results)
    }
    return by_drafts("ms a step / predicted, verifying", cells)
