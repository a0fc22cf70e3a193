"""`python -m deploy.monitoring`: write the dashboards and the README's table of metrics anew."""

import json
import re
from pathlib import Path
from typing import Any

from deploy.monitoring.experts import EXPERTS
from deploy.monitoring.panels import Dashboard, Panel
from deploy.monitoring.pools import POOLS
from deploy.monitoring.router import ROUTER
from serve_app.metrics import table

HERE = Path(__file__).parent
TABLE = re.compile(r"(?<=<!-- metrics -->\n).*(?=\n<!-- /metrics -->)", re.DOTALL)
DASHBOARDS = (ROUTER, POOLS, EXPERTS)
WIDTH, HEIGHT = 24, 8
SOURCE = {"type": "prometheus", "uid": "${datasource}"}


def files() -> dict[Path, str]:
    """Return every generated file with its text."""
    readme = HERE / "README.md"
    texts = {readme: TABLE.sub(lambda _: table(), readme.read_text())}
    for dashboard in DASHBOARDS:
        path = HERE / "dashboards" / f"{dashboard.uid.removeprefix('venturi-')}.json"
        texts[path] = json.dumps(as_json(dashboard), indent=1) + "\n"
    return texts


def as_json(dashboard: Dashboard) -> dict[str, Any]:
    """Return a dashboard as Grafana reads it."""
    panels: list[dict[str, Any]] = []
    for y, row in enumerate(dashboard.rows):
        width = WIDTH // len(row)
        for x, panel in enumerate(row):
            place = {"x": x * width, "y": y * HEIGHT, "w": width, "h": HEIGHT}
            panels.append({"id": len(panels) + 1, "gridPos": place} | _panel(panel))
    return {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "tags": ["venturi"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "links": [{"type": "dashboards", "tags": ["venturi"], "title": "Venturi", "asDropdown": False}],
        "templating": {"list": [_source_variable(), _pool_variable()]},
        "panels": panels,
    }


def _panel(panel: Panel) -> dict[str, Any]:
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.what,
        "datasource": SOURCE,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + number), "datasource": SOURCE, "expr": query, "legendFormat": legend}
            for number, (query, legend) in enumerate(panel.queries)
        ],
    }


def _source_variable() -> dict[str, Any]:
    return {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"}


def _pool_variable() -> dict[str, Any]:
    return {
        "name": "pool",
        "label": "Pool",
        "type": "query",
        "datasource": SOURCE,
        "query": "label_values(venturi_replicas, pool)",
        "refresh": 2,
        "includeAll": True,
        "allValue": ".*",
        "multi": True,
        "current": {"text": "All", "value": "$__all"},
    }


def main() -> None:
    """Write what has changed."""
    for path, text in files().items():
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
            print(path.relative_to(HERE))


if __name__ == "__main__":
    main()
