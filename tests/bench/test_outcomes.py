"""What a stream says of itself, and what outcomes add up to."""

import pytest

from tests.bench.outcomes import Aim, Outcome, Reading, error_of, summary, table

ROLE = b'data: {"choices":[{"delta":{"role":"assistant","content":""}}]}\n\n'
TEXT = b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n'
THOUGHT = b'data: {"choices":[{"delta":{"reasoning":"a","reasoning_content":"a"}}]}\n\n'
COMPLETION = b'data: {"choices":[{"text":"a"}]}\n\n'
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":17,"total_tokens":20}}\n\n'
DONE = b"data: [DONE]\n\n"
BROKEN = b'data: {"error":{"message":"engine died","type":"x","code":"replica_lost"}}\n\n'


def read(*parts: bytes) -> Reading:
    """A reading whose parts arrive one second apart, from 1 s on."""
    reading = Reading()
    for at_s, part in enumerate(parts, start=1):
        reading.feed(part, float(at_s))
    return reading


@pytest.mark.parametrize("text", [TEXT, THOUGHT, COMPLETION])
def test_reading(text: bytes) -> None:
    """Text in whatever field; a role alone is no token yet."""
    reading = read(ROLE, text[:9], text[9:] + text, text + USAGE, DONE)
    assert (reading.first_s, reading.last_s, reading.num_events) == (3.0, 4.0, 3)
    assert (reading.num_tokens, reading.is_complete, reading.error) == (17, True, None)


def test_reading_an_error() -> None:
    """An error event is kept, and the stream is not taken for whole."""
    reading = read(TEXT, BROKEN)
    assert (reading.error, reading.code, reading.is_complete) == ("engine died", "replica_lost", False)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (b'{"error": {"message": "full", "type": "x", "param": null, "code": 503}}', ("full", "503")),
        (b'{"error": {"message": "full", "type": "x", "code": null}}', ("full", None)),
        (b'{"error": {"message": "full"}}', ('{"error": {"message": "full"}}', None)),
        (b'{"error": "full"}', ('{"error": "full"}', None)),
        (b"<html>", ("<html>", None)),
    ],
)
def test_errors_of_openais_shape(text: bytes, wanted: tuple[str, str | None]) -> None:
    """What has no message, type and code is kept as it is."""
    assert error_of(text) == wanted


@pytest.mark.parametrize(
    ("first_s", "error", "code", "end"),
    [
        (0.5, None, None, "answered"),
        (None, "503: full", "queue_full", "refused"),
        (0.5, "engine died", "replica_lost", "broken off"),
        (0.5, "the stream broke off", None, "lost"),
        (None, "ServerDisconnectedError: ", None, "lost"),
        (0.5, "TimeoutError: ", None, "given up"),
    ],
)
def test_ends(first_s: float | None, error: str | None, code: str | None, end: str) -> None:
    """A request that fails is lost unless the server says why."""
    assert Outcome("none", 0, 0, 1, 5, first_s=first_s, error=error, code=code).end == end


def outcome(effort: str, sent_s: float, first_s: float, last_s: float, error: str | None = None) -> Outcome:
    """Of eleven tokens, sent when it was planned."""
    return Outcome(
        effort, sent_s, sent_s, last_s, 11, 11, first_s, last_s, num_events=11, pool=effort, error=error
    )


def test_summary() -> None:
    """One good and one late request of each effort, and one that failed."""
    outcomes = [
        outcome("none", 0.0, 1.0, 2.0),
        outcome("none", 0.0, 6.0, 7.0),
        outcome("high", 0.0, 0.5, 0.7),
        outcome("high", 0.0, 0.5, 2.5),
        outcome("high", 0.0, 0.5, 10.0, error="lost"),
    ]
    found = summary(outcomes, {"none": Aim(5.0), "high": Aim(1.0, 0.05)})
    assert (found["requests"], found["failed"], found["duration_s"]) == (5, 1, 10.0)
    assert found["goodput_per_s"] == pytest.approx(0.2)
    assert found["good_share"] == pytest.approx(0.4)
    assert found["output_tokens_per_s"] == pytest.approx(5.5)
    assert found["efforts"]["none"]["first_token_s"]["p50"] == pytest.approx(3.5)
    assert found["efforts"]["high"]["per_token_s"]["p99"] == pytest.approx(0.2, rel=0.02)
    assert found["errors"] == {"lost": 1}
    assert found["pools"] == {"none -> none": 2, "high -> high": 3}
    assert "1 x lost" in table(found)
    assert "| none | 2 | 0 | 0.14 | 50% |" in table(found)


@pytest.mark.parametrize(
    ("aim", "met"),
    [(Aim(), True), (Aim(1.0), True), (Aim(0.9), False), (Aim(None, 0.1), True), (Aim(None, 0.09), False)],
)
def test_aim(aim: Aim, met: bool) -> None:
    """What is left open is met by any whole answer."""
    assert aim.is_met(outcome("none", 0.0, 1.0, 2.0)) == met
    assert not aim.is_met(outcome("none", 0.0, 1.0, 2.0, error="lost"))


def test_nothing_to_read() -> None:
    """Requests that all failed have no percentiles, and no table that breaks."""
    lost = Outcome("none", 0.0, 0.0, 1.0, 5, error="lost")
    found = summary([lost], {})
    assert found["first_token_s"] is None
    assert "nan" in table(found)
