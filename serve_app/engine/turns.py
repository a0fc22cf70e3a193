"""What does a client hear of turns that Mistral's encoder has no words for? That it is they that are wrong.

Reason: vLLM's types allow turns of other models' formats, and it stumbles over them later.

Upstream symptom (vLLM 0.29.0): a chat with a message in Harmony's form, and a response whose input has an
item such as `file_search_call`, `local_shell_call_output` or a message without content, end in an
AttributeError, KeyError or IndexError, and so in a 500 of the server.

No longer needed when: `tests/serve_app/engine/test_turns.py` passes without `install`.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any


def install() -> None:
    """Mend both routes of this process's vLLM; calling it again changes nothing."""
    from vllm.entrypoints.openai.responses import serving
    from vllm.renderers.online_renderer import _mt as mt

    # The tokenizer's module as the routes know it: a copy, once it is loaded.
    if not hasattr(mt.maybe_serialize_tool_calls, "__wrapped__"):
        mt.maybe_serialize_tool_calls = of_chat(mt.maybe_serialize_tool_calls)
        serving.construct_input_messages = of_responses(serving.construct_input_messages)


def of_chat(look: Callable[[Any], None]) -> Callable[[Any], None]:
    """Wrap the first look at a chat's messages. Raises VLLMValidationError for one that is none."""

    @wraps(look)
    def looked(request: Any) -> None:
        check(request.messages, "messages")
        look(request)

    return looked


def of_responses(construct: Callable[..., list[Any]]) -> Callable[..., list[Any]]:
    """Wrap the function that makes messages of a response's input. Raises VLLMValidationError likewise."""

    @wraps(construct)
    def constructed(**given: Any) -> list[Any]:
        from vllm.exceptions import VLLMValidationError

        try:
            messages = construct(**given)
        except (AttributeError, IndexError, KeyError, TypeError) as error:
            raise VLLMValidationError("input: an item is empty or not complete", parameter="input") from error
        check(messages, "input")
        return messages

    return constructed


def check(turns: Sequence[Any], param: str) -> None:
    """Raise VLLMValidationError, naming the kind, if one of `turns` is no message with a role."""
    from vllm.exceptions import VLLMValidationError

    for turn in turns:
        is_mapping = isinstance(turn, Mapping)
        if not is_mapping or not isinstance(turn.get("role"), str):
            kind = turn.get("type") if is_mapping else getattr(turn, "type", None)
            raise VLLMValidationError(
                f"{param}: a turn of type {kind!r}, without a role, is not known to this model",
                parameter=param,
            )
