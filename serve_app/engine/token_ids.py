"""What does vLLM answer when it is to detokenize what is no token?

Reason: vLLM checks the ids of a prompt, but not those of /detokenize, where its tokenizer raises.

Upstream symptom (vLLM 0.29.0): POST /detokenize with an id past the vocabulary's end ends in a 500, and the
server logs "Exception in ASGI application" with "KeyError: 'Invalid token for decoding: ...'".

No longer needed when: `tests/serve_app/engine/test_token_ids.py` passes without `install`.
"""

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any


def install() -> None:
    """Mend the route of this process's vLLM; calling it again changes nothing."""
    from vllm.entrypoints.serve.tokenize.serving import ServingTokenization

    if not hasattr(ServingTokenization.create_detokenize, "__wrapped__"):
        ServingTokenization.create_detokenize = checked(ServingTokenization.create_detokenize)


def checked(detokenize: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """Wrap the method behind the route: an id that the tokenizer does not have is a 400 that names it."""

    @wraps(detokenize)
    async def answered(self: Any, request: Any, raw_request: Any) -> Any:
        from vllm.entrypoints.serve.exception_handling.error_response import create_error_response

        largest = self.renderer.get_tokenizer().max_token_id
        if (token := max(request.tokens, default=0)) > largest:
            return create_error_response(
                f"tokens: {token} is not in the vocabulary, whose size is {largest + 1}; "
                f"ids go from 0 to {largest}",
                param="tokens",
            )
        return await detokenize(self, request, raw_request)

    return answered
