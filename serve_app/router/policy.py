"""Which replica of which pool takes a request, and why? Arithmetic on plain values, no I/O, no clock.

1. Home: the pools that a preference names or that serve the effort, without those that must not or cannot
   serve the request (`filters.py`).
2. What the request would see at each available replica (`prediction.py`).
3. Stay at home, unless home is predicted to miss the effort's targets and another pool to be done sooner,
   or a replica elsewhere saves more by its cache than the move costs. Other homes' floors are kept free.
4. The candidates' scores (`scorers.py`), and the better of two near the best (`picker.py`).
"""

from collections.abc import Collection, Mapping, Sequence
from random import Random
from typing import NamedTuple

from parallel.step_table import StepTable
from serve_app.errors import InvalidRequest, NoReplica
from serve_app.router.affinity import Affinity
from serve_app.router.filters import floored, healthy, places, speculation_refused, too_long, unavailable
from serve_app.router.picker import pick
from serve_app.router.prediction import Candidate, Forecast, Outlook, predict
from serve_app.router.scorers import score, weighed
from serve_app.types import (
    Decision,
    Effort,
    PoolSnapshot,
    Reason,
    RequestFeatures,
    Rules,
    Targets,
)

NO_TARGETS = Targets()


class Homes(NamedTuple):
    """The pools that may serve a request."""

    home: Sequence[PoolSnapshot]
    away: Sequence[PoolSnapshot]
    reason: Reason
    """Why home is home."""


class Choice(NamedTuple):
    """The group of candidates that one is picked from."""

    candidates: Sequence[Candidate]
    reason: Reason


