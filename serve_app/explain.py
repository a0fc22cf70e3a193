"""Where would a request go, and why? What `python -m serve_app explain` prints; nothing is sent."""

import json
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from datetime import date
from pathlib import Path
from random import Random
from typing import Any

from pydantic import TypeAdapter, ValidationError

from serve_app.config import Settings, problem_lines
from serve_app.engine.fit import fit
from serve_app.engine.traits import step_tables, traits
from serve_app.errors import ApiError, ConfigError
from serve_app.ingress import body as request_body
from serve_app.ingress import defaults, parts, reading
from serve_app.ingress.dialects import DIALECTS
from serve_app.router import explanation, features
from serve_app.router.explanation import Explanation, ReplicaVerdict
from serve_app.router.policy import Policy
from serve_app.router.scorers import SCORERS
from serve_app.types import PoolSnapshot, ReplicaReport, ReplicaSnapshot, RequestFeatures

ROUTES = tuple(dialect.path for dialect in DIALECTS)
LEASED = ("num_leased", "leased_tokens")
REPORTED = tuple(field.name for field in fields(ReplicaReport))
REPORTS = TypeAdapter(ReplicaReport)


def explained(settings: Settings, route: str, request: Path, snapshots: Path | None) -> Explanation:
    """Return why the request in a file, as a body for `route`, would go where it would.

    `snapshots`: a JSON file of each pool's replicas, see `read_snapshots`; else every pool has its replicas,
    and all are idle. Raises ConfigError for a file that cannot be read, for a body that is refused, and for
    a pool that cannot run.
    """
    if route not in ROUTES:
        raise ConfigError([f"--route: must be one of {', '.join(ROUTES)}, not {route!r}"])
    try:
        wanted = request_features(settings, route, _bytes(request))
    except ApiError as error:
        raise ConfigError([f"{request}: {error.message}"]) from None
    for name in settings.engine_pools:
        fit(settings, name)
    pools = read_snapshots(settings, snapshots) if snapshots else idle(settings)
    policy = Policy(settings.router.rules(), step_tables(settings), Random(0))
    return explanation.explain(policy, wanted, pools, 0.0)


def request_features(settings: Settings, route: str, body: bytes) -> RequestFeatures:
    """Return what the ingress would tell the policy of a body. Raises ApiError as the ingress would."""
    parsed = request_body.parse(body)
    dialect = next(d for d in DIALECTS if d.path == route)
    dialect, applied, said = reading.understood(dialect, parsed, None, settings.ingress, settings.model)
    images = parts.find(said)
    completed = defaults.completed(dialect, said, applied, settings.model, date.today())
    return features.of_request(completed, applied, num_images=len(images), route=route)


def idle(settings: Settings) -> list[PoolSnapshot]:
    """Return every pool with as many replicas as it starts with, which have nothing to do."""
    pools = []
    for name, pool in settings.pools.items():
        number = pool.autoscaling.min_replicas if pool.autoscaling else pool.replicas or 1
        most = pool.speculation.max_draft_tokens if pool.speculation else 0
        reports = (ReplicaReport(f"{name}-{i + 1}", draft_tokens=most) for i in range(number))
        pools.append(replace(traits(settings, name), replicas=tuple(map(ReplicaSnapshot, reports))))
    return pools


def read_snapshots(settings: Settings, path: Path) -> list[PoolSnapshot]:
    """Read `{pool: [{"replica": ..., "age_s": ..., ...}]}`: fields of a report, and what was leased since.

    What is left out has its default. Raises ConfigError naming what is wrong.
    """
    try:
        tree = json.loads(_bytes(path))
    except ValueError as error:
        raise ConfigError([f"{path}: not JSON: {error}"]) from None
    if not isinstance(tree, dict) or not all(isinstance(rows, list) for rows in tree.values()):
        raise ConfigError([f"{path}: must be an object of lists of replicas, by pool"])
    if unknown := [name for name in tree if name not in settings.pools]:
        there = ", ".join(settings.pools)
        raise ConfigError([f"{path}: no pool {name!r}; there are {there}" for name in unknown])
    return [
        replace(
            traits(settings, name), replicas=tuple(_snapshot(path, name, row) for row in tree.get(name, ()))
        )
        for name in settings.pools
    ]


def _snapshot(path: Path, pool: str, row: Any) -> ReplicaSnapshot:
    known = {*REPORTED, *LEASED, "age_s"}
    if not isinstance(row, dict) or "replica" not in row or not row.keys() <= known:
        allowed = ", ".join(sorted(known))
        raise ConfigError([f"{path}: {pool}: must have 'replica' and may have {allowed}, not {row!r}"])
    leased = {name: row[name] for name in LEASED if name in row}
    for name, value in {**leased, "age_s": row.get("age_s", 0.0)}.items():
        if type(value) not in (int, float):
            raise ConfigError([f"{path}: {pool}: {name}={value!r} must be a number"])
    try:
        said = {name: row[name] for name in REPORTED if name in row}
        report = REPORTS.validate_json(json.dumps(said), strict=True)
    except ValidationError as error:
        lines = [line for one in error.errors() for line in problem_lines(one)]
        raise ConfigError([f"{path}: {pool}: {line}" for line in lines]) from None
    return ReplicaSnapshot(report, -row.get("age_s", 0.0), **leased)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError([f"{path}: {error.strerror}"]) from None


def as_json(explained: Explanation) -> str:
    """Return it for programs."""
    tree: dict[str, Any] = asdict(explained)
    for replica, row in zip(explained.replicas, tree["replicas"], strict=True):
        row["predicted"] = replica.predicted._asdict() if replica.predicted else None
    if explained.decision and explained.decision.predicted:
        tree["decision"]["predicted"] = explained.decision.predicted._asdict()
    tree["features"]["blocks"] = [block.num_tokens for block in explained.features.blocks]
    return json.dumps(tree, indent=1)


def as_text(explained: Explanation) -> str:
    """Return it for people: the request, the pools, a table of the replicas, the decision."""
    wanted = explained.features
    shapes = ", ".join(sorted(wanted.shapes)) or "text"
    limit = f"at most {wanted.max_tokens}" if wanted.max_tokens is not None else "any number of"
    lines = [
        f"request   effort {wanted.effort}; about {wanted.prompt_tokens} tokens of prompt, "
        f"{limit} of answer; {shapes}",
        *(f"pool      {pool.pool}: {pool.verdict}" for pool in explained.pools),
        "",
        *_table([_HEADER, *map(_row, explained.replicas)]),
        "",
    ]
    if explained.decision:
        decision = explained.decision
        if decision.waits:
            lines.append(f"waits     for a place in pool {decision.pool}, all are taken: {decision.reason}")
        else:
            lines.append(f"decision  {decision.pool}, {decision.replica}: {decision.reason}")
    else:
        lines.append(f"refused   {explained.refusal}")
    return "\n".join(lines)


TIMES = ("wait", "first token", "a token", "in all")
_HEADER = ("replica", "dropped by", *(f"{name} (s)" for name in TIMES), *SCORERS, "score")


def _row(one: ReplicaVerdict) -> tuple[str, ...]:
    name = f"{one.pool}/{one.replica}"
    if one.predicted is None or one.scores is None or one.score is None:
        return name, one.dropped_by or "-", *["-"] * (len(_HEADER) - 2)
    times = (f"{seconds:.3f}" for seconds in one.predicted)
    return name, "-", *times, *(f"{one.scores[scorer]:.2f}" for scorer in SCORERS), f"{one.score:.3f}"


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
