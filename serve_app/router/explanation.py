"""Why would a request go where it would go? Every filter, prediction and score, by the policy's own parts."""

from collections.abc import Collection
from dataclasses import dataclass

from serve_app.errors import ApiError, InvalidRequest
from serve_app.router.case import Case, Homes
from serve_app.router.filters import floored, lacks, places, speculation_refused, too_long, unavailable
from serve_app.router.policy import Policy
from serve_app.router.scorers import SCORERS, score, weighed
from serve_app.rules import Rules
from serve_app.types import Decision, PoolSnapshot, Prediction, RequestFeatures


@dataclass(frozen=True)
class PoolVerdict:
    """One pool: home, away, or what refuses it."""

    pool: str
    verdict: str


@dataclass(frozen=True)
class ReplicaVerdict:
    """One replica: the filter that drops it, or what the request would see there and how that scores."""

    pool: str
    replica: str
    dropped_by: str | None
    predicted: Prediction | None = None
    scores: dict[str, float] | None = None
    """By scorer."""
    score: float | None = None
    """Their weighted mean."""


@dataclass(frozen=True)
class Explanation:
    """Everything that decides about one request."""

    features: RequestFeatures
    pools: tuple[PoolVerdict, ...]
    replicas: tuple[ReplicaVerdict, ...]
    decision: Decision | None
    refusal: str | None
    """What the client is told where there is no decision."""


def explain(
    policy: Policy,
    features: RequestFeatures,
    pools: Collection[PoolSnapshot],
    now_s: float,
    tried: Collection[str] = (),
) -> Explanation:
    """Explain the next decision, and take it: the policy remembers it as any other."""
    try:
        homes = policy.homes(features, pools)
    except InvalidRequest as error:
        verdicts = tuple(PoolVerdict(p.name, _refusal(p, features, policy.rules) or "-") for p in pools)
        return Explanation(features, verdicts, (), None, error.message)
    verdicts = tuple(PoolVerdict(pool.name, _verdict(pool, homes, features, policy.rules)) for pool in pools)
    case = policy.case(features, now_s, tried)
    replicas = (
        *_replicas(policy, case, homes.home, guest=False),
        *_replicas(policy, case, homes.away, guest=True),
    )
    try:
        decision = policy.decide(features, pools, now_s, tried)
    except ApiError as error:
        return Explanation(features, verdicts, replicas, None, error.message)
    return Explanation(features, verdicts, replicas, decision, None)


def _verdict(pool: PoolSnapshot, homes: Homes, features: RequestFeatures, rules: Rules) -> str:
    if pool in homes.home:
        return "home"
    return "away" if pool in homes.away else _refusal(pool, features, rules) or "-"


def _refusal(pool: PoolSnapshot, features: RequestFeatures, rules: Rules) -> str | None:
    if lacking := lacks(pool, features):
        return f"refused: {lacking}"
    if refused := speculation_refused(pool, features, rules):
        return f"refused: speculation ({', '.join(refused)})"
    length = too_long(pool, features)
    return f"refused: {length}" if length else None


def _replicas(
    policy: Policy, case: Case, pools: Collection[PoolSnapshot], guest: bool
) -> list[ReplicaVerdict]:
    effort = case.features.effort
    rules, targets = policy.rules, policy.targets(effort)
    candidates = {(one.pool.name, one.replica.replica): one for one in policy.candidates(case, pools, guest)}
    verdicts = []
    for pool in pools:
        for replica in pool.replicas:
            one = candidates.get((pool.name, replica.replica))
            if one is None:
                dropped_by = unavailable(replica, rules, case.now_s, case.tried) or floored(
                    replica, places(pool, effort, rules)
                )
                verdicts.append(ReplicaVerdict(pool.name, replica.replica, dropped_by))
                continue
            scores = {name: scorer(one, targets) for name, scorer in SCORERS.items()}
            total = score(one, targets, weighed(rules.weights))
            verdicts.append(ReplicaVerdict(pool.name, replica.replica, None, one.predicted, scores, total))
    return verdicts
