"""Does the load generator time what it says?"""

import pytest

from tests.bench.load import Job, Timeline, percentile, prompts

ROLE = b'data: {"choices":[{"delta":{"role":"assistant","content":""},"finish_reason":null}]}\n\n'
TEXT = b'data: {"choices":[{"delta":{"content":"a"},"finish_reason":null}]}\n\n'
THOUGHT = b'data: {"choices":[{"delta":{"reasoning":"a","reasoning_content":"a"}}]}\n\n'
LAST = b'data: {"choices":[{"delta":{},"finish_reason":"length"}]}\n\n'
DONE = b"data: [DONE]\n\n"


def fed(*reads: bytes) -> Timeline:
    """A timeline whose reads arrive one second apart, from 1 s on."""
    timeline = Timeline()
    for at_s, read in enumerate(reads, start=1):
        timeline.feed(read, float(at_s))
    return timeline


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [
        ([7.0], 99, 7.0),
        ([3.0, 1.0, 2.0], 50, 2.0),
        ([1.0, 2.0], 50, 1.5),
        ([0.0, 10.0], 99, 9.9),
        ([2.0, 1.0], 0, 1.0),
        ([2.0, 1.0], 100, 2.0),
    ],
)
def test_percentile(values: list[float], percent: float, expected: float) -> None:
    """Values may come in any order; between two of them it is interpolated."""
    assert percentile(values, percent) == pytest.approx(expected)


@pytest.mark.parametrize(("values", "percent"), [([], 50.0), ([1.0], -1.0), ([1.0], 101.0)])
def test_no_percentile(values: list[float], percent: float) -> None:
    """Nothing is made up where there is no percentile."""
    with pytest.raises(ValueError, match="percentile"):
        percentile(values, percent)


def test_event_by_event() -> None:
    """The first event counts as the first token; gaps are between events with text."""
    timeline = fed(ROLE, TEXT, TEXT, THOUGHT, LAST, DONE)
    assert timeline.first_s == 1.0
    assert timeline.text_at_s == [2.0, 3.0, 4.0]
    assert list(timeline.gaps_s()) == [1.0, 1.0]
    assert timeline.finish_reason == "length"
    assert timeline.is_complete


def test_joined_events_count_once() -> None:
    """Events that arrive in one read are one arrival."""
    timeline = fed(ROLE + TEXT + TEXT, TEXT + LAST + DONE)
    assert timeline.first_s == 1.0
    assert list(timeline.gaps_s()) == [1.0]
    assert timeline.is_complete


def test_split_events_arrive_with_their_end() -> None:
    """An event in pieces has arrived when its last piece has."""
    timeline = fed(ROLE[:-1], ROLE[-1:] + TEXT[:30], TEXT[30:], DONE[:5], DONE[5:])
    assert timeline.first_s == 2.0
    assert timeline.text_at_s == [3.0]
    assert timeline.is_complete


@pytest.mark.parametrize(
    "reads",
    [(ROLE, TEXT), (ROLE, DONE, b'data: {"error":{}}\n\n'), (ROLE, DONE[:-1]), ()],
    ids=["cut off", "error after the end", "end cut off", "nothing"],
)
def test_broken_streams_are_not_complete(reads: tuple[bytes, ...]) -> None:
    """Only a stream that ends in [DONE] is measured."""
    assert not fed(*reads).is_complete


def test_prompts_follow_the_seed() -> None:
    """The same seed gives the same prompts; another gives others; within one they differ."""
    first = prompts((1, "a"), 50)
    assert first == prompts((1, "a"), 50)
    assert not set(first) & set(prompts((1, "b"), 50))
    assert len(set(first)) == 50


def test_a_body_for_each_prompt() -> None:
    """Requests ask for a stream of a fixed length."""
    bodies = Job("http://x", "m", ("one", "two"), 1, 16).bodies()
    assert len(bodies) == 2
    assert b'"max_tokens": 16' in bodies[0]
    assert b'"stream": true' in bodies[1]
