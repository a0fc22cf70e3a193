"""Which steps of the full-size model have been measured, and what does the cost model say of them?

All on H200, vLLM 0.29.0, FP8 with dummy weights, CUDA graphs, prompts of 512 tokens (longer in `LONG`) and
answers of 256, and vLLM's default expert kernels but in `DRAFTING`, `FEWER_PLACES` and the last of `LONG`.
Acceptance is synthetic: 2.6 tokens a verify step with 3 draft tokens.

`LATEST` is the whole system over HTTP on 2026-11-28 (`python -m tests.bench.served`, `plans/h200.yaml`), and
`OVER_TWO` engines over two GPUs on that day (`python -m parallel bench --layout tp2 tp2+ep dp2+ep 2xtp1`).
`EARLIER` is engines alone, before the project's first commit (2026-11-23; the day was not recorded); its two
GPUs are on one host, with VLLM_DISABLE_SHARED_EXPERTS_STREAM=1, which graph capture needed there.
"""

from dataclasses import dataclass

from parallel.cost import FITTED, Efficiency, Engine
from parallel.engine_arguments import CONTEXT_SPLITS
from parallel.hardware import H200
from parallel.memory import WeightFormat
from parallel.model_shape import MISTRAL_SMALL_4
from parallel.plan import ParallelPlan
from parallel.speed import Load, Speculation, Speed, speed

PROMPT_TOKENS = 512
ANSWER_TOKENS = 256
CHUNK_TOKENS = 16_384
STEP_TOKENS = 5120
"""Of an engine that has CUDA graphs for all its steps."""


@dataclass(frozen=True)
class Run:
    """One measured run."""

    plan: ParallelPlan
    concurrency: int
    """Requests under way at once."""
    max_num_seqs: int | None
    """The engine's setting; None where the record does not say."""
    user_tokens_per_s: float
    """Tokens a second that one request got while it was decoded."""
    total_tokens_per_s: float | None = None
    """Output tokens a second of all requests, with the reading of their prompts; None if not recorded."""
    eagle: bool = False
    chunk_tokens: int = CHUNK_TOKENS
    """The engine's max_num_batched_tokens."""
    prompt_tokens: int = PROMPT_TOKENS
    context_splits: int = CONTEXT_SPLITS
    """Parts that the engine reads a context in."""
    fitted: bool = False
    """Whether the cost model was fitted on it."""

    @property
    def name(self) -> str:
        """The setting in words."""
        layout = f"dp {self.plan.dp}" if self.plan.dp > 1 else f"tp {self.plan.tp}"
        layout += " + ep" if self.plan.ep else ""
        layout += ", EAGLE" if self.eagle else ""
        return layout if self.prompt_tokens == PROMPT_TOKENS else f"{layout}, {self.prompt_tokens:,} in"


ONE = ParallelPlan()
SLICED = ParallelPlan(tp=2)
TWO = ParallelPlan(tp=2, ep=True)
GROUPS = ParallelPlan(dp=2, ep=True)

LATEST = (
    Run(ONE, 1, 512, 234.3, fitted=True),
    Run(ONE, 4, 512, 143.8, fitted=True),
    Run(ONE, 8, 512, 97.9, fitted=True),
    Run(ONE, 32, 512, 47.3, 1468, fitted=True),
    Run(ONE, 128, 512, 29.3, 3528, fitted=True),
    Run(ONE, 512, 512, 20.8, 9155),
    Run(ONE, 1, 128, 311.9, eagle=True, fitted=True),
    Run(ONE, 4, 128, 162.5, eagle=True, fitted=True),
    Run(ONE, 8, 128, 114.7, eagle=True, fitted=True),
    Run(ONE, 32, 128, 77.9, 2359, eagle=True, fitted=True),
    Run(ONE, 128, 128, 51.8, 5772, eagle=True),
)
"""The two that are not fitted hold what a steady step has not: the prompts of the requests that come next
(both had twice as many requests as places), and at 128 with EAGLE a stall of 5 s that was not looked into."""

OVER_TWO = (
    Run(SLICED, 1, 512, 240.0, 234, fitted=True),
    Run(SLICED, 8, 512, 139.7, 1030, fitted=True),
    Run(SLICED, 32, 512, 74.8, 2236, fitted=True),
    Run(SLICED, 128, 512, 52.1, 5736, fitted=True),
    Run(SLICED, 512, 512, 36.5, 12638),
    Run(TWO, 1, 512, 216.7, 212, fitted=True),
    Run(TWO, 8, 512, 133.7, 920, fitted=True),
    Run(TWO, 32, 512, 73.7, 2208, fitted=True),
    Run(TWO, 128, 512, 50.0, 5476, fitted=True),
    Run(TWO, 512, 512, 36.7, 12918),
    Run(GROUPS, 1, 512, 180.1, 176, fitted=True),
    Run(GROUPS, 8, 512, 113.5, 735, fitted=True),
    Run(GROUPS, 32, 512, 66.5, 1973, fitted=True),
    Run(GROUPS, 128, 512, 46.8, 5259, fitted=True),
    Run(GROUPS, 512, 512, 34.4, 13188),
    Run(ONE, 4, 256, 145.0, 550),
    Run(ONE, 16, 256, 67.4, 1008),
    Run(ONE, 64, 256, 35.4, 2114),
    Run(ONE, 256, 256, 28.5, 5980),
)
"""At 512 a user's speed holds the prompts of those that come next, as above; so it was not fitted on.
The last four are two replicas beside each other, so each had half of the requests and of what they made."""