class Policy:
    """The routing policy of one observer, an ingress replica or a simulated one.

    `tables`: the predicted step times of each pool's engines by the pool's name, `prediction.GUESS` where
    there are none. The same calls with the same `rng` give the same decisions.
    """

    def __init__(self, rules: Rules, tables: Mapping[str, StepTable], rng: Random) -> None:
        self.rules = rules
        self._forecasts = {name: Forecast(table) for name, table in tables.items()}
        self._rng = rng
        self._scorers = weighed(rules.weights)
        self._affinity = Affinity()
        self._away: set[Effort] = set()
        """Efforts whose last request left home for its targets: they return a little later than they left."""

    def decide(
        self,
        features: RequestFeatures,
        pools: Collection[PoolSnapshot],
        now_s: float,
        tried: Collection[str] = (),
    ) -> Decision:
        """Return where the request goes, and remember it.

        `now_s` is on the clock of the snapshots' `reported_at_s`. `tried`: replicas that failed this
        request before its first byte. Raises InvalidRequest when no pool could ever serve it, NoReplica
        when nothing is left; that message names the effort and every pool's count of healthy replicas.
        """
        homes = self.homes(features, pools)
        choice = self.choose(features, homes, now_s, tried)
        if choice is None:
            able = [pool for pool in pools if pool in homes.home or pool in homes.away]
            counts = ", ".join(f"{p.name}: {len(healthy(p, self.rules, now_s, tried))}" for p in able)
            effort = features.effort.value
            raise NoReplica(
                f"no healthy replica for reasoning_effort {effort!r} (healthy replicas: {counts})"
            )
        self._note(features.effort, choice.reason)
        targets = self.targets(features.effort)
        scores = [score(one, targets, self._scorers) for one in choice.candidates]
        chosen = pick(choice.candidates, scores, self._rng)
        self._affinity.remember(features, chosen.replica.replica)
        return Decision(chosen.pool.name, chosen.replica.replica, choice.reason, chosen.predicted)

    def homes(self, features: RequestFeatures, pools: Collection[PoolSnapshot]) -> Homes:
        """Divide the pools into home and away. Raises InvalidRequest if no pool may serve the request."""
        preferred = next((p for p in self.rules.prefer if p.covers(features)), None)
        wanted = [
            pool
            for pool in pools
            if (pool.name in preferred.pools if preferred else features.effort in pool.efforts)
        ]
        refused = speculation_refused(features, self.rules)
        able = [pool for pool in pools if not (refused and pool.speculates)]
        if pools and not able:
            names = ", ".join(pool.name for pool in pools)
            raise InvalidRequest(
                f"{', '.join(refused)}: not available with speculation, and every pool speculates ({names})",
                param=features.plain_decoding[0] if features.plain_decoding else None,
            )
        fitting = [pool for pool in able if too_long(pool, features) is None]
        # Where none fits, the engine itself says so, or goes on without its draft head.
        suited = fitting or [pool for pool in able if too_long(pool, features) != "context"] or able
        home = [pool for pool in suited if pool in wanted]
        if home:
            reason = Reason.SHAPE if preferred else Reason.EFFORT
            return Homes(home, [pool for pool in suited if pool not in home], reason)
        if any(pool in able for pool in wanted):
            reason = Reason.LENGTH
        else:
            reason = Reason.PLAIN_DECODING if features.plain_decoding else Reason.SHAPE
        return Homes((), suited, reason)

    def choose(
        self, features: RequestFeatures, homes: Homes, now_s: float, tried: Collection[str] = ()
    ) -> Choice | None:
        """Return the candidates to pick from, at home or in other pools; None if there are none."""
        rules, effort = self.rules, features.effort
        if not homes.home:
            elsewhere = self.candidates(features, homes.away, now_s, tried, guest=True)
            return Choice(elsewhere, homes.reason) if elsewhere else None
        home = self.candidates(features, homes.home, now_s, tried)
        if not home:
            elsewhere = self._elsewhere(features, homes, now_s, tried)
            return Choice(elsewhere, Reason.NO_HEALTHY_REPLICA) if elsewhere else None
        at_home = Choice(home, Reason.REPLICA_FAILED if tried else homes.reason)
        best = min(home, key=_total_s)
        best_s = best.predicted.total_s
        has_left = effort in self._away
        if not self.targets(effort).met(best.predicted, 1 - rules.hysteresis if has_left else 1.0):
            limit_s = best_s * (1 if has_left else 1 - rules.hysteresis)
            elsewhere = self._elsewhere(features, homes, now_s, tried)
            sooner = [one for one in elsewhere if _total_s(one) < limit_s]
            if sooner:
                return Choice(sooner, Reason.SPILL_OVER)
        else:
            least_saved_s = best.saved_s + rules.hysteresis * best_s
            holders = self._affinity.cached_tokens(features)
            elsewhere = self._elsewhere(features, homes, now_s, tried, holders) if holders else []
            sooner = [one for one in elsewhere if one.saved_s > least_saved_s and _total_s(one) < best_s]
            if sooner:
                return Choice(sooner, Reason.CACHED)
        return at_home

    def candidates(
        self,
        features: RequestFeatures,
        pools: Collection[PoolSnapshot],
        now_s: float,
        tried: Collection[str] = (),
        guest: bool = False,
        among: Collection[str] | None = None,
    ) -> list[Candidate]:
        """Predict what the request sees at each available replica; a `guest` keeps to the floors.

        `among`: only these replicas.
        """
        rules, effort, num_tokens = self.rules, features.effort, features.prompt_tokens
        cached = self._affinity.cached_tokens(features)
        session = self._affinity.session(features)
        answer_tokens = float(rules.answer_tokens[effort])
        if features.max_tokens is not None:
            answer_tokens = min(answer_tokens, features.max_tokens)
        found = []
        for pool in pools:
            num_places = places(pool, effort, rules)
            for replica, outlook in zip(pool.replicas, self._forecast(pool), strict=True):
                name = replica.report.replica
                if among is not None and name not in among:
                    continue
                if unavailable(replica, rules, now_s, tried) or (guest and floored(replica, num_places)):
                    continue
                num_cached = min(cached[name], num_tokens) if name in cached else 0
                predicted = predict(outlook, num_tokens - num_cached, answer_tokens)
                one = Candidate(pool, replica, predicted)
                if num_cached:
                    one = one._replace(
                        cached_share=num_cached / num_tokens, saved_s=num_cached * outlook.read_token_s
                    )
                found.append(one._replace(has_session=True) if name == session else one)
        return found

    def _forecast(self, pool: PoolSnapshot) -> Sequence[Outlook]:
        if pool.name not in self._forecasts:
            self._forecasts[pool.name] = Forecast()
        return self._forecasts[pool.name].outlooks(pool)

    def targets(self, effort: Effort) -> Targets:
        """Return what requests of `effort` should see."""
        return self.rules.targets.get(effort, NO_TARGETS)

    def _elsewhere(
        self,
        features: RequestFeatures,
        homes: Homes,
        now_s: float,
        tried: Collection[str],
        among: Collection[str] | None = None,
    ) -> list[Candidate]:
        if not self.rules.spill_over:
            return []
        return self.candidates(features, homes.away, now_s, tried, guest=True, among=among)

    def _note(self, effort: Effort, reason: Reason) -> None:
        if reason is Reason.SPILL_OVER:
            self._away.add(effort)
        elif reason in (Reason.EFFORT, Reason.SHAPE):
            self._away.discard(effort)


def _total_s(one: Candidate) -> float:
    return one.predicted.total_s
