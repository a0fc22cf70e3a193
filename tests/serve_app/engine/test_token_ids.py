"""Over vLLM's own route and the pocket model's tokenizer: /detokenize with ids that are no tokens."""

import inspect
import json
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import FastAPI

from serve_app.engine import asgi, token_ids
from serve_app.engine.readiness import collect
from serve_app.types import Call


class Renderer:
    """What the route asks of vLLM's renderer, without an engine behind it."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    def get_tokenizer(self) -> Any:
        """Return the tokenizer."""
        return self._tokenizer

    async def tokenize_prompt_async(self, prompt: dict[str, Any], _: Any) -> dict[str, Any]:
        """Decode the prompt's ids."""
        return {"prompt": self._tokenizer.decode(prompt["prompt_token_ids"])}


@pytest.fixture(params=["as shipped", "mended"])
def route(
    request: pytest.FixtureRequest, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> tuple[Any, bool]:
    """The route and error handlers of vLLM, and whether they are mended."""
    from vllm.entrypoints.serve.exception_handling.register import init_exception_handler
    from vllm.entrypoints.serve.tokenize.api_router import router
    from vllm.entrypoints.serve.tokenize.serving import ServingTokenization

    shipped, is_mended = inspect.unwrap(ServingTokenization.create_detokenize), request.param == "mended"
    monkeypatch.setattr(ServingTokenization, "create_detokenize", shipped)
    if is_mended:
        token_ids.install()
    handler = ServingTokenization.__new__(ServingTokenization)
    handler.models = SimpleNamespace(is_base_model=lambda _: True, lora_requests={})
    handler.renderer, handler.model_config, handler.request_logger = Renderer(tokenizer), None, None
    app = FastAPI()
    init_exception_handler(app)
    app.include_router(router)
    app.state.serving_tokenization = handler
    app.state.args = SimpleNamespace(log_error_stack=False)
    return app, is_mended


async def detokenized(app: Any, tokens: object) -> tuple[int, dict[str, Any]]:
    """Return status and JSON of an answer."""
    headers = ((b"content-type", b"application/json"),)
    call = Call("POST", "/detokenize", headers, json.dumps({"tokens": tokens}).encode())
    status, body = await collect(asgi.stream(app, call))
    return status, json.loads(body)


@pytest.mark.parametrize("past", [0, 1, 10**9])
async def test_past_the_vocabulary(route: tuple[Any, bool], tokenizer: Any, past: int) -> None:
    """The answer names the field, the id and the vocabulary's size; as shipped there is none but a raise."""
    size = len(tokenizer)
    if not route[1]:
        with pytest.raises(KeyError, match="Invalid token for decoding"):
            await detokenized(route[0], [5, size + past, 7])
        return
    message = f"tokens: {size + past} is not in the vocabulary, whose size is {size}; "
    message += f"ids go from 0 to {size - 1}"
    assert await detokenized(route[0], [5, size + past, 7]) == (
        400,
        {"error": {"message": message, "type": "BadRequestError", "param": "tokens", "code": 400}},
    )


async def test_within_the_vocabulary(route: tuple[Any, bool], tokenizer: Any) -> None:
    """Every token reads back, the last one too, and no tokens are an empty text, mended or not."""
    for tokens in ([len(tokenizer) - 1], list(range(len(tokenizer))), []):
        assert await detokenized(route[0], tokens) == (200, {"prompt": tokenizer.decode(tokens)})


@pytest.mark.parametrize("tokens", [[-1], ["a"], "a", None])
async def test_what_vllm_refuses_itself(route: tuple[Any, bool], tokens: object) -> None:
    """What is no list of ids stays vLLM's own 400."""
    status, body = await detokenized(route[0], tokens)
    assert (status, "vocabulary" in str(body)) == (400, False)


def test_install_twice(route: tuple[Any, bool]) -> None:
    """The second time changes nothing."""
    from vllm.entrypoints.serve.tokenize.serving import ServingTokenization

    token_ids.install()
    first = ServingTokenization.create_detokenize
    token_ids.install()
    assert ServingTokenization.create_detokenize is first
