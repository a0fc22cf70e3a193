"""What is a stream charged to its tenant, and what does the client see of it?"""

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from serve_app.config import Ingress
from serve_app.engine.scripted import Step
from serve_app.errors import PoolBusy
from serve_app.ingress.auth import key_hash
from tests.serve_app.ingress.asking import CHAT, SSE, body
from tests.serve_app.samples import System, api, cancel, client, head, system, until

TEXT = b'data: {"id":"1","choices":[{"delta":{"content":"a b c"}}]}\n\n'
FIGURES = (
    b'data: {"id":"1","choices":[],"usage":{"prompt_tokens":4,"total_tokens":7,"completion_tokens":3}}\n\n'
)
DONE = b"data: [DONE]\n\n"


SCRIPT: tuple[Step, ...] = (head("t1", SSE), TEXT, FIGURES, DONE)


async def answers(
    folder: Path, limit: str, script: tuple[Step, ...] = SCRIPT, **fields: Any
) -> tuple[System, list[httpx.Response]]:
    """Ask for a stream, and then once more."""
    keys = folder / "keys.yaml"
    keys.write_text(f'tenants: [{{name: one, keys: ["{key_hash(b"vk-one")}"]{limit}}}]')
    limits = Ingress.model_validate({"auth": {"keys_file": str(keys)}})
    parts = system({"t1": script})
    asked = body(**{"stream": True} | fields)
    async with client(api(parts, limits=limits)) as http:
        headers = {"authorization": "Bearer vk-one"}
        return parts, [await http.post(CHAT, json=asked, headers=headers) for _ in range(2)]


def options(parts: System) -> Any:
    """What the engine was told of the stream."""
    _, call = parts.backends["throughput"].calls[0]
    return json.loads(call.body).get("stream_options")


async def test_the_engine_is_asked(tmp_path: Path) -> None:
    """Its own figures are charged, and are not shown to whoever did not ask."""
    parts, (first, second) = await answers(tmp_path, ", tokens_per_min: 1000")
    assert options(parts) == {"include_usage": True}
    assert first.content == TEXT + DONE
    # The second one's head goes out when its own prompt has been estimated, beside the 7 of the first.
    estimate = 1000 - int(first.headers["x-ratelimit-remaining-tokens"])
    assert int(second.headers["x-ratelimit-remaining-tokens"]) == 1000 - 7 - estimate


async def test_what_nobody_answers_costs_no_tokens(tmp_path: Path) -> None:
    """A client that is told to come back later still has its tokens then."""
    _, refused = await answers(tmp_path, ", tokens_per_min: 1000", (PoolBusy("full"),))
    assert [answer.status_code for answer in refused] == [503, 503]
    assert [answer.headers["x-ratelimit-remaining-tokens"] for answer in refused] == ["1000", "1000"]


REFUSED = b'{"error":{"message":"too long","type":"BadRequestError","param":null,"code":400}}'


@pytest.mark.parametrize(
    ("script", "stream"),
    [
        ((head("t1", status=400), REFUSED), False),
        ((head("t1", SSE), b"data: " + REFUSED + b"\n\n"), True),
    ],
    ids=["whole", "stream"],
)
async def test_what_the_engine_refuses_costs_no_tokens(
    tmp_path: Path, script: tuple[Step, ...], stream: bool
) -> None:
    """A prompt that is too long does not use up what others of the tenant may ask."""
    _, refused = await answers(
        tmp_path,
        ", tokens_per_min: 1000",
        script,
        stream=stream,
        messages=[{"role": "user", "content": "x" * 3000}],
    )
    assert [answer.status_code for answer in refused] == [400, 400]
    assert (
        refused[1].headers["x-ratelimit-remaining-tokens"]
        == refused[0].headers["x-ratelimit-remaining-tokens"]
    )


@pytest.mark.parametrize("limit", ["", ", tokens_per_min: 1000"], ids=["no limit", "limit"])
async def test_who_asks_gets_the_figures(tmp_path: Path, limit: str) -> None:
    """Limit or not, the body travels as it came, and so does the answer."""
    wanted = {"include_usage": True}
    parts, (first, _) = await answers(tmp_path, limit, stream_options=wanted)
    assert options(parts) == wanted
    assert first.content == TEXT + FIGURES + DONE


async def test_the_figures_are_counted(tmp_path: Path) -> None:
    """By pool and effort, and by tenant, whether it has a limit or not."""
    parts, _ = await answers(tmp_path, "")
    where = {"pool": "throughput", "effort": "none"}
    assert parts.counted("venturi_tokens_total", kind="input", **where) == 2 * 4
    assert parts.counted("venturi_tokens_total", kind="output", **where) == 2 * 3
    assert parts.counted("venturi_tenant_tokens_total", kind="output", tenant="one") == 2 * 3
    assert parts.counted("venturi_tenant_requests_total", tenant="one", effort="none") == 2


@pytest.mark.parametrize("stream", [False, True])
async def test_a_request_that_is_cancelled_is_counted(stream: bool) -> None:
    """As abandoned, by its pool: so does Ray Serve when a client has left."""
    script = (head("t1", SSE), TEXT, 30.0) if stream else (head("t1"), b"{", 30.0)
    parts = system({"t1": script})
    async with client(api(parts)) as http:
        asked = asyncio.create_task(http.post(CHAT, json=body(stream=stream)))
        await until(lambda: parts.num_leases()["throughput"] == 1)
        await asyncio.sleep(0.05)
        await cancel(asked)
    where = {"outcome": "abandoned", "pool": "throughput", "effort": "none"}
    await until(lambda: parts.counted("venturi_answers_total", **where) == 1)
