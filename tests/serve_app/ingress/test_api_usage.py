"""What is a stream charged to a tenant with a limit of tokens, and what does the client see of it?"""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from serve_app.config import Ingress
from serve_app.ingress.auth import key_hash
from tests.serve_app.ingress.asking import CHAT, SSE, body
from tests.serve_app.samples import System, api, client, head, system

TEXT = b'data: {"id":"1","choices":[{"delta":{"content":"a b c"}}]}\n\n'
FIGURES = b'data: {"id":"1","choices":[],"usage":{"prompt_tokens":4,"total_tokens":7}}\n\n'
DONE = b"data: [DONE]\n\n"


async def answers(folder: Path, limit: str, **fields: Any) -> tuple[System, list[httpx.Response]]:
    """Ask for a stream, and then once more."""
    keys = folder / "keys.yaml"
    keys.write_text(f'tenants: [{{name: one, keys: ["{key_hash(b"vk-one")}"]{limit}}}]')
    limits = Ingress.model_validate({"auth": {"keys_file": str(keys)}})
    parts = system({"t1": (head("t1", SSE), TEXT, FIGURES, DONE)})
    asked = body(stream=True, **fields)
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
    assert options(parts) == {"include_usage": True, "continuous_usage_stats": False}
    assert first.content == TEXT + DONE
    # The second one's head goes out when its own prompt has been estimated, beside the 7 of the first.
    estimate = 1000 - int(first.headers["x-ratelimit-remaining-tokens"])
    assert int(second.headers["x-ratelimit-remaining-tokens"]) == 1000 - 7 - estimate


@pytest.mark.parametrize(
    ("limit", "fields"),
    [("", {}), (", tokens_per_min: 1000", {"stream_options": {"include_usage": True}})],
    ids=["no limit", "asked for"],
)
async def test_otherwise_nothing_changes(tmp_path: Path, limit: str, fields: dict[str, Any]) -> None:
    """Without a limit nobody counts; who asks gets the figures."""
    parts, (first, _) = await answers(tmp_path, limit, **fields)
    assert options(parts) == fields.get("stream_options")
    assert first.content == TEXT + FIGURES + DONE
