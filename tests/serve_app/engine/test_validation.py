"""Is a wrong body answered by one line that names field, rule and value?"""

import json
from typing import Any

import pytest
from fastapi import FastAPI

from serve_app.engine import asgi, validation
from serve_app.engine.readiness import collect
from serve_app.engine.vllm import server_namespace
from serve_app.types import Call


@pytest.fixture(scope="module")
def app() -> FastAPI:
    """Routes with vLLM's types and handlers, and ours."""
    from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
    from vllm.entrypoints.openai.responses.protocol import ResponsesRequest
    from vllm.entrypoints.serve.exception_handling.register import init_exception_handler

    made = FastAPI()
    init_exception_handler(made)
    validation.install(made)

    @made.post("/chat")
    async def chat(body: ChatCompletionRequest) -> str:
        return "fine"

    @made.post("/responses")
    async def responses(body: ResponsesRequest) -> str:
        return "fine"

    return made


async def refusal(app: FastAPI, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """The error of a request that must be a 400."""
    call = Call("POST", path, ((b"content-type", b"application/json"),), json.dumps(body).encode())
    status, content = await collect(asgi.stream(app, call))
    assert status == 400, content
    error: dict[str, Any] = json.loads(content)["error"]
    assert error["code"] == 400
    return error


async def test_the_app_as_vllm_builds_it() -> None:
    """The handler holds in the whole app too, whose middleware vLLM has put together before."""
    from vllm.entrypoints.launchers.app import build_app

    app = build_app(server_namespace({"model": "deploy/pocket/target"}), ("generate",))
    validation.install(app)
    error = await refusal(app, "/v1/responses", {"model": "m"})
    assert (error["param"], error["message"]) == ("input", "input: Field required")


HELLO = [{"role": "user", "content": "Hello."}]


@pytest.mark.parametrize(
    ("path", "body", "param", "words"),
    [
        ("/chat", {"messages": "x"}, "messages", ["list", "'x'"]),
        ("/chat", {}, "messages", ["required"]),
        ("/chat", {"messages": HELLO, "top_p": "high"}, "top_p", ["number", "'high'"]),
        ("/chat", {"messages": HELLO, "stop": 7}, "stop", ["string", "7"]),
        ("/responses", {"input": 7}, "input", ["string", "7"]),
        (
            "/responses",
            {"input": [{"role": "user", "content": [{"type": "text", "text": "Hello."}]}]},
            "input.0.content.0.type",
            ["'input_text'", "'text'"],
        ),
        (
            "/responses",
            {"input": [{"role": "user", "content": [{"type": "input_image", "detail": "no"}]}]},
            "input.0.content.0.detail",
            ["'auto'", "'no'"],
        ),
    ],
)
async def test_one_line(app: FastAPI, path: str, body: dict[str, Any], param: str, words: list[str]) -> None:
    """It names the field by its path in the body, says what may be there, and what is."""
    error = await refusal(app, path, {"model": "m", **body})
    assert error["param"] == param, error
    assert "\n" not in error["message"]
    assert len(error["message"]) < 400
    for word in words:
        assert word in error["message"]


def test_a_long_value_is_cut() -> None:
    """Nobody wants a picture back."""
    errors = [
        {"type": "string_type", "loc": ("body", "user"), "msg": "Input should be text", "input": "x" * 999}
    ]
    param, message = validation.sentence(errors, {"user": "x" * 999})
    assert param == "user"
    assert message.startswith("user: Input should be text, not 'xxx")
    assert len(message) < 150


def test_a_rule_on_the_whole_body() -> None:
    """Without a field, the rule alone."""
    errors = [{"type": "value_error", "loc": ("body",), "msg": "Value error, no", "input": {}, "ctx": {}}]
    assert validation.sentence(errors, {}) == (None, "no")
