"""Which metrics do our dashboards and alerts ask for?"""

import re
from collections.abc import Iterator
from typing import Any

import yaml

from deploy.monitoring.__main__ import DASHBOARDS, HERE
from serve_app.metrics import documented

STRING = re.compile(r'"[^"]*"')


def rules() -> list[dict[str, Any]]:
    """Return every rule."""
    groups = yaml.safe_load((HERE / "rules.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def queries() -> Iterator[tuple[str, str]]:
    """Yield (where, query) of every panel and rule."""
    for dashboard in DASHBOARDS:
        for row in dashboard.rows:
            for panel in row:
                yield from ((f"{dashboard.title}, {panel.title}", query) for query, _ in panel.queries)
    yield from ((rule.get("alert") or rule["record"], rule["expr"]) for rule in rules())


def asked(query: str, prefix: str) -> set[str]:
    """Return the series of a query whose names begin with `prefix`."""
    bare = STRING.sub('""', query)
    return set(re.findall(rf"(?<![\w:]){prefix}[\w:]*", bare))


def exported() -> set[str]:
    """Return the names of all our series as a scrape has them."""
    names = set()
    for metric in documented():
        ends = ("_bucket", "_sum", "_count") if metric.kind == "histogram" else ("",)
        names |= {metric.name + end for end in ends}
    return names
