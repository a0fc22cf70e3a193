"""What does the simulator say of the measured runs, and of the cost model's own closed form?

Each run as a closed loop of one wave: all users ask at once, once.
The table is that of serve_app/simulator/README.md.
"""

from functools import cache
from pathlib import Path

import pytest

from parallel.cost import MODEL_ERROR
from parallel.measured import ANSWER_TOKENS, DRAFTING, LONG, RUNS, WIDE, Run, predicted
from serve_app.simulator.cluster import simulate
from serve_app.simulator.outcome import times_of
from serve_app.simulator.scenario import parse

PAGE = Path(__file__).parents[3] / "serve_app" / "simulator" / "README.md"

CROWDED = DRAFTING[-1]
"""Most of its steps' tokens are drafts while the last prompts are read."""
READING = LONG[3]
"""Its 128 prompts of 4,096 tokens take as long to read as its answers to write."""


@cache
def replayed(run: Run) -> tuple[float, float]:
    """Tokens a second of a user and of all."""
    pool = {
        "efforts": ["none", "high"],
        "max_num_seqs": run.max_num_seqs or 512,
        "max_num_batched_tokens": run.chunk_tokens,
        "context_splits": run.context_splits,
        "plan": {"tp": run.plan.tp, "dp": run.plan.dp, "ep": run.plan.ep},
    }
    if run.eagle:
        pool["speculation"] = {"acceptance": [0.75, 0.5, 0.35]}
    lengths = {"prompt": {"median": run.prompt_tokens}, "answer": {"median": ANSWER_TOKENS}}
    result = simulate(
        parse(
            {
                "arrivals": {
                    "kind": "closed",
                    "concurrency": run.concurrency,
                    "num_requests": run.concurrency,
                },
                "efforts": {"none": {"share": 1, **lengths}, "high": {"share": 0}},
                "pools": {"one": pool},
            }
        )
    )
    users = [1 / times_of(record)[1] for record in result.records]
    return sum(users) / len(users), run.concurrency * ANSWER_TOKENS / result.end_s


def table() -> str:
    """Measured beside simulated, as Markdown."""
    lines = [
        "| layout | requests | tok/s a user | simulated | off | tok/s in all | simulated | off |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for run in RUNS:
        user, total = replayed(run)
        cells = [run.name, str(run.concurrency), f"{run.user_tokens_per_s}", f"{user:.1f}"]
        cells.append(f"{user / run.user_tokens_per_s - 1:+.0%}")
        if run.total_tokens_per_s is None:
            cells += ["-"] * 3
        else:
            cells += [
                f"{run.total_tokens_per_s}",
                f"{total:.0f}",
                f"{total / run.total_tokens_per_s - 1:+.0%}",
            ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


@pytest.mark.parametrize(
    "run",
    [run for run in RUNS if run not in (*WIDE, CROWDED, READING)],
    ids=lambda run: f"{run.name} at {run.concurrency}",
)
def test_a_wave_has_the_speed_of_the_closed_form(run: Run) -> None:
    """`speed` knows the sum of steps, the simulator makes them: in all within 3 %, where the cache has room.

    A user within 2 % where it is alone, or all prompts fit into one step; beyond that the first users decode
    beside the prompts of the others, which the closed form leaves out.
    """
    user, total = replayed(run)
    said = predicted(run)
    assert total == pytest.approx(said.total_tokens_per_s, rel=0.03)
    if run.concurrency == 1 or run.concurrency * run.prompt_tokens <= run.chunk_tokens:
        assert user == pytest.approx(said.user_tokens_per_s, rel=0.02)
    else:
        least = 0.75 if run.plan.world_size > 1 else 0.8  # prompts are what two GPUs gain least at
        assert least * said.user_tokens_per_s < user < said.user_tokens_per_s


def test_long_prompts_hold_up_the_first_users() -> None:
    """The more so the longer they are read; in all it takes as long as the closed form says."""
    user, total = replayed(READING)
    said = predicted(READING)
    assert total == pytest.approx(said.total_tokens_per_s, rel=0.03)
    assert 0.7 * said.user_tokens_per_s < user < 0.8 * said.user_tokens_per_s


@pytest.mark.parametrize("run", WIDE)
def test_a_full_cache_is_what_the_closed_form_leaves_out(run: Run) -> None:
    """The simulator counts the cache's blocks: it comes nearer to what was measured."""
    measured = run.total_tokens_per_s
    assert measured is not None
    assert predicted(run).total_tokens_per_s > 1.25 * measured
    assert replayed(run)[1] == pytest.approx(measured, rel=0.1)


def test_drafts_take_the_room_of_prompts() -> None:
    """In small steps; the closed form lets prompts have whole ones, so it is ahead, and both are near."""
    measured, said = CROWDED.total_tokens_per_s, predicted(CROWDED).total_tokens_per_s
    assert measured is not None
    assert said == pytest.approx(measured, rel=0.03)
    assert 0.9 * said < replayed(CROWDED)[1] < said
    assert replayed(CROWDED)[1] == pytest.approx(measured, rel=0.1)


@pytest.mark.parametrize(
    "run", [run for run in RUNS if run.fitted], ids=lambda run: f"{run.name} at {run.concurrency}"
)
def test_measured_runs_are_within_the_bound(run: Run) -> None:
    """10 %, where the cost model was fitted, and a little more over two GPUs."""
    user, total = replayed(run)
    bound = MODEL_ERROR if run.plan.world_size == 1 else 0.13
    assert user == pytest.approx(run.user_tokens_per_s, rel=bound)
    if run.total_tokens_per_s is not None:
        assert total == pytest.approx(run.total_tokens_per_s, rel=bound)


def test_the_documented_table_is_this_one() -> None:
    """The page shows what the code says today."""
    print(table())
    assert table() in PAGE.read_text()
