"""Are the committed files what the code says, and do dashboards and alerts ask for what there is?"""

import json
from typing import Any

import pytest

from deploy.monitoring.__main__ import DASHBOARDS, HERE, WIDTH, as_json, files
from deploy.monitoring.panels import Dashboard
from serve_app.metrics import documented
from tests.deploy.monitoring.queries import asked, exported, queries, rules


def test_the_committed_files() -> None:
    """`python -m deploy.monitoring` has nothing to write, and no dashboard is there that it does not know."""
    found = files()
    stale = [path.name for path, text in found.items() if path.read_text() != text]
    assert not stale, f"run python -m deploy.monitoring: {stale}"
    assert set((HERE / "dashboards").iterdir()) == {path for path in found if path.suffix == ".json"}


@pytest.mark.parametrize(("where", "query"), list(queries()))
def test_queries_name_what_there_is(where: str, query: str) -> None:
    """A metric of ours is documented; a recorded ratio is recorded."""
    assert asked(query, "venturi_") <= exported(), where
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    for prefix in ("venturi:", "pool:", "effort_target:"):
        assert asked(query, prefix) <= recorded, where
    assert asked(query, "(?:venturi|vllm:|ray_|up)"), f"{where} asks for nothing"


def test_every_metric_is_shown() -> None:
    """What is worth exporting is worth a place on a dashboard."""
    shown = {name for _, query in queries() for name in asked(query, "venturi_")}
    for metric in documented():
        assert shown & {metric.name, f"{metric.name}_bucket"}, f"{metric.name} is on no dashboard"


def test_a_name_that_does_not_exist_is_found() -> None:
    """Labels and their values are not taken for metrics."""
    assert asked('sum by (pool) (rate(venturi_nothing{pool="venturi_x"}[5m]))', "venturi_") == {
        "venturi_nothing"
    }
    assert "venturi_nothing" not in exported()


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda dashboard: dashboard.uid)
def test_dashboards(dashboard: Dashboard) -> None:
    """Panels fill their rows without lying on each other; each has a title of its own."""
    panels: list[dict[str, Any]] = json.loads(json.dumps(as_json(dashboard)))["panels"]
    assert len({panel["title"] for panel in panels}) == len(panels)
    cells = [(p["gridPos"]["y"], x) for p in panels for x in range(p["gridPos"]["x"], _right(p))]
    assert len(set(cells)) == len(cells) == WIDTH * len(dashboard.rows)


def _right(panel: dict[str, Any]) -> int:
    place: dict[str, int] = panel["gridPos"]
    return place["x"] + place["w"]
