"""The vocabulary: values that are frozen, compare, and travel."""

import pickle
from dataclasses import FrozenInstanceError, fields

import pytest

from serve_app.types import Call, Decision, Effort, Head, Reason, ReplicaReport

HEAD = Head(200, ((b"x", b"1"), (b"x", b"2")))


def test_effort_is_its_word() -> None:
    """An effort is the string that clients send."""
    assert [str(effort) for effort in Effort] == ["none", "high"]


@pytest.mark.parametrize(("name", "value"), [(b"x", b"1"), (b"y", None), (b"X", None)])
def test_header(name: bytes, value: bytes | None) -> None:
    """The first header of a lower-case name counts; an absent one is None."""
    assert HEAD.header(name) == value


def test_signed() -> None:
    """Signing adds the replica's id behind the headers, and leaves the head itself alone."""
    assert HEAD.signed("r1") == Head(200, (*HEAD.headers, (b"x-venturi-replica", b"r1")))
    assert len(HEAD.headers) == 2


@pytest.mark.parametrize(
    "value",
    [HEAD, Call("GET", "/metrics/"), ReplicaReport("r1", 3), Decision("p", "r1", Reason.EFFORT)],
)
def test_values_travel_and_stay(value: Head | Call | ReplicaReport | Decision) -> None:
    """What replicas and pools hand to each other survives pickle and cannot be changed."""
    assert pickle.loads(pickle.dumps(value)) == value
    with pytest.raises(FrozenInstanceError):
        setattr(value, fields(value)[0].name, 0)
