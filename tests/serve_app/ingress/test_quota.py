"""Limits: what passes in a minute, what waits how long, and what the headers say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.config import Tenant
from serve_app.errors import RateLimited
from serve_app.ingress.quota import Account, Bucket, Limits, Slot, duration, estimated_tokens, share


def account(limits: Limits) -> Account:
    """Return the account of a tenant that has used nothing at second 0."""
    fresh = Account("search")
    fresh.limit(limits, 0.0)
    return fresh


def refused(account: Account, now_s: float) -> RateLimited:
    """Return the error with which a tenant's next request is refused."""
    with pytest.raises(RateLimited) as refusal:
        account.enter(now_s)
    return refusal.value


@pytest.mark.parametrize(("num_bytes", "num_tokens"), [(0, 0), (1, 1), (4, 1), (5, 2), (4000, 1000)])
def test_estimate(num_bytes: int, num_tokens: int) -> None:
    """Four bytes are a token, and a part of them as well."""
    assert estimated_tokens(num_bytes) == num_tokens


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (0.0201, "21ms"), (0.02, "20ms"), (1, "1s"), (1.5, "1.5s"), (59.9999, "1m0s"), (360, "6m0s")],
)
def test_duration(seconds: float, text: str) -> None:
    """Times have the form of OpenAI's reset headers, rounded up to a millisecond."""
    assert duration(seconds) == text


def test_a_bucket() -> None:
    """It begins full, falls by what is taken, rises by a sixtieth of its limit a second, up to it."""
    bucket = Bucket(60, 0.0)
    bucket.take(60, 0.0)
    assert [bucket.level(t) for t in (0.0, 1.0, 30.0, 60.0, 600.0)] == [0, 1, 30, 60, 60]
    assert [bucket.wait_s(cost, 10.0) for cost in (5, 10, 15, 60, 600)] == [0, 0, 5, 50, 50]
    bucket.take(-1000, 10.0)
    assert bucket.level(10.0) == 60


def test_a_clock_that_goes_back() -> None:
    """A time before the last one takes nothing away."""
    bucket = Bucket(60, 100.0)
    bucket.take(10, 100.0)
    assert bucket.level(0.0) == 50


@given(st.integers(1, 1000), st.lists(st.tuples(st.floats(0, 30), st.integers(1, 300)), max_size=60))
def test_no_span_lets_more_pass(per_min: int, asked: list[tuple[float, int]]) -> None:
    """By second T no more has passed than C + C * T / 60, and who waits as long as told may pass."""
    bucket, now_s, passed = Bucket(per_min, 0.0), 0.0, 0
    for pause_s, cost in asked:
        now_s += pause_s
        cost = min(cost, per_min)
        if wait_s := bucket.wait_s(cost, now_s):
            assert not bucket.wait_s(cost, now_s + wait_s + 1e-6)
            continue
        bucket.take(cost, now_s)
        passed += cost
        assert passed <= per_min + per_min * now_s / 60 + 1e-3


@pytest.mark.parametrize(
    ("replicas", "expected"),
    [(1, Limits(100, 1000, 3)), (3, Limits(34, 334, 1)), (200, Limits(1, 5, 1))],
)
def test_a_replicas_share(replicas: int, expected: Limits) -> None:
    """Ingress replicas share no state: each has its part of every limit, rounded up; no limit stays none."""
    tenant = Tenant(name="a", requests_per_min=100, tokens_per_min=1000, concurrent_requests=3)
    assert share(tenant, replicas) == expected
    assert share(Tenant(name="a"), replicas) == Limits()


def test_requests_a_minute() -> None:
    """The limit passes at once, the next one is told when to come back, and may then."""
    search = account(Limits(requests_per_min=3))
    for _ in range(3):
        search.enter(0.0).release()
    error = refused(search, 5.5)
    assert str(error) == "tenant 'search' has reached its limit of 3 requests a minute; come back in 15 s"
    assert error.headers == {
        "retry-after": "15",
        "x-ratelimit-limit-requests": "3",
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "54.5s",
    }
    search.enter(20.5)
    refused(search, 20.5)


