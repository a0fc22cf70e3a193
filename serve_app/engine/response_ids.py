"""Has an item of a streamed response the same id in its own events and in the response at the end?

Reason: vLLM makes the items of `response.completed` by parsing the whole text once more, with new ids.

Upstream symptom (vLLM 0.29.0): the ids and call ids in `response.output_item.done` are not those in the
output of `response.completed`. A client that has answered a call as it came has answered another one.

No longer needed when: `tests/serve_app/engine/test_response_ids.py` passes without `install`.
"""

from collections.abc import AsyncGenerator, Callable
from functools import wraps
from typing import Any

IDS = ("id", "call_id")


def install() -> None:
    """Mend the route of this process's vLLM; calling it again changes nothing."""
    from vllm.entrypoints.openai.responses.serving import OpenAIServingResponses

    if not hasattr(OpenAIServingResponses.responses_stream_generator, "__wrapped__"):
        OpenAIServingResponses.responses_stream_generator = kept(
            OpenAIServingResponses.responses_stream_generator
        )


def kept(stream: Callable[..., AsyncGenerator[Any, None]]) -> Callable[..., AsyncGenerator[Any, None]]:
    """Wrap the generator of response events: the last one's items have the ids that were streamed."""

    @wraps(stream)
    async def with_ids(*given: Any, **named: Any) -> AsyncGenerator[Any, None]:
        done: list[Any] = []
        async for event in stream(*given, **named):
            if event.type == "response.output_item.done":
                done.append(event.item)
            elif event.type == "response.completed":
                for streamed, item in zip(done, event.response.output, strict=False):
                    if streamed.type == item.type:
                        for name in IDS:
                            if hasattr(streamed, name):
                                setattr(item, name, getattr(streamed, name))
            yield event

    return with_ids
