"""The breaker of a replica."""

from serve_app.pools.breaker import NUM_FAILURES, OPEN_S, Breaker


def opened(now_s: float = 0.0) -> Breaker:
    """Return one that has just opened."""
    breaker = Breaker()
    assert [breaker.failed(now_s) for _ in range(NUM_FAILURES)] == [False] * (NUM_FAILURES - 1) + [True]
    return breaker


def test_failures_in_a_row() -> None:
    """Any answer in between starts the count anew."""
    breaker = Breaker()
    for _ in range(5):
        for _ in range(NUM_FAILURES - 1):
            assert not breaker.failed(0.0)
        breaker.answered()
    assert not breaker.is_open(0.0)
    assert opened().is_open(0.0)


def test_half_open() -> None:
    """After a while one request is let through, and no second one until it has ended."""
    breaker = opened()
    assert breaker.is_open(OPEN_S - 0.1)
    assert not breaker.is_open(OPEN_S)
    probe = breaker.sent(OPEN_S)
    assert probe
    assert breaker.is_open(OPEN_S)
    breaker.probed(probe)
    assert not breaker.is_open(OPEN_S), "nobody knows what became of it: another one may try"


def test_the_probe_closes_it() -> None:
    """And then everything counts anew."""
    breaker = opened()
    probe = breaker.sent(OPEN_S)
    breaker.answered()
    breaker.probed(probe)
    assert not breaker.is_open(OPEN_S)
    assert not breaker.failed(OPEN_S)


def test_the_probe_opens_it() -> None:
    """One failure is enough then."""
    breaker = opened()
    breaker.probed(breaker.sent(OPEN_S))
    assert breaker.failed(OPEN_S)
    assert breaker.is_open(2 * OPEN_S - 0.1)


def test_an_answer_that_goes_on_says_nothing_of_the_next_time() -> None:
    """The probe has been answered, and is still streamed when the breaker opens anew and is probed again."""
    breaker = opened()
    first = breaker.sent(OPEN_S)
    breaker.answered()
    for _ in range(NUM_FAILURES):
        breaker.failed(OPEN_S)
    assert not breaker.is_open(2 * OPEN_S)
    second = breaker.sent(2 * OPEN_S)
    breaker.probed(first)
    assert breaker.is_open(2 * OPEN_S)
    breaker.probed(second)
    assert not breaker.is_open(2 * OPEN_S)
