"""How do vLLM's streams of messages and responses say what is wrong with a request?

Reason: vLLM finds some mistakes only when the stream has begun. Its chat stream then opens with an error; the
other two dialects, which are written over it, lose what it says.

Upstream symptom (vLLM 0.29.0): a streamed /v1/messages request that the engine refuses ends in `event: error`
with "validation errors for ChatCompletionStreamResponse"; a streamed /v1/responses request ends right after
`response.in_progress`, and the server logs "Exception in ASGI application".

No longer needed when: `tests/serve_app/engine/test_stream_errors.py` passes without `install`.
"""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from functools import wraps
from typing import Any

PRELUDE = ("response.created", "response.in_progress")
"""What vLLM says of a response before the engine has looked at it."""


def install() -> None:
    """Mend both routes of this process's vLLM; calling it again changes nothing."""
    from vllm.entrypoints.anthropic.serving import AnthropicServingMessages
    from vllm.entrypoints.openai.responses import api_router

    if not hasattr(AnthropicServingMessages.message_stream_converter, "__wrapped__"):
        AnthropicServingMessages.message_stream_converter = messages(
            AnthropicServingMessages.message_stream_converter
        )
        api_router._convert_stream_to_sse_events = responses(api_router._convert_stream_to_sse_events)


def messages(convert: Callable[..., AsyncGenerator[str, None]]) -> Callable[..., AsyncGenerator[str, None]]:
    """Wrap the converter from chat events to Anthropic's: an error of the chat stream ends it in words."""

    @wraps(convert)
    async def converted(self: Any, generator: AsyncGenerator[str, None]) -> AsyncGenerator[str, None]:
        failure: dict[str, Any] | None = None

        async def before_failure() -> AsyncIterator[str]:
            nonlocal failure
            async for item in generator:
                if item.startswith('data: {"error"'):
                    failure = json.loads(item.removeprefix("data: "))["error"]
                    return
                yield item

        async for event in convert(self, before_failure()):
            yield event
        if failure is not None:
            code = failure.get("code")
            kinds = {400: "invalid_request_error", 404: "not_found_error"}
            error = {"type": kinds.get(code, "api_error"), "message": failure.get("message")}  # type: ignore[arg-type]
            yield f"event: error\ndata: {json.dumps({'type': 'error', 'error': error})}\n\n"

    return converted


def responses(write: Callable[..., AsyncGenerator[str, None]]) -> Callable[..., AsyncGenerator[str, None]]:
    """Wrap the writer of response events: an exception becomes the API's error event.

    The prelude waits for the engine's first word, so that a refusal comes before anything else.
    """

    @wraps(write)
    async def written(generator: AsyncGenerator[Any, None]) -> AsyncGenerator[str, None]:
        from vllm.entrypoints.serve.exception_handling.error_response import create_error_response

        held: list[str] = []
        num_events = 0
        try:
            async for event in write(generator):
                if num_events == 0 and event.startswith(tuple(f"event: {name}\n" for name in PRELUDE)):
                    held.append(event)
                    continue
                for earlier in held:
                    num_events += 1
                    yield earlier
                held.clear()
                num_events += 1
                yield event
            for earlier in held:
                yield earlier
        except Exception as error:
            said = create_error_response(error).error
            data = {
                "type": "error",
                "code": str(said.code),
                "message": said.message,
                "param": said.param,
                "sequence_number": num_events,
            }
            yield f"event: error\ndata: {json.dumps(data)}\n\n"

    return written
