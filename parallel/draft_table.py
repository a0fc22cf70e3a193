"""How many draft tokens are best at which batch, on given GPUs and for given acceptance?

The same arithmetic as in a running engine, with the cost model's step times in place of measured ones.
"""

from collections.abc import Sequence

from parallel.cost import Engine
from parallel.speculation import gains, predicted_times
from parallel.speed import usual_head


def draft_table(
    engine: Engine, survival: Sequence[float], *, max_sequences: int = 512, context_tokens: float = 2048
) -> list[list[float]]:
    """By batches of 1, 2, 4, ... sequences, and by k: tokens a second over those at k = 0.

    `survival` [K], by position: the share of drafts accepted up to there. ValueError if it rises, or is not
    between 0 and 1, and for less than one sequence or token.
    """
    for name, value in (("max_sequences", max_sequences), ("context_tokens", context_tokens)):
        if value < 1:
            raise ValueError(f"{name}={value:g} must be at least 1")
    if not survival:
        raise ValueError("acceptance= must not be empty")
    if list(survival) != sorted(survival, reverse=True):
        raise ValueError(f"acceptance={_listed(survival)} must not rise from one position to the next")
    if not 0 <= survival[-1] <= survival[0] <= 1:
        raise ValueError(f"acceptance={_listed(survival)} must be from 0 to 1")
    rows = predicted_times(
        engine,
        usual_head(engine.shape),
        max_sequences=max_sequences,
        context_tokens=context_tokens,
        max_draft_tokens=len(survival),
        drafts_all=engine.plan.dp > 1,
    )
    return [gains(survival, row) for row in rows]


def text(engine: Engine, survival: Sequence[float], table: Sequence[Sequence[float]]) -> str:
    """The table for people."""
    lines = [
        f"{engine.gpu.name}, {engine.plan}, {engine.weight_format.value}; drafts accepted up to position "
        f"1, 2, ...: {_listed(survival)}",
        "tokens a second over those at k = 0, predicted; the head proposes "
        + ("its most tokens at any k" if engine.plan.dp > 1 else "k"),
        "sequences  " + "  ".join(f"k = {k}" for k in range(len(survival) + 1)) + "  best k",
    ]
    for row, worth in enumerate(table):
        values = "  ".join(f"{gain:5.2f}" for gain in worth)
        lines.append(f"{2**row:9}  {values}  {worth.index(max(worth)):6}")
    return "\n".join(lines)


def _listed(survival: Sequence[float]) -> str:
    return ",".join(f"{share:g}" for share in survival)
