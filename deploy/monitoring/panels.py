"""What is a dashboard made of, and how are queries written that hold for any number of replicas?"""

from dataclasses import dataclass

POOL = '{pool=~"$pool"}'


@dataclass(frozen=True)
class Panel:
    """One graph: (query, legend) pairs, and what its values are in Grafana's names of units."""

    title: str
    queries: tuple[tuple[str, str], ...]
    unit: str = "short"
    what: str = ""
    kind: str = "timeseries"


@dataclass(frozen=True)
class Dashboard:
    """Rows of panels; those of one row share its width."""

    uid: str
    title: str
    rows: tuple[tuple[Panel, ...], ...]


def rate(metric: str, by: str, where: str = 'pool=~"$pool"') -> str:
    """Return the query for a counter's rate, over all replicas."""
    return f"sum by ({by}) (rate({metric}{{{where}}}[$__rate_interval]))"


def quantiles(metric: str, by: str, where: str = 'pool=~"$pool"') -> tuple[tuple[str, str], ...]:
    """Return the queries for the median and the 99th percentile of a histogram, over all replicas."""
    legend = " ".join(f"{{{{{label}}}}}" for label in by.split(", "))
    return tuple(
        (f"histogram_quantile({q}, {rate(f'{metric}_bucket', f'le, {by}', where)})", f"p{q * 100:g} {legend}")
        for q in (0.5, 0.99)
    )
