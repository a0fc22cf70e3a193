"""What will a request see at a replica? The cost model's step times, corrected by what was measured.

    per_token_s = c_step * step(batch, k)          batch = requests there, this one too, up to the places
    wait_s      = stalled_s                        an engine that takes no step may go on so for as long again
                + c_read * backlog * token_s       prompts before this one
                + ahead * turn_s              where all places are taken, or requests wait for the pool
    turn_s = answer / places * per_token_s            between two places that come free
    ttft_s      = wait_s + c_read * (base_s + (prompt - cached) * token_s)
    total_s     = ttft_s + answer * per_token_s

`c_step` and `c_read` are the measured time over the table's at the batch and the prompt that it was
measured with, of the replica or, where it has none yet, the mean of its pool; before anything is measured
`c_read` is 1, and `c_step` 1 over the acceptance length. So a table need only have the right shape: where no
cost model knows the device, a guess serves.
"""

from collections.abc import Iterable, Sequence
from operator import is_
from typing import NamedTuple

from parallel.step_table import StepTable, straight
from serve_app.types import PoolSnapshot, Prediction, ReplicaReport, ReplicaSnapshot

GUESS = StepTable((straight({1: 0.02, 64: 0.08}),), 0.02, 1e-4)
"""For a device that no cost model knows: about a small model on a few cores."""
GUESSED_ACCEPTANCE = 0.7
"""Chance that a draft token is accepted if all before it were, until something is measured."""
GUESSED_ANSWER_TOKENS = 512
"""Length of the answers that a full replica is busy with, until one has finished there."""


class Outlook(NamedTuple):
    """What any request would see at a replica."""

    wait_s: float
    """Until it is scheduled."""
    read_base_s: float
    """For reading its prompt, however short."""
    read_token_s: float
    """For each token of it that is not cached."""
    per_token_s: float
    turn_s: float
    """For each request that waits before it for a place, from one place that comes free to the next."""


class Candidate(NamedTuple):
    """A replica that may get the request, and all that scorers look at."""

    pool: PoolSnapshot
    replica: ReplicaSnapshot
    predicted: Prediction
    cached_share: float = 0.0
    """Share of the prompt that it is believed to have cached, 0 to 1."""
    saved_s: float = 0.0
    """Seconds of reading that this saves."""
    has_session: bool = False
    """Whether it had the session's last request."""


class Corrections(NamedTuple):
    """Measured over tabulated times of one replica."""

    step: float
    read: float


class Forecast:
    """The outlooks of one pool's replicas.

    It keeps the last ones, since little changes between two decisions: corrections are worked out once
    for each round of reports, an outlook once more for each request that was sent to its replica.
    """

    def __init__(self, table: StepTable = GUESS) -> None:
        self._table = table
        self._reports: Sequence[ReplicaReport] = ()
        self._corrections: Sequence[Corrections] = ()
        self._replicas: Sequence[ReplicaSnapshot] = ()
        self._outlooks: Sequence[Outlook] = ()

    def outlooks(self, pool: PoolSnapshot) -> Sequence[Outlook]:
        """Return one for each of the pool's replicas, in their order."""
        replicas, places = pool.replicas, pool.max_num_seqs
        if replicas is self._replicas:
            return self._outlooks
        reports = [replica.report for replica in replicas]
        if len(reports) == len(self._reports) and all(map(is_, reports, self._reports)):
            self._outlooks = [
                outlook if now is then else self._outlook(now, corrected, places)
                for now, then, outlook, corrected in zip(
                    replicas, self._replicas, self._outlooks, self._corrections, strict=True
                )
            ]
        else:
            self._reports, self._corrections = reports, corrections(reports, self._table)
            self._outlooks = [
                self._outlook(replica, corrected, places)
                for replica, corrected in zip(replicas, self._corrections, strict=True)
            ]
        self._replicas = replicas
        return self._outlooks

    def _outlook(self, replica: ReplicaSnapshot, corrected: Corrections, places: int) -> Outlook:
        table, report, load = self._table, replica.report, replica.load
        token_s = corrected.read * table.prefill_token_s
        per_token_s = corrected.step * table.step(min(load + 1, places), report.draft_tokens)
        wait_s = report.stalled_s + token_s * (report.prefill_tokens + replica.leased_tokens)
        turn_s = (report.answer_tokens or GUESSED_ANSWER_TOKENS) * per_token_s / places
        if load >= places:
            wait_s += (load + 1 - places) * turn_s
        return Outlook(wait_s, corrected.read * table.prefill_base_s, token_s, per_token_s, turn_s)


def corrections(reports: Iterable[ReplicaReport], table: StepTable) -> list[Corrections]:
    """Return those of each replica of one pool."""
    steps: list[float | None] = []
    reads: list[float | None] = []
    guess = 1.0
    for report in reports:
        step = read = None
        if report.per_token_s and report.batch_size:
            step = report.per_token_s / table.step(report.batch_size, report.draft_tokens)
        else:
            guess = 1.0 / expected_acceptance(report)
        if report.prefill_s and report.prefill_mean_tokens is not None:
            read = report.prefill_s / table.prefill(report.prefill_mean_tokens)
        steps.append(step)
        reads.append(read)
    any_step, any_read = mean(steps), mean(reads)
    any_step = guess if any_step is None else any_step
    any_read = 1.0 if any_read is None else any_read
    return [
        Corrections(any_step if step is None else step, any_read if read is None else read)
        for step, read in zip(steps, reads, strict=True)
    ]


def mean(values: Iterable[float | None]) -> float | None:
    """Return the mean of what is known, or None if nothing is."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def expected_acceptance(report: ReplicaReport) -> float:
    """Return the tokens that a step is expected to yield a sequence, measured or guessed."""
    if report.acceptance:
        return report.acceptance_length
    return sum(GUESSED_ACCEPTANCE**i for i in range(report.draft_tokens + 1))


def predict(outlook: Outlook, num_tokens: int, answer_tokens: float, num_ahead: float = 0.0) -> Prediction:
    """Return what a request sees of whose prompt `num_tokens` are not cached.

    `num_ahead`: requests at the ingress that get a place at this replica before it.
    """
    wait_s, base_s, token_s, per_token_s, turn_s = outlook
    wait_s += num_ahead * turn_s
    ttft_s = wait_s + base_s + num_tokens * token_s
    return Prediction(wait_s, ttft_s, per_token_s, ttft_s + answer_tokens * per_token_s)
