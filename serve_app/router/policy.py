"""Which replica of which pool takes a request, and why? Arithmetic on plain values, no I/O, no clock.

1. Home: the pools that a preference names or that serve the effort, without those that must not or cannot
   serve the request (`filters.py`).
2. What the request would see at each available replica (`prediction.py`).
3. Stay at home, unless home is predicted to miss the effort's targets and another pool to miss them by less,
   or a replica elsewhere saves more by its cache than the move costs. Other homes' floors are kept free.
   Pools that are home to no effort come last: they get what no other pool takes.
4. The candidates' scores (`scorers.py`), and the better of two near the best (`picker.py`); unless it would
   be late for the client (`deadline.py`), or is full: then it is one that is not, or the request waits.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import chain
from random import Random
from typing import NamedTuple

from parallel.step_table import StepTable
from serve_app.errors import InvalidRequest, Unsupported
from serve_app.router.absence import nothing_left, to_wait_for
from serve_app.router.affinity import Affinity
from serve_app.router.case import Case, Homes
from serve_app.router.deadline import Lateness, lateness, unreachable
from serve_app.router.filters import (
    floored,
    full,
    healthy,
    lacks,
    places,
    speculation_refused,
    too_long,
    unavailable,
)
from serve_app.router.picker import pick
from serve_app.router.prediction import Candidate, Forecast, Outlook, predict
from serve_app.router.scorers import score, weighed
from serve_app.rules import Rules, Targets
from serve_app.types import Decision, Effort, PoolSnapshot, Reason, RequestFeatures

NO_TARGETS = Targets()
NOBODY: Mapping[str, int] = {}


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
        ahead: Mapping[str, int] = NOBODY,
    ) -> Decision:
        """Return where the request goes, and remember it; or in which pool it waits for a place.

        `now_s` is on the clock of the snapshots' `reported_at_s`. `tried`: replicas that failed this
        request before its first byte. `ahead`: how many wait at the ingress and go before it, by pool.

        Raises InvalidRequest when no pool could ever serve it, NoReplica when nothing is left (that message
        names the effort and every pool's count of healthy replicas), FloorKept when what is left is kept for
        others, DeadlineUnreachable when every replica is predicted to answer after the client has left.
        """
        case = self.case(features, now_s, tried, ahead)
        homes = self.homes(features, pools)
        choice = self.choose(case, homes)
        if choice is None:
            if decision := to_wait_for(case, homes, self.rules):
                return decision
            raise nothing_left(case, homes, self.rules)
        self._note(features.effort, choice.reason)
        chosen = self._pick(choice.candidates, features.effort)
        if self._lateness(case, chosen).by_s > 0:
            choice = self._in_time(case, homes, choice)
            chosen = self._pick(choice.candidates, features.effort)
        waits = features.generates and self._is_full(chosen)
        if waits and (roomy := [one for one in choice.candidates if not self._is_full(one)]):
            chosen, waits = self._pick(roomy, features.effort), False
        if not waits:
            self._affinity.remember(features, chosen.replica.replica)
        return Decision(chosen.pool.name, chosen.replica.replica, choice.reason, chosen.predicted, waits)

    def case(
        self,
        features: RequestFeatures,
        now_s: float,
        tried: Collection[str] = (),
        ahead: Mapping[str, int] = NOBODY,
    ) -> Case:
        """Put together what is known of a request."""
        answer_tokens = float(self.rules.answer_tokens[features.effort])
        if features.max_tokens is not None:
            answer_tokens = min(answer_tokens, features.max_tokens)
        cached, session = self._affinity.cached_tokens(features), self._affinity.session(features)
        return Case(features, now_s, tried, answer_tokens, cached, session, ahead)

    def homes(self, features: RequestFeatures, pools: Collection[PoolSnapshot]) -> Homes:
        """Divide the pools into home and away. Raises InvalidRequest if no pool may serve the request."""
        having = [pool for pool in pools if lacks(pool, features) is None]
        if pools and not having:
            lacking = ", ".join(f"{pool.name}: {lacks(pool, features)}" for pool in pools)
            raise Unsupported(
                f"no pool has both the route {features.route} and reasoning_effort "
                f"{features.effort.value!r} (what is missing: {lacking})"
            )
        refused = {pool.name: speculation_refused(pool, features, self.rules) for pool in having}
        what = dict.fromkeys(chain.from_iterable(refused.values()))
        able = [pool for pool in having if not refused[pool.name]]
        if having and not able:
            names = ", ".join(refused)
            raise InvalidRequest(
                f"{', '.join(what)}: not available with speculation, and every pool speculates ({names})",
                param=next((field for field in features.plain_decoding if field in what), None),
            )
        fitting = [pool for pool in able if too_long(pool, features) is None]
        # Where none fits, the engine itself says so, or goes on without its draft head.
        suited = fitting or [pool for pool in able if too_long(pool, features) != "context"] or able
        serving = [pool for pool in suited if features.effort in pool.efforts]
        rule = next((rule for rule in self.rules.prefer if rule.covers(features)), None)
        named = [pool for pool in suited if rule and pool.name in rule.pools]
        if home := named or serving:
            away = [pool for pool in suited if pool not in home]
            return Homes(home, away, Reason.SHAPE if named else Reason.EFFORT)
        return Homes((), suited, self._why_no_home(features, having, able, what))

    @staticmethod
    def _why_no_home(
        features: RequestFeatures,
        having: Collection[PoolSnapshot],
        able: Collection[PoolSnapshot],
        refused: Collection[str],
    ) -> Reason:
        if any(features.effort in pool.efforts for pool in able):
            return Reason.LENGTH
        if not any(features.effort in pool.efforts for pool in having):
            return Reason.DIALECT
        is_plain = any(field in refused for field in features.plain_decoding)
        return Reason.PLAIN_DECODING if is_plain else Reason.SHAPE

    def choose(self, case: Case, homes: Homes) -> Choice | None:
        """Return the candidates to pick from, at home or in other pools; None if there are none."""
        rules, effort = self.rules, case.features.effort
        if not homes.home:
            able = next(self._guests(case, homes.away), []) or self._unreserved(case, homes.away)
            return Choice(able, homes.reason) if able else None
        at_home = self._at_home(case, homes)
        home = at_home.candidates
        if not home:
            guests = next(self._guests(case, homes.away), None) if rules.spill_over else None
            return Choice(guests, Reason.NO_HEALTHY_REPLICA) if guests else None
        if not rules.spill_over:
            return at_home
        targets, has_left = self.targets(effort), effort in self._away
        missed = min(targets.miss(one.predicted) for one in home)
        if missed > (1 - rules.hysteresis if has_left else 1):
            limit = missed * (1 if has_left else 1 - rules.hysteresis)
            for guests in self._guests(case, homes.away):
                if nearer := [one for one in guests if targets.miss(one.predicted) < limit]:
                    return Choice(nearer, Reason.SPILL_OVER)
            return at_home
        if case.cached:
            best = min(home, key=_total_s)
            least_saved_s = best.saved_s + rules.hysteresis * _total_s(best)
            own = [pool for pool in homes.away if pool.efforts]
            guests = self.candidates(case, own, guest=True, among=case.cached)
            sooner = [one for one in guests if one.saved_s > least_saved_s and _total_s(one) < _total_s(best)]
            return Choice(sooner, Reason.CACHED) if sooner else at_home
        return at_home

    def _at_home(self, case: Case, homes: Homes) -> Choice:
        reason = Reason.REPLICA_FAILED if case.tried else homes.reason
        return Choice(self.candidates(case, homes.home), reason)

    def _guests(self, case: Case, away: Collection[PoolSnapshot]) -> Iterator[list[Candidate]]:
        """Yield the candidates away from home; last, if requests may spill over, of pools home to nobody."""
        overflow = [pool for pool in away if not pool.efforts] if self.rules.spill_over else []
        for pools in ([pool for pool in away if pool.efforts], overflow):
            if guests := self.candidates(case, pools, guest=True):
                yield guests

    def _unreserved(self, case: Case, away: Collection[PoolSnapshot]) -> list[Candidate]:
        """Return the candidates in pools that keep no places free: who has no home may wait there."""
        rules, effort = self.rules, case.features.effort
        open_ = [pool for pool in away if pool.efforts or rules.spill_over]
        return self.candidates(case, [p for p in open_ if places(p, effort, rules) >= p.max_num_seqs])

    def candidates(
        self,
        case: Case,
        pools: Collection[PoolSnapshot],
        guest: bool = False,
        among: Collection[str] | None = None,
    ) -> list[Candidate]:
        """Predict what the request sees at each available replica; a `guest` keeps to the floors.

        `among`: only these replicas.
        """
        rules, (features, now_s, tried, answer_tokens, cached, session, ahead) = self.rules, case
        num_tokens = features.prompt_tokens
        found = []
        for pool in pools:
            num_places = places(pool, features.effort, rules)
            num_ahead = 0.0
            if waiting := ahead.get(pool.name):
                num_ahead = waiting / max(1, len(healthy(pool, rules, now_s, tried)))
            for replica, outlook in zip(pool.replicas, self._forecast(pool), strict=True):
                name = replica.report.replica
                if among is not None and name not in among:
                    continue
                if unavailable(replica, rules, now_s, tried) or (guest and floored(replica, num_places)):
                    continue
                num_cached = min(cached[name], num_tokens) if name in cached else 0
                predicted = predict(outlook, num_tokens - num_cached, answer_tokens, num_ahead)
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

    def _pick(self, candidates: Sequence[Candidate], effort: Effort) -> Candidate:
        targets = self.targets(effort)
        return pick(candidates, [score(one, targets, self._scorers) for one in candidates], self._rng)

    def _is_full(self, one: Candidate) -> bool:
        return full(one.replica, one.pool, self.rules) is not None

    def _lateness(self, case: Case, one: Candidate) -> Lateness:
        return lateness(case.features, one, case.answer_tokens, case.now_s)

    def _in_time(self, case: Case, homes: Homes, choice: Choice) -> Choice:
        """Return the candidates that keep the deadline, elsewhere if none do where the request would go."""
        late: list[tuple[Lateness, Candidate]] = []
        for candidates, reason in chain((choice,), self._instead(case, homes, choice)):
            found = [(self._lateness(case, one), one) for one in candidates]
            if in_time := [one for by, one in found if by.by_s <= 0]:
                return Choice(in_time, reason)
            late += found
        raise unreachable(*min(late, key=lambda pair: pair[0].by_s))

    def _instead(self, case: Case, homes: Homes, choice: Choice) -> Iterator[Choice]:
        """Yield home, unless it was chosen, and then what is away from it."""
        if choice.reason in (Reason.SPILL_OVER, Reason.CACHED):
            yield self._at_home(case, homes)
        if self.rules.spill_over:
            yield from (Choice(guests, Reason.SPILL_OVER) for guests in self._guests(case, homes.away))

    def _note(self, effort: Effort, reason: Reason) -> None:
        if reason is Reason.SPILL_OVER:
            self._away.add(effort)
        elif reason in (Reason.EFFORT, Reason.SHAPE):
            self._away.discard(effort)


def _total_s(one: Candidate) -> float:
    return one.predicted.total_s
