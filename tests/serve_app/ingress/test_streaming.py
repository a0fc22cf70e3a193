"""An answer on its way to the client: complete, broken, late, or given up."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from starlette.requests import Request

from serve_app.engine.scripted import ScriptedStream, Step
from serve_app.errors import AnswerTimeout, ApiError, ReplicaLost
from serve_app.ingress import streaming
from serve_app.ingress.shapes import Shape
from tests.serve_app.samples import cancel, gather, until

PARTS = (b'data: {"n":1}\n\n', b"data: [DONE]\n\n")


class Answer:
    """A body that replays a script, and counts its releases."""

    def __init__(self, *script: Step) -> None:
        self._script = script
        self.num_releases = 0

    async def body(self) -> AsyncIterator[bytes]:
        """Replay the script."""
        async for item in ScriptedStream(self._script):
            assert isinstance(item, bytes)
            yield item

    def release(self) -> None:
        """Count the release."""
        self.num_releases += 1


def in_s(seconds: float) -> float:
    """Return the time of the loop's clock in that many seconds."""
    return asyncio.get_running_loop().time() + seconds


def error_in(event: bytes) -> dict[str, Any]:
    """Return the error in the event that ends a broken stream."""
    before, line, *after = event.split(b"\n\n")
    assert (before, after) == (b"", [b""])
    error: dict[str, Any] = json.loads(line.removeprefix(b"data: "))["error"]
    return error


async def test_a_complete_stream() -> None:
    """What the engine sends goes out as it is; nothing is added, and the answer is released."""
    answer, errors = Answer(*PARTS), list[ApiError]()
    assert await gather(streaming.events(answer, in_s(1), errors.append)) == list(PARTS)
    assert (answer.num_releases, errors) == (1, [])


async def test_a_client_that_reads_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """What it holds is free again soon after the answer's time is over, and the log says why."""
    answer = Answer(*PARTS)
    events = streaming.events(answer, in_s(0.05), lambda _: None)
    stream = streaming.Stream(answer, events, 200, {}, in_s(0.05) - streaming.UNREAD_PATIENCE_S)

    async def receive() -> Any:
        await asyncio.Event().wait()

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()  # as a server that has sent all that a connection takes

    await asyncio.wait_for(stream({"type": "http", "asgi": {}}, receive, send), 5)
    assert answer.num_releases >= 1
    assert "did not read its stream" in caplog.text


async def test_broken_responses_go_on_counting() -> None:
    """The Responses API numbers its events: the error has the number after the last one that was sent."""
    answer = Answer(
        b"event: a\ndata: {}\n\nevent: b\ndata: {}\n\n", b"event: c\ndata: {}\n\n", ReplicaLost("x")
    )
    *_, last = await gather(streaming.events(answer, in_s(1), lambda _: None, Shape.RESPONSES))
    assert json.loads(last.split(b"data: ")[1])["sequence_number"] == 3


async def test_broken_in_the_middle() -> None:
    """A stream that breaks ends in an error event instead of [DONE]; the error is told once."""
    lost = ReplicaLost("replica t1 was lost")
    answer, errors = Answer(b'data: {"n":', lost), list[ApiError]()
    first, last = await gather(streaming.events(answer, in_s(1), errors.append))
    assert first == b'data: {"n":'
    assert error_in(last) == {
        "message": "replica t1 was lost",
        "type": "server_error",
        "param": None,
        "code": "replica_lost",
    }
    assert (answer.num_releases, errors) == (1, [lost])


async def test_past_the_deadline() -> None:
    """An answer that takes too long ends in an error event of its own, after what there was."""
    answer, errors = Answer(PARTS[0], 10.0, PARTS[1]), list[ApiError]()
    first, last = await gather(streaming.events(answer, in_s(0.03), errors.append))
    assert first == PARTS[0]
    assert (error_in(last)["type"], error_in(last)["code"]) == ("timeout_error", "answer_timeout")
    assert answer.num_releases == 1
    assert [type(error) for error in errors] == [AnswerTimeout]


async def test_our_own_bugs_are_not_dressed_up() -> None:
    """An error that is not the API's comes out as it is, and the answer is released all the same."""
    answer, errors = Answer(PARTS[0], ZeroDivisionError()), list[ApiError]()
    with pytest.raises(ZeroDivisionError):
        await gather(streaming.events(answer, in_s(1), errors.append))
    assert (answer.num_releases, errors) == (1, [])


