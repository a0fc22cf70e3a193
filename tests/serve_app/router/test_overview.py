"""What people see of the pools."""

import pytest

from serve_app.router.overview import overview
from serve_app.rules import Rules
from serve_app.types import Effort, PoolSnapshot, ReplicaReport, ReplicaSnapshot


def test_a_row_has_the_report_and_what_was_sent_since() -> None:
    """Everything that the policy sees of a replica is in its row, under the same names."""
    report = ReplicaReport(
        "l1", num_ongoing=3, num_running=2, kv_usage=0.5, acceptance=(0.8, 0.6, 0.5), draft_tokens=2
    )
    replica = ReplicaSnapshot(report, reported_at_s=99.5, num_leased=1, leased_tokens=40)
    pool = PoolSnapshot("latency", frozenset({Effort.HIGH}), (replica,), speculates=True, max_num_seqs=8)
    (found,) = overview([pool], Rules(), 100.0)
    (row,) = found.pop("replicas")
    assert found == {
        "pool": "latency",
        "efforts": ["high"],
        "speculates": True,
        "max_num_seqs": 8,
        "max_model_len": None,
    }
    assert row["acceptance_length"] == pytest.approx(2.4)
    assert (row["replica"], row["num_ongoing"], row["num_running"], row["kv_usage"]) == ("l1", 3, 2, 0.5)
    assert (row["age_s"], row["num_leased"], row["leased_tokens"]) == (0.5, 1, 40)
    assert (row["draft_tokens"], row["acceptance"]) == (2, (0.8, 0.6, 0.5))
    assert row["dropped_by"] is None


@pytest.mark.parametrize(
    ("replica", "reason"),
    [
        (ReplicaSnapshot(ReplicaReport("t1"), reported_at_s=97.0), "silent"),
        (ReplicaSnapshot(ReplicaReport("t1", is_draining=True), reported_at_s=100.0), "draining"),
    ],
)
def test_a_replica_that_gets_nothing(replica: ReplicaSnapshot, reason: str) -> None:
    """It stays in sight, with the reason; without a draft head there is no acceptance length."""
    pool = PoolSnapshot("throughput", frozenset({Effort.NONE}), (replica,))
    (row,) = overview([pool], Rules(), 100.0)[0]["replicas"]
    assert (row["dropped_by"], row["acceptance_length"]) == (reason, None)
