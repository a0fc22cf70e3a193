"""Two small pools behind admission, without anything asynchronous."""

from dataclasses import replace
from random import Random

from serve_app.errors import ApiError
from serve_app.router.admission import Admission
from serve_app.router.admission_queue import Waiting
from serve_app.router.policy import Policy
from serve_app.rules import Rules
from serve_app.types import Decision, Effort, PoolSnapshot, ReplicaReport, ReplicaSnapshot, RequestFeatures
from tests.serve_app.router.states import NONE, NOW_S

RULES = Rules(max_age_s=float("inf"), targets={})
PLACES = 4


class Small:
    """A throughput and a latency pool of one replica of four places each, and who has them."""

    def __init__(self, rules: Rules = RULES, max_queued: int = 10, seed: int = 0) -> None:
        self.held = {"throughput": 0, "latency": 0}
        self.efforts = {"throughput": frozenset({Effort.NONE}), "latency": frozenset({Effort.HIGH})}
        self.down: set[str] = set()
        self.queued_elsewhere = {"throughput": 0, "latency": 0}
        self.measured = ReplicaReport("", batch_size=4, per_token_s=0.01, answer_tokens=100.0)
        queued = dict.fromkeys(self.held, max_queued)
        self.admission = Admission[int](Policy(rules, {}, Random(seed)), queued)

    def pools(self) -> list[PoolSnapshot]:
        """Return what is known of the pools."""
        return [
            PoolSnapshot(
                name,
                self.efforts[name],
                ()
                if name in self.down
                else (ReplicaSnapshot(replace(self.measured, replica=f"{name}-1", num_ongoing=number)),),
                max_num_seqs=PLACES,
                num_queued_elsewhere=self.queued_elsewhere[name],
            )
            for name, number in self.held.items()
        ]

    def offer(self, ticket: int, features: RequestFeatures = NONE, now_s: float = NOW_S) -> Decision:
        """Offer a request, and take its place if it gets one."""
        decision, self.left = self.admission.offer(Waiting(features, now_s, ticket), self.pools(), now_s)
        if not decision.waits:
            self.held[decision.pool] += 1
        return decision

    def turns(self, pool: str, now_s: float = NOW_S) -> list[tuple[int, Decision | ApiError]]:
        """Let everybody go whose turn it is."""
        found = []
        while turn := self.admission.next_turn(pool, self.pools(), now_s):
            if isinstance(turn.outcome, Decision):
                self.held[turn.outcome.pool] += 1
            found.append((turn.waiting.ticket, turn.outcome))
        return found

    def end(self, pool: str, now_s: float = NOW_S) -> None:
        """Let one request of the pool end."""
        self.held[pool] -= 1
        self.admission.ended(pool, now_s)