def test_refusals_cost_nothing() -> None:
    """Who is refused has taken neither a place nor a request, however often they try."""
    search = account(Limits(requests_per_min=1, concurrent_requests=5))
    search.enter(0.0).release()
    for second in range(60):
        refused(search, float(second))
    assert search.num_ongoing == 0
    search.enter(60.0)


def test_concurrent_requests() -> None:
    """As many as the limit are under way; a place is free again when one is released, once."""
    search = account(Limits(concurrent_requests=2))
    first, _ = search.enter(0.0), search.enter(0.0)
    error = refused(search, 0.0)
    assert str(error) == "tenant 'search' has reached its limit of 2 requests at once; come back in 1 s"
    assert error.headers == {"retry-after": "1"}
    first.release()
    first.release()
    assert search.num_ongoing == 1
    search.enter(0.0)
    refused(search, 0.0)


def tokens_left(slot: Slot, now_s: float = 0.0) -> int:
    """Return what the header says is left of a minute's tokens."""
    return int(slot.account.headers(now_s)["x-ratelimit-remaining-tokens"])


def test_tokens_are_corrected() -> None:
    """An estimate is taken, the usage replaces it, however often it is told and also after the release."""
    slot = account(Limits(tokens_per_min=600)).enter(0.0)
    slot.reserve(100, 0.0)
    assert tokens_left(slot) == 500
    slot.charge(40, 0.0)
    assert tokens_left(slot) == 560
    slot.charge(250, 0.0)
    slot.charge(250, 0.0)
    assert tokens_left(slot) == 350
    slot.release()
    slot.charge(300, 0.0)
    assert tokens_left(slot) == 300


def test_tokens_that_are_not_left() -> None:
    """A prompt that is more than what is left waits until it is there; it has taken nothing."""
    slot = account(Limits(tokens_per_min=600)).enter(0.0)
    slot.reserve(500, 0.0)
    later = slot.account.enter(0.0)
    with pytest.raises(RateLimited, match=r"limit of 600 tokens a minute; come back in 10 s"):
        later.reserve(200, 0.0)
    assert tokens_left(later) == 100
    later.reserve(200, 10.0)


def test_a_debt_is_paid_first() -> None:
    """An answer may use more than was left; nobody enters until the bucket is out of its debt."""
    search = account(Limits(tokens_per_min=600))
    slot = search.enter(0.0)
    slot.charge(900, 0.0)
    assert refused(search, 0.0).headers["retry-after"] == "31"
    assert tokens_left(slot, 29.0) == 0
    search.enter(31.0)


def test_more_than_a_minutes_tokens() -> None:
    """What no bucket could ever hold passes when the bucket is full, instead of never."""
    slot = account(Limits(tokens_per_min=600)).enter(0.0)
    slot.reserve(1200, 0.0)
    with pytest.raises(RateLimited, match="come back in 120 s"):
        slot.reserve(1200, 0.0)
    assert refused(slot.account, 0.0).headers["x-ratelimit-reset-tokens"] == "2m0s"


def test_new_limits_keep_what_was_used() -> None:
    """Limits can be changed while requests are under way; used stays used, and a limit may come or go."""
    search = account(Limits(requests_per_min=10))
    for _ in range(4):
        search.enter(0.0)
    search.limit(Limits(requests_per_min=6, tokens_per_min=60), 0.0)
    assert search.headers(0.0)["x-ratelimit-remaining-requests"] == "2"
    assert search.headers(0.0)["x-ratelimit-remaining-tokens"] == "60"
    assert repr(search) == "<Account search: 4 ongoing, requests <Bucket 2 of 6>, tokens <Bucket 60 of 60>>"
    search.limit(Limits(), 0.0)
    assert search.headers(0.0) == {}
    search.enter(0.0)
