"""What comes of cells: right, wrong, failed or skipped."""

from dataclasses import replace

import httpx
import pytest

from serve_app.conformance.matrix import Outcome, cells
from tests.serve_app.conformance.scripted import CALLS, Scripted
from tests.serve_app.conformance.spoil import row, rows


def changed(text: str, when: tuple[bool, ...] = (False, True)) -> Scripted:
    """A server that says something else, whole, streamed, or both."""
    return Scripted(say=lambda answer, stream: replace(answer, text=text) if stream in when else answer)


def test_cells() -> None:
    """Each dialect at each effort, whole and streamed; a raw prompt has no effort."""
    names = [cell.name for cell in cells()]
    assert len(names) == len(set(names)) == 3 * (2 * 7 * 2 + 3 * 2) + 2 + 2 * 2
    assert [cell.name for cell in cells("tool high chat")] == [
        "chat high whole tool",
        "chat high stream tool",
    ]
    assert {cell.effort for cell in cells("completions")} == {"-"}
    assert cells("chat nothing") == []


def test_a_right_server_passes() -> None:
    """Nothing is found where nothing is wrong, and every cell is asked."""
    came = rows(Scripted(), *(cell.name for cell in cells()))
    assert [(one.cell.name, one.reason) for one in came if one.outcome is not Outcome.OK or one.reason] == []


@pytest.mark.parametrize("dialect", ["chat", "responses", "messages"])
def test_a_wrong_answer(dialect: str) -> None:
    """The model is wrong, which is no fault of the server's form."""
    came = row(changed("It is 41."), f"{dialect} none whole plain")
    assert (came.outcome, came.reason) == (Outcome.WRONG, "says 'It is 41.', not '42'")
    assert row(changed("It is 41."), f"{dialect} none whole plain", structure_only=True).outcome is Outcome.OK


def test_no_reasoning_at_high() -> None:
    """Whether it reasons is up to the model too."""
    silent = Scripted(say=lambda answer, _: replace(answer, reasoning=""))
    came = row(silent, "messages high whole plain")
    assert (came.outcome, came.reason) == (Outcome.WRONG, "no reasoning at effort high")


@pytest.mark.parametrize("dialect", ["chat", "responses", "messages"])
@pytest.mark.parametrize("structure_only", [False, True])
def test_reasoning_at_none(dialect: str, structure_only: bool) -> None:
    """Reasoning that was not wanted is the server's fault, in a stream too."""
    thinks = Scripted(say=lambda answer, _: replace(answer, reasoning="Hm."))
    for how in ("whole", "stream"):
        came = row(thinks, f"{dialect} none {how} plain", structure_only)
        assert (came.outcome, came.reason) == (Outcome.FAILED, "reasoning: is there at effort none: 'Hm.'")


@pytest.mark.parametrize("dialect", ["chat", "responses", "messages"])
@pytest.mark.parametrize("names", [("whole", "stream"), ("stream",)])
def test_a_stream_that_differs(dialect: str, names: tuple[str, ...]) -> None:
    """It is compared with the whole answer, which is asked for if it has not been yet."""
    came = rows(changed("It is 42!", (True,)), *(f"{dialect} none {how} plain" for how in names))
    assert came[-1].outcome is Outcome.FAILED
    assert came[-1].reason == "the stream differs from the whole answer: text 'It is 42.' and 'It is 42!'"


def test_a_stream_with_other_calls() -> None:
    """Calls are compared as parsed arguments."""
    fewer = Scripted(say=lambda answer, stream: replace(answer, calls=CALLS[:1]) if stream else answer)
    came = row(fewer, "chat none stream parallel")
    assert came.outcome is Outcome.FAILED
    assert came.reason.startswith("the stream differs from the whole answer: calls (Call(")


def test_a_server_that_does_not_repeat_itself() -> None:
    """Where whole answers differ among themselves, nothing follows from a stream that differs."""
    numbers = iter(range(42, 99))
    counting = Scripted(say=lambda answer, _: replace(answer, text=f"It is {next(numbers)}."))
    came = row(counting, "chat none stream plain", structure_only=True)
    assert came.outcome is Outcome.OK
    assert came.reason == "the server does not repeat itself: text 'It is 43.' and 'It is 42.'"


def test_nothing_to_compare_with() -> None:
    """Where the whole answer fails, the stream is judged by itself."""
    broken = Scripted(whole=lambda body: {})
    whole, stream = rows(broken, "chat none whole plain", "chat none stream plain")
    assert whole.outcome is Outcome.FAILED
    assert (stream.outcome, stream.reason) == (Outcome.OK, "not compared: there is no whole answer")


@pytest.mark.parametrize("status", [404, 405, 501])
def test_a_dialect_that_is_not_offered(status: int) -> None:
    """A route that is not there is not a fault; it is tried once."""
    scripted = Scripted(instead=lambda request: httpx.Response(status, text="no such route"))
    came = rows(
        scripted, "messages none whole plain", "messages high stream tool", "messages whole long-prompt"
    )
    assert [(one.outcome, one.reason) for one in came] == [(Outcome.SKIPPED, "not offered")] * 3
    assert scripted.asked == [("/v1/messages", {"model": "scripted"})]


def test_an_effort_that_is_not_known() -> None:
    """A server that refuses an effort by name is not asked for it again; its other efforts are."""

    def instead(request: httpx.Request) -> httpx.Response | None:
        return httpx.Response(400, text="reasoning_effort: none?") if b'"none"' in request.content else None

    names = ("chat none whole plain", "chat none stream plain", "chat high whole plain")
    scripted = Scripted(instead=instead)
    came = rows(scripted, *names)
    assert [one.outcome for one in came] == [Outcome.SKIPPED, Outcome.SKIPPED, Outcome.OK]
    assert came[1].reason == "effort none not known: 400: 'reasoning_effort: none?'"
    assert len(scripted.asked) == 3


@pytest.mark.parametrize("how", ["whole", "stream"])
@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (httpx.Response(500, text="oh"), "500: 'oh'"),
        (httpx.Response(429, text="slower"), "429: 'slower'"),
        (httpx.Response(200, text="<html>"), ""),
    ],
)
def test_no_answer(how: str, answer: httpx.Response, said: str) -> None:
    """An error instead of an answer is a fault, with what it says."""
    came = row(Scripted(instead=lambda request: answer), f"chat none {how} plain")
    assert came.outcome is Outcome.FAILED
    assert came.reason.startswith(
        said or {"whole": "body: is no JSON", "stream": "content-type: of a s"}[how]
    )


@pytest.mark.parametrize("how", ["whole", "stream"])
def test_a_connection_that_breaks(how: str) -> None:
    """What the connection does is told, and the next cell is asked."""

    def instead(request: httpx.Request) -> httpx.Response | None:
        if b"messages" in request.content:
            raise httpx.ReadTimeout("too slow")
        return None

    came = row(Scripted(instead=instead), f"chat none {how} plain")
    assert (came.outcome, came.reason) == (Outcome.FAILED, "ReadTimeout: too slow")


def test_a_refusal_that_quotes_the_effort() -> None:
    """It is a fault where the effort has been answered: the server knows it, and refuses something else."""

    def instead(request: httpx.Request) -> httpx.Response | None:
        body = request.content.decode()
        return httpx.Response(400, text=f"tools are not permitted: {body}") if '"tools"' in body else None

    came = rows(
        Scripted(instead=instead), "chat high whole plain", "chat high whole tool", "chat high stream tool"
    )
    assert [one.outcome for one in came] == [Outcome.OK, Outcome.FAILED, Outcome.FAILED]
