"""How much may a tenant use? Token buckets, and a count of what is under way.

A limit of C a minute is a bucket of C. Its level rises with time and falls with use:

    level(t) = min(C, level(t0) + (t - t0) * C / 60)

What costs c may pass when level >= min(c, C), and then level falls by c. So in any span of T seconds no more
than C + C * T / 60 passes, and what costs more than C passes too, when the bucket is full, and leaves it in
debt. Tokens are known only afterwards: a request reserves an estimate, and the answer's usage corrects it.

Nothing here has a clock: `now_s` is seconds of any clock that does not go back.
"""

import math
from dataclasses import dataclass, field

from serve_app.config import Tenant
from serve_app.errors import RateLimited
from serve_app.types import BYTES_PER_TOKEN

PERIOD_S = 60.0
BUSY_RETRY_S = 1
"""When to come back where it depends on how long other answers take."""
ROUNDING = 1e-6
"""Less than this is missing only by the arithmetic of floats."""


def estimated_tokens(num_bytes: int) -> int:
    """Return about how many tokens a prompt of so many bytes has."""
    return math.ceil(num_bytes / BYTES_PER_TOKEN)


class Bucket:
    """One limit a minute. It begins full."""

    def __init__(self, per_min: int, now_s: float) -> None:
        self.per_min = per_min
        self._level = float(per_min)
        self._at_s = now_s

    def __repr__(self) -> str:
        return f"<Bucket {self._level:g} of {self.per_min}>"

    def level(self, now_s: float) -> float:
        """Return what is left; below 0 it is a debt."""
        risen = (now_s - self._at_s) * self.per_min / PERIOD_S
        return min(float(self.per_min), self._level + max(0.0, risen))

    def take(self, amount: float, now_s: float) -> None:
        """Let the level fall by `amount`, or rise if that is negative; whether it may is asked before."""
        self._level = min(float(self.per_min), self.level(now_s) - amount)
        self._at_s = now_s

    def wait_s(self, amount: float, now_s: float) -> float:
        """Return in how many seconds `amount` may pass, 0.0 if now."""
        missing = min(amount, self.per_min) - self.level(now_s)
        return 0.0 if missing <= ROUNDING else missing * PERIOD_S / self.per_min

    def resize(self, per_min: int, now_s: float) -> None:
        """Change the limit; what has been used stays used."""
        used = self.per_min - self.level(now_s)
        self.per_min = per_min
        self._level, self._at_s = per_min - used, now_s

    def headers(self, unit: str, now_s: float) -> dict[str, str]:
        """Return OpenAI's three headers for this limit."""
        level = self.level(now_s)
        full_in_s = (self.per_min - level) * PERIOD_S / self.per_min
        return {
            f"x-ratelimit-limit-{unit}": str(self.per_min),
            f"x-ratelimit-remaining-{unit}": str(max(0, math.floor(level + ROUNDING))),
            f"x-ratelimit-reset-{unit}": duration(full_in_s),
        }


def duration(seconds: float) -> str:
    """Return a time as OpenAI's reset headers have it: 0s, 20ms, 1.5s, 6m0s."""
    ms = math.ceil(seconds * 1000 - ROUNDING)
    if 0 < ms < 1000:
        return f"{ms}ms"
    minutes, ms = divmod(ms, 60_000)
    return f"{minutes}m{ms / 1000:g}s" if minutes else f"{ms / 1000:g}s"


@dataclass(frozen=True, slots=True)
class Limits:
    """What one tenant may use at one ingress replica; None is no limit."""

    requests_per_min: int | None = None
    tokens_per_min: int | None = None
    concurrent_requests: int | None = None


def share(tenant: Tenant, num_replicas: int) -> Limits:
    """Return one ingress replica's part of a tenant's limits, rounded up: the replicas share no state."""

    def part(limit: int | None) -> int | None:
        return None if limit is None else math.ceil(limit / num_replicas)

    return Limits(
        part(tenant.requests_per_min), part(tenant.tokens_per_min), part(tenant.concurrent_requests)
    )


@dataclass
class Account:
    """What one tenant has used of its limits."""

    name: str
    num_ongoing: int = 0
    _limits: Limits = Limits()
    _requests: Bucket | None = None
    _tokens: Bucket | None = None

    def __repr__(self) -> str:
        return (
            f"<Account {self.name}: {self.num_ongoing} ongoing, "
            f"requests {self._requests}, tokens {self._tokens}>"
        )

    def limit(self, limits: Limits, now_s: float) -> None:
        """Set the limits; what has been used of them stays used."""
        self._limits = limits
        self._requests = _resized(self._requests, limits.requests_per_min, now_s)
        self._tokens = _resized(self._tokens, limits.tokens_per_min, now_s)

    def enter(self, now_s: float) -> "Slot":
        """Take one request's place. Raises RateLimited, and has then taken nothing."""
        most = self._limits.concurrent_requests
        if most is not None and self.num_ongoing >= most:
            raise self._refusal(f"{most} requests at once", BUSY_RETRY_S, now_s)
        self._require(self._requests, 1, "requests", now_s)
        # One token stands for any number: nobody enters while the last answers are still to be paid for.
        self._require(self._tokens, 1, "tokens", now_s)
        if self._requests:
            self._requests.take(1, now_s)
        self.num_ongoing += 1
        return Slot(self)

    def headers(self, now_s: float) -> dict[str, str]:
        """Return the rate-limit headers of an answer; only limits that hold have any."""
        requests = self._requests.headers("requests", now_s) if self._requests else {}
        return requests | (self._tokens.headers("tokens", now_s) if self._tokens else {})

    def _require(self, bucket: Bucket | None, amount: int, unit: str, now_s: float) -> None:
        if bucket and (wait_s := bucket.wait_s(amount, now_s)):
            raise self._refusal(f"{bucket.per_min} {unit} a minute", wait_s, now_s)

    def _refusal(self, limit: str, wait_s: float, now_s: float) -> RateLimited:
        after_s = max(1, math.ceil(wait_s - ROUNDING))
        return RateLimited(
            f"tenant {self.name!r} has reached its limit of {limit}; come back in {after_s} s",
            headers={"retry-after": str(after_s), **self.headers(now_s)},
        )


def _resized(bucket: Bucket | None, per_min: int | None, now_s: float) -> Bucket | None:
    if per_min is None:
        return None
    if bucket is None:
        return Bucket(per_min, now_s)
    if bucket.per_min != per_min:
        bucket.resize(per_min, now_s)
    return bucket


@dataclass
class Slot:
    """One request's place among its tenant's. Whoever holds it releases it; once is enough."""

    account: Account
    _num_tokens: int = 0
    _held: bool = field(default=True)

    def reserve(self, num_tokens: int, now_s: float) -> None:
        """Take an estimate of the tokens. Raises RateLimited, and has then taken none."""
        self.account._require(self.account._tokens, num_tokens, "tokens", now_s)
        self.charge(num_tokens, now_s)

    def charge(self, num_tokens: int, now_s: float) -> None:
        """Correct what has been taken: the request has used so many tokens in all, until now.

        It may be told more than once, and after the release. It is never refused: they have been used.
        """
        if self.account._tokens:
            self.account._tokens.take(num_tokens - self._num_tokens, now_s)
        self._num_tokens = num_tokens

    def release(self) -> None:
        """Free the place."""
        if self._held:
            self._held = False
            self.account.num_ongoing -= 1