EARLIER = (
    Run(ONE, 1, 128, 193.5),
    Run(ONE, 8, 128, 101.0),
    Run(ONE, 32, 128, 47.6, 1458),
    Run(ONE, 128, 128, 28.3, 3270),
    Run(ONE, 1, 512, 215.5),
    Run(ONE, 4, 512, 118.1),
    Run(ONE, 128, 512, 28.4, 3281),
    Run(ONE, 512, 512, 26.1, 9257),
    Run(ONE, 1, None, 281.7, eagle=True),
    Run(ONE, 4, None, 102.9, eagle=True),
    Run(ONE, 8, None, 112.2, eagle=True),
    Run(ONE, 32, None, 76.6, 2280, eagle=True),
    Run(ONE, 128, None, 65.3, 6612, eagle=True),
    Run(TWO, 1, None, 215.0),
    Run(TWO, 8, None, 111.0),
    Run(TWO, 128, None, 42.1, 4578),
)

WIDE = (Run(ONE, 960, 960, 13.0, 9899),)
"""The whole system on 2026-11-29: CUDA graphs for steps of up to 960 tokens. Its cache was full at times."""

DRAFTING = (
    Run(ONE, 1, 512, 345.2, eagle=True, chunk_tokens=STEP_TOKENS),
    Run(ONE, 5, 512, 152.1, 719, eagle=True, chunk_tokens=STEP_TOKENS),
    Run(ONE, 8, 512, 119.2, 907, eagle=True, chunk_tokens=STEP_TOKENS),
    Run(ONE, 128, 512, 61.4, 6912, eagle=True, chunk_tokens=STEP_TOKENS),
    Run(ONE, 512, 512, 30.4, 13120, eagle=True, chunk_tokens=STEP_TOKENS),
)
"""The whole system on 2026-11-29: CUDA graphs for every step, tuned expert kernels, drafts chosen in FP8."""

FEWER_PLACES = (
    Run(ONE, 1, 128, 337.2, eagle=True, chunk_tokens=STEP_TOKENS),
    Run(ONE, 4, 128, 166.0, eagle=True, chunk_tokens=STEP_TOKENS),
    Run(ONE, 8, 128, 119.4, eagle=True, chunk_tokens=STEP_TOKENS),
    Run(ONE, 32, 128, 78.8, 2333, eagle=True, chunk_tokens=STEP_TOKENS),
    Run(ONE, 128, 128, 60.8, 6127, eagle=True, chunk_tokens=STEP_TOKENS),
)
"""The same with the latency pool's places, on another machine."""

LONG = (
    Run(ONE, 1, 128, 228.2, prompt_tokens=4096),
    Run(ONE, 8, 128, 95.7, prompt_tokens=4096),
    Run(ONE, 32, 128, 45.5, prompt_tokens=4096),
    Run(ONE, 128, 128, 28.2, prompt_tokens=4096),
    Run(ONE, 1, 16, 191.2, prompt_tokens=32_768),
    Run(ONE, 1, 960, 125.5, prompt_tokens=131_072),
    Run(ONE, 1, 512, 115.2, eagle=True, chunk_tokens=STEP_TOKENS, prompt_tokens=131_072, context_splits=8),
)
"""Engines alone on 2026-11-28, and over HTTP on 2026-11-29. What one part of a context takes was fitted on
kernels of 65,536 tokens and on the two long ones without a head; those with a few thousand were kept out."""

RUNS = (*LATEST, *DRAFTING, *FEWER_PLACES, *WIDE, *OVER_TWO, *LONG, *EARLIER)


def predicted(run: Run, efficiency: Efficiency = FITTED) -> Speed:
    """What the cost model says of a run's setting."""
    engine = Engine(
        H200,
        MISTRAL_SMALL_4,
        WeightFormat.FP8,
        run.plan,
        context_splits=run.context_splits,
        efficiency=efficiency,
    )
    load = Load(run.concurrency, run.prompt_tokens, ANSWER_TOKENS, run.chunk_tokens)
    return speed(engine, load, Speculation() if run.eagle else None)


def comparison() -> str:
    """A Markdown table of every run: measured, predicted, and by how much the prediction is off."""
    lines = [
        "| layout | requests | tok/s a user | predicted | off | tok/s in all | predicted | off | fitted |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---|",
    ]
    for run in RUNS:
        said = predicted(run)
        cells = [
            run.name,
            str(run.concurrency),
            *_cells(run.user_tokens_per_s, said.user_tokens_per_s, 1),
            *_cells(run.total_tokens_per_s, said.total_tokens_per_s, 0),
            "yes" if run.fitted else "",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _cells(measured: float | None, said: float, digits: int) -> tuple[str, str, str]:
    if measured is None:
        return "-", "-", "-"
    return f"{measured:.{digits}f}", f"{said:.{digits}f}", f"{said / measured - 1:+.0%}"
