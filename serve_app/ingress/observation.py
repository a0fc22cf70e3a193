"""What do the metrics see of one request that was let in?"""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from enum import StrEnum

from serve_app.ingress.usage import Usage
from serve_app.metrics import Metrics
from serve_app.rules import Targets
from serve_app.types import Effort


class Outcome(StrEnum):
    """How an answer that an engine had begun came to its end."""

    COMPLETE = "complete"
    REFUSED = "refused"
    """The engine answered 4xx."""
    FAILED = "failed"
    """The engine answered 5xx."""
    BROKEN = "broken"
    """The replica was lost, or the time was up, in mid-answer."""
    ABANDONED = "abandoned"
    """The client left."""

    @classmethod
    def of(cls, status: int) -> "Outcome":
        """Return what a whole answer of that HTTP status is."""
        return cls.FAILED if status >= 500 else cls.REFUSED if status >= 400 else cls.COMPLETE


@dataclass
class Observation:
    """Times and tokens of one request; `begun` once, then `ended` once, or neither.

    Times are those of the event loop's clock. `is_timed`: whether the model is asked for an answer; counting
    tokens would only blur the histograms.
    """

    metrics: Metrics
    tenant: str
    effort: Effort
    targets: Targets
    is_timed: bool
    started_s: float
    usage: Usage
    outcome: Outcome | None = field(default=None, init=False)
    """None until the answer has ended."""
    _pool: str = field(default="", init=False)
    _is_stream: bool = field(default=False, init=False)
    _begun_s: float = field(default=0.0, init=False)
    _is_broken: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self.metrics.tenant_requests.labels(self.metrics.tenant(self.tenant), self.effort).inc()

    def begun(self, pool: str, is_stream: bool) -> None:
        """Say that `pool` answers: head and opening are here, and a stream's opening is its first token."""
        self._pool, self._is_stream, self._begun_s = pool, is_stream, asyncio.get_running_loop().time()

    def broken(self) -> None:
        """Say that the answer breaks off, though what follows it will look like an end."""
        self._is_broken = True

    async def followed(
        self, chunks: AsyncIterator[bytes], charge: Callable[[int], None]
    ) -> AsyncIterator[bytes]:
        """Yield the chunks of a stream, and charge what has been used before each; then it has ended."""
        outcome = Outcome.ABANDONED
        try:
            async for chunk in chunks:
                charge(self.usage.read(chunk))
                yield chunk
            outcome = Outcome.BROKEN if self._is_broken else Outcome.COMPLETE
        finally:
            self.ended(outcome)

    def ended(self, outcome: Outcome) -> None:
        """Count the answer; its usage has been read."""
        self.outcome = outcome
        where = (self._pool, self.effort)
        self.metrics.answers.labels(*where, outcome).inc()
        if not self.is_timed or outcome in (Outcome.REFUSED, Outcome.FAILED):
            return
        if self._is_stream:
            ttft_s = self._begun_s - self.started_s
            self.metrics.ttft.labels(*where).observe(ttft_s)
            self._held("ttft_s", self.targets.ttft_s, ttft_s)
        if outcome is not Outcome.COMPLETE:
            return
        now_s = asyncio.get_running_loop().time()
        total_s = now_s - self.started_s
        self.metrics.request.labels(*where, str(self._is_stream).lower()).observe(total_s)
        self._held("total_s", self.targets.total_s, total_s)
        num_output = self.usage.told.get("output", 0)
        if self._is_stream and num_output > 1:
            per_token_s = (now_s - self._begun_s) / (num_output - 1)
            self.metrics.per_token.labels(*where).observe(per_token_s)
            self._held("per_token_s", self.targets.per_token_s, per_token_s)
        for kind, num_tokens in self.usage.told.items():
            self.metrics.tokens.labels(*where, kind).inc(num_tokens)
            self.metrics.tenant_tokens.labels(self.metrics.tenant(self.tenant), kind).inc(num_tokens)

    def _held(self, name: str, target_s: float | None, taken_s: float) -> None:
        if target_s is None:
            return
        # Both, so that a share of none is 0 and not unknown.
        missed, met = (
            self.metrics.targets.labels(self._pool, self.effort, name, each) for each in ("missed", "met")
        )
        (met if taken_s <= target_s else missed).inc()
