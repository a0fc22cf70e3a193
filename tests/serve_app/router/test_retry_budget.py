"""The budget of retries."""

from hypothesis import given
from hypothesis import strategies as st

from serve_app.router.retry_budget import BURST, RetryBudget


@given(st.lists(st.booleans(), max_size=200), st.floats(0, 1))
def test_a_share_of_the_requests(retries: list[bool], share: float) -> None:
    """However they come, no more are tried again than a few and a share of all."""
    budget, num_spent = RetryBudget(share), 0
    for number, wants_retry in enumerate(retries, 1):
        budget.earn()
        num_spent += wants_retry and budget.spend()
        assert num_spent <= BURST + share * number


def test_the_first_few() -> None:
    """The requests of one replica that dies are tried again though there were few before."""
    budget = RetryBudget(0.0)
    assert [budget.spend() for _ in range(12)] == [True] * 10 + [False] * 2
