"""Will the client still be there when its answer comes? By what is predicted, and when it leaves.

An answer's length is not known beforehand. It is taken for the mean of what the replica has finished lately,
or less where less is expected; before any has been finished, only the first token counts. So an idle system
refuses nobody for what it merely guesses.
"""

from typing import NamedTuple

from serve_app.errors import DeadlineUnreachable
from serve_app.router.prediction import Candidate
from serve_app.types import RequestFeatures


class Lateness(NamedTuple):
    """What of a predicted answer comes latest after its deadline; on time where `by_s` is not above 0."""

    by_s: float
    what: str
    takes_s: float
    """From now on."""


ON_TIME = Lateness(0.0, "nothing", 0.0)


def lateness(features: RequestFeatures, one: Candidate, answer_tokens: float, now_s: float) -> Lateness:
    """Return by how much the replica's answer is predicted to miss a deadline of its request."""
    predicted, worst = one.predicted, ON_TIME
    if features.first_token_deadline_s is not None:
        by_s = now_s + predicted.ttft_s - features.first_token_deadline_s
        worst = max(worst, Lateness(by_s, "the first token", predicted.ttft_s))
    if features.deadline_s is not None:
        finished = one.replica.report.answer_tokens or 0.0
        total_s = predicted.ttft_s + min(answer_tokens, finished) * predicted.per_token_s
        worst = max(worst, Lateness(now_s + total_s - features.deadline_s, "the answer", total_s))
    return worst


def unreachable(late: Lateness, one: Candidate) -> DeadlineUnreachable:
    """Return the refusal of a request whose best candidate would be late."""
    waits_s = late.takes_s - late.by_s
    return DeadlineUnreachable(
        f"{late.what} is predicted to take {late.takes_s:.1f} s in pool {one.pool.name!r}, "
        f"{one.predicted.wait_s:.1f} s of it waiting, and the client waits for {waits_s:.1f} s",
        pool=one.pool.name,
    )
