"""Does the comparison of two pools with one compare what it says?"""

from pathlib import Path

from tests.bench.split import LEVELS, PER_TOKEN_S, SHARES, best, chart, play, points, pools_by_name, table


def test_every_cluster_has_the_same_gpus() -> None:
    """Three ways to be one pool, and two kinds of every division."""
    clusters = pools_by_name(4)
    assert len(clusters) == 3 + 2 * 3
    for pools in clusters.values():
        assert sum(pool["replicas"] for pool in pools.values()) == 4


def test_requests_of_a_level_are_the_same_tokens() -> None:
    """A mix with more at high has longer answers, and so fewer requests."""
    rates = [p.rate_per_s for p in points(4) if p.level == LEVELS[0] and p.targets == "strict"]
    assert rates == sorted(rates, reverse=True)
    assert len(points(4)) == len(PER_TOKEN_S) * len(LEVELS) * len(SHARES)


def test_each_side_is_shown_at_its_best(tmp_path: Path) -> None:
    """In table and chart, from goodputs that were simulated."""
    point = points(2)[0]
    pools = pools_by_name(2)
    summary = play(point, pools["1 plain + 1 latency"], 3)
    assert summary.num_requests > 0
    goodputs = {name: float(i) for i, name in enumerate(pools)}
    assert best(goodputs, split=False) == 2
    assert best(goodputs, split=True) == 4
    rows = [
        vars(one) | {"asked_per_s": 4.0, "goodput_per_s": goodputs, "chosen": "all plain"}
        for one in points(2)
    ]
    assert "| 12.5 ms | 10% | 5% | 50% | 100% | 2.00 | all plain |" in table(rows)
    chart(rows, tmp_path / "chart.svg")
    assert (tmp_path / "chart.svg").stat().st_size > 1000
