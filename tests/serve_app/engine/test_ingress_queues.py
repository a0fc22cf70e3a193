"""What a replica makes of what ingress replicas say."""

from serve_app.engine.ingress_queues import SILENCE_S, IngressQueues


def test_the_sum_of_the_last_words() -> None:
    """Each ingress replica counts once, with what it said last."""
    queues = IngressQueues()
    assert queues.total(0.0) == 0
    queues.note("a", 5, 0.0)
    queues.note("b", 2, 0.0)
    queues.note("a", 1, 1.0)
    assert queues.total(1.0) == 3


def test_a_silent_one_counts_no_more() -> None:
    """An ingress replica that is gone takes what waited there with it."""
    queues = IngressQueues()
    queues.note("a", 5, 0.0)
    queues.note("b", 2, 1.0)
    assert queues.total(SILENCE_S) == 7
    assert queues.total(SILENCE_S + 0.5) == 2
    queues.note("a", 1, SILENCE_S + 0.5)
    assert queues.total(SILENCE_S + 0.5) == 3


def test_without_the_one_that_asks() -> None:
    """What an ingress replica is told is of the others."""
    queues = IngressQueues()
    queues.note("a", 5, 0.0)
    queues.note("b", 2, 0.0)
    assert queues.total(1.0, without="a") == 2
    assert queues.total(1.0, without="c") == 7
