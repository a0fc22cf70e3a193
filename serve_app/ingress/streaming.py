"""How does an answer travel to the client, and what does the client see when it breaks?"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Protocol, TypeVar

from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from serve_app.errors import AnswerTimeout, ApiError
from serve_app.ingress.shapes import Shape

logger = logging.getLogger("ray.serve")

T = TypeVar("T")

UNREAD_PATIENCE_S = 1.0
"""How much longer than the answer may take its client may take to read what has been sent of it."""


class Body(Protocol):
    """An answer's body that can be given up."""

    def body(self) -> AsyncIterator[bytes]:
        """Yield the body."""
        ...

    def release(self) -> None:
        """Stop the work behind it."""
        ...


async def events(
    answer: Body, deadline_s: float, on_error: Callable[[ApiError], None], shape: Shape = Shape.OPENAI
) -> AsyncIterator[bytes]:
    """Yield the body of a stream; if it breaks, or passes `deadline_s`, end it with an event in `shape`.

    `deadline_s` is a time of the event loop's clock. The answer is released however this ends, also
    when the client is gone and the generator is closed.
    """
    body = answer.body()
    num_events = 0
    try:
        while True:
            try:
                async with asyncio.timeout_at(deadline_s):
                    chunk = await anext(body)
            except StopAsyncIteration:
                return
            except TimeoutError:
                error: ApiError = AnswerTimeout("the answer took longer than ingress.request_timeout_s")
            except ApiError as caught:
                error = caught
            else:
                num_events += chunk.count(b"\n\n")
                yield chunk
                continue
            on_error(error)
            yield shape.event(error, num_events)
            return
    finally:
        answer.release()


class Stream(StreamingResponse):
    """`events` as a response that releases the answer however sending ends, also before the first byte.

    The generator alone cannot: when the head cannot be sent, it is never started, and has no `finally`; and
    while a client reads nothing, it is not asked, and does not see that `deadline_s` has passed.
    """

    def __init__(
        self,
        answer: Body,
        events: AsyncIterator[bytes],
        status: int,
        headers: Mapping[str, str],
        deadline_s: float,
    ) -> None:
        super().__init__(events, status, headers)
        self._answer, self._deadline_s = answer, deadline_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the stream."""
        try:
            async with asyncio.timeout_at(self._deadline_s + UNREAD_PATIENCE_S):
                await super().__call__(scope, receive, send)
        except TimeoutError:
            logger.warning("a client did not read its stream within ingress.request_timeout_s")
        finally:
            self._answer.release()


async def whole(answer: Body, deadline_s: float) -> bytes:
    """Return the whole body. Raises ApiError if it breaks, AnswerTimeout past `deadline_s`."""
    try:
        async with asyncio.timeout_at(deadline_s):
            return b"".join([chunk async for chunk in answer.body()])
    except TimeoutError:
        raise AnswerTimeout("the answer took longer than ingress.request_timeout_s") from None
    finally:
        answer.release()


async def unless_gone(
    request: Request, work: Awaitable[T], give_back: Callable[[T], object] = lambda _: None
) -> T | None:
    """Return what `work` returns, or None once the client has disconnected; `work` is then cancelled.

    When this call is itself cancelled just as `work` ends, `give_back` gets what nobody else will.

    Only for requests whose body has been read: it waits for the next message of the connection.
    """
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else None
    except asyncio.CancelledError:
        if task.done() and not task.cancelled() and task.exception() is None:
            give_back(task.result())
        raise
    finally:
        gone.cancel()
        if not task.done():
            task.cancel()
            await asyncio.wait({task})


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
