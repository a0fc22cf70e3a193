"""What do the measured blocks say, variant by variant?

A block is one closed loop against one server. Beside each variant the fixed server of vLLM is measured in
turn, in blocks of the same prompts: machines drift, so only figures of one round are compared.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, median

from tests.bench.cpu import GROUPS
from tests.bench.load import percentile

FIXED = "vllm-fixed"
"""vLLM's own server with all fixes: what every variant is compared with."""

GOAL_CONCURRENCY = 8
GOAL_TTFT_MS = 5.0
GOAL_RATE = 0.95

COLUMNS = (*GROUPS, "client", "others")
"""Whose processor time a block knows: the server's groups, the load itself, and who else used the machine."""


@dataclass(frozen=True)
class Block:
    """The raw figures of one closed loop."""

    variant: str
    """Whose turn it was."""
    system: str
    """Which server answered: the variant, or FIXED beside it."""
    concurrency: int
    round: int
    ttft_ms: tuple[float, ...]
    gap_p50_ms: float
    requests_per_s: float
    cpu_ms: dict[str, float]
    """Processor milliseconds a request, by COLUMNS; a group that the server does not have is left out."""


@dataclass(frozen=True)
class Row:
    """One line of the table: a server at one concurrency."""

    system: str
    concurrency: int
    ttft_p50_ms: float
    ttft_p99_ms: float
    gap_p50_ms: float
    requests_per_s: float
    cpu_ms: dict[str, float]
    ttft_more_ms: float | None
    """How much longer than FIXED's the p50 is: the median over the rounds' differences; None for FIXED."""
    rate: float | None
    """Requests per second as a fraction of FIXED's: the median over the rounds' ratios; None for FIXED."""

    @property
    def meets_goal(self) -> bool:
        """Whether it is near enough to FIXED."""
        assert self.ttft_more_ms is not None
        assert self.rate is not None
        return self.ttft_more_ms <= GOAL_TTFT_MS and self.rate >= GOAL_RATE


def summarise(blocks: Sequence[Block]) -> list[Row]:
    """Return a row for each server and concurrency, FIXED first, then in the order they were measured."""
    systems = list(dict.fromkeys([FIXED, *(block.variant for block in blocks)]))
    levels = sorted({block.concurrency for block in blocks})
    return [
        _row(system, level, blocks)
        for system in systems
        for level in levels
        if any(block.system == system and block.concurrency == level for block in blocks)
    ]


def _row(system: str, concurrency: int, blocks: Iterable[Block]) -> Row:
    level = [block for block in blocks if block.concurrency == concurrency]
    own = [block for block in level if block.system == system]
    beside = {block.round: block for block in level if block.variant == system and block.system == FIXED}
    pairs = [(block, beside[block.round]) for block in own if system != FIXED]
    ttft_ms = [ms for block in own for ms in block.ttft_ms]
    return Row(
        system,
        concurrency,
        percentile(ttft_ms, 50),
        percentile(ttft_ms, 99),
        median(block.gap_p50_ms for block in own),
        median(block.requests_per_s for block in own),
        {name: fmean(b.cpu_ms[name] for b in own) for name in COLUMNS if all(name in b.cpu_ms for b in own)},
        median(percentile(a.ttft_ms, 50) - percentile(b.ttft_ms, 50) for a, b in pairs) if pairs else None,
        median(a.requests_per_s / b.requests_per_s for a, b in pairs) if pairs else None,
    )


HEADINGS = ("server", "clients", "TTFT p50", "p99", "gap p50", "req/s", "TTFT +", "req/s of", *COLUMNS)


def table(rows: Iterable[Row]) -> str:
    """Return the rows as Markdown whose columns also line up as plain text. Times in ms."""
    lines = [HEADINGS, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]

    def line(cells: Sequence[str]) -> str:
        padded = [c.rjust(w) if i else c.ljust(w) for i, (c, w) in enumerate(zip(cells, widths, strict=True))]
        return f"| {' | '.join(padded)} |"

    rule = ["-" * width if i == 0 else "-" * (width - 1) + ":" for i, width in enumerate(widths)]
    return "\n".join([line(HEADINGS), line(rule), *(line(cells) for cells in lines[1:])])


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row.system,
        str(row.concurrency),
        f"{row.ttft_p50_ms:.1f}",
        f"{row.ttft_p99_ms:.1f}",
        f"{row.gap_p50_ms:.1f}",
        f"{row.requests_per_s:.1f}",
        "" if row.ttft_more_ms is None else f"{row.ttft_more_ms:+.1f}",
        "" if row.rate is None else f"{row.rate:.0%}",
        *(f"{row.cpu_ms[name]:.1f}" if name in row.cpu_ms else "" for name in COLUMNS),
    )


def verdicts(rows: Iterable[Row]) -> list[str]:
    """Return a line for each variant: whether it meets the goal at GOAL_CONCURRENCY."""
    return [
        f"{row.system}: {'meets' if row.meets_goal else 'misses'} the goal at {row.concurrency} clients: "
        f"TTFT {row.ttft_more_ms:+.1f} ms (at most +{GOAL_TTFT_MS:g}), "
        f"{row.rate:.1%} of the requests/s (at least {GOAL_RATE:.0%})"
        for row in rows
        if row.concurrency == GOAL_CONCURRENCY and row.rate is not None
    ]
