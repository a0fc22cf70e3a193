"""Do the figures of one round meet each other, and only each other?"""

import pytest

from tests.bench.figures import FIXED, Block, summarise, table, verdicts


def block(variant: str, system: str, number: int, ttft_ms: float, rate: float) -> Block:
    """A block at 8 clients whose requests all had the same time to first token."""
    cpu_ms = {"engine": 5.0, "client": 1.0, "others": 0.0} | ({"ingress": 2.0} if system != FIXED else {})
    return Block(variant, system, 8, number, (ttft_ms,) * 3, 4.0, rate, cpu_ms)


BLOCKS = [
    block("ours", "ours", 0, 14.0, 90.0),
    block("ours", FIXED, 0, 10.0, 100.0),
    block("ours", "ours", 1, 26.0, 49.0),  # the machine has slowed down for both
    block("ours", FIXED, 1, 20.0, 50.0),
    block("ours", "ours", 2, 13.0, 99.0),
    block("ours", FIXED, 2, 10.0, 100.0),
]


def test_rounds_are_paired() -> None:
    """Differences and ratios are taken within a round, then their median."""
    fixed, ours = summarise(BLOCKS)
    assert (fixed.system, fixed.ttft_more_ms, fixed.rate) == (FIXED, None, None)
    assert ours.ttft_more_ms == 4.0
    assert ours.rate == pytest.approx(0.98)
    assert ours.meets_goal
    assert ours.cpu_ms == {"engine": 5.0, "ingress": 2.0, "client": 1.0, "others": 0.0}


def test_other_variants_are_not_mixed_in() -> None:
    """A variant is compared with the blocks beside it; those of all periods describe FIXED itself."""
    blocks = [*BLOCKS, block("other", "other", 0, 5.0, 10.0), block("other", FIXED, 0, 1.0, 200.0)]
    fixed, ours, other = summarise(blocks)
    assert ours.rate == pytest.approx(0.98)
    assert other.rate == pytest.approx(0.05)
    assert not other.meets_goal
    assert fixed.ttft_p99_ms == pytest.approx(20.0)
    assert fixed.requests_per_s == 100.0


def test_table_lines_up() -> None:
    """Every line of the table is as long as the others, and a column that a server lacks is empty."""
    lines = table(summarise(BLOCKS)).splitlines()
    assert len(lines) == 4
    assert len({len(line) for line in lines}) == 1
    assert "98%" in lines[3]


def test_verdicts() -> None:
    """One line for each variant, none for FIXED."""
    assert [line.split(" the goal")[0] for line in verdicts(summarise(BLOCKS))] == ["ours: meets"]