async def test_closed_early() -> None:
    """A client that leaves in the middle releases the answer; that is no error."""
    answer, errors = Answer(*PARTS), list[ApiError]()
    stream: Any = streaming.events(answer, in_s(1), errors.append)
    await anext(stream)
    await stream.aclose()
    assert (answer.num_releases, errors) == (1, [])


async def test_cancelled_while_it_waits() -> None:
    """A stream that is cancelled between two parts releases the answer."""
    answer, errors = Answer(PARTS[0], 10.0), list[ApiError]()
    task = asyncio.create_task(gather(streaming.events(answer, in_s(20), errors.append)))
    await asyncio.sleep(0.02)
    await cancel(task)
    assert (answer.num_releases, errors) == (1, [])


async def test_whole() -> None:
    """A whole answer is its parts joined."""
    answer = Answer(b"ab", 0.01, b"c")
    assert await streaming.whole(answer, in_s(1)) == b"abc"
    assert answer.num_releases == 1


@pytest.mark.parametrize(
    ("script", "error"),
    [((b"ab", ReplicaLost("gone")), ReplicaLost), ((b"ab", 10.0), AnswerTimeout)],
)
async def test_whole_that_breaks(script: tuple[Step, ...], error: type[ApiError]) -> None:
    """An answer that breaks or is late has not begun for the client: it is an error as a whole."""
    answer = Answer(*script)
    with pytest.raises(error):
        await streaming.whole(answer, in_s(0.03))
    assert answer.num_releases == 1


class Connection:
    """A request whose client leaves when it is told to."""

    def __init__(self) -> None:
        self.gone = asyncio.Event()
        self._chunks = [{"type": "http.request", "body": b"", "more_body": False}]
        self.request = Request({"type": "http", "headers": []}, self._receive)

    async def _receive(self) -> dict[str, Any]:
        if self._chunks:
            return self._chunks.pop()
        await self.gone.wait()
        return {"type": "http.disconnect"}


class Work:
    """Some work that notes how it ended."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.was_cancelled = False

    async def __call__(self) -> str:
        """Take a while."""
        try:
            await asyncio.sleep(self._seconds)
        except asyncio.CancelledError:
            self.was_cancelled = True
            raise
        return "done"


async def test_unless_gone_returns_the_work() -> None:
    """While the client stays, the work's result or error is what comes back."""
    assert await streaming.unless_gone(Connection().request, Work(0.01)()) == "done"

    async def fail() -> str:
        raise ReplicaLost("gone")

    with pytest.raises(ReplicaLost):
        await streaming.unless_gone(Connection().request, fail())


async def test_unless_gone_stops_the_work() -> None:
    """Once the client has left, the work is cancelled, and there is nothing to return."""
    connection, work = Connection(), Work(10)
    task = asyncio.create_task(streaming.unless_gone(connection.request, work()))
    await asyncio.sleep(0.01)
    connection.gone.set()
    assert await asyncio.wait_for(task, 1) is None
    assert work.was_cancelled


async def test_cancelling_unless_gone_stops_the_work() -> None:
    """A handler that is cancelled itself waits until its work has stopped."""
    work = Work(10)
    task = asyncio.create_task(streaming.unless_gone(Connection().request, work()))
    await asyncio.sleep(0.01)
    await cancel(task)
    assert task.cancelled()
    assert work.was_cancelled


async def test_a_result_that_comes_with_the_cancellation() -> None:
    """A result that nobody can be given any more is given back."""
    ready, given_back = asyncio.get_running_loop().create_future(), list[object]()

    async def work() -> str:
        return str(await ready)

    task = asyncio.create_task(streaming.unless_gone(Connection().request, work(), given_back.append))
    await asyncio.sleep(0.01)
    ready.set_result("an answer")
    await asyncio.sleep(0)  # the work ends
    await cancel(task)
    assert task.cancelled()
    assert given_back == ["an answer"]


async def test_nothing_is_left_behind() -> None:
    """The task that listens for the disconnect ends with the work."""
    before = asyncio.all_tasks()
    await streaming.unless_gone(Connection().request, Work(0)())
    await until(lambda: asyncio.all_tasks() == before)
