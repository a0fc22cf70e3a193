"""What a replica makes of what ingress replicas say."""

from serve_app.engine.ingress_queues import SILENCE_S, IngressQueues
from serve_app.types import Queued


def test_the_sum_of_the_last_words() -> None:
    """Each ingress replica counts once, with what it said last."""
    queues = IngressQueues()
    assert queues.total(0.0) == Queued()
    queues.note("a", Queued(5, 500), 0.0)
    queues.note("b", Queued(2, 30), 0.0)
    queues.note("a", Queued(1, 100), 1.0)
    assert queues.total(1.0) == Queued(3, 130)


def test_a_silent_one_counts_no_more() -> None:
    """An ingress replica that is gone takes what waited there with it."""
    queues = IngressQueues()
    queues.note("a", Queued(5, 500), 0.0)
    queues.note("b", Queued(2, 30), 1.0)
    assert queues.total(SILENCE_S) == Queued(7, 530)
    assert queues.total(SILENCE_S + 0.5) == Queued(2, 30)
    queues.note("a", Queued(1, 10), SILENCE_S + 0.5)
    assert queues.total(SILENCE_S + 0.5) == Queued(3, 40)


def test_without_the_one_that_asks() -> None:
    """What an ingress replica is told is of the others."""
    queues = IngressQueues()
    queues.note("a", Queued(5, 500), 0.0)
    queues.note("b", Queued(2, 30), 0.0)
    assert queues.total(1.0, without="a") == Queued(2, 30)
    assert queues.total(1.0, without="c") == Queued(7, 530)
