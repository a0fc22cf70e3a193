"""What does a replica's server cost a streamed request: as vLLM ships it, and with what makes it cheaper?

    python -m tests.bench.server_cost [--requests N] [--tokens N] [--rounds N]

vLLM's own server and our code around it, as a replica runs them, on an engine core that has its tokens
ready. Processor time of the whole process; what Ray Serve and the wire add is not in it.
"""

import argparse
import asyncio
import json
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import median
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from serve_app import serve_file
from serve_app.config import PROJECT_ROOT, resolve
from serve_app.types import Call, Head

SERVE_FILE = PROJECT_ROOT / "deploy" / "local.yaml"
POOL = "throughput"
TEXT = "The answer to the question is a number. Each of them has three apples and a pear; the sum is 42.\n"
NUM_PROMPT_TOKENS = 512
TOKENS_AN_EVENT = 4
"""The file's `stream_interval`."""
TURNS_A_STEP = 8
"""Of the event loop, between two steps: enough for every stream to hand on its chunk before the next one."""

Setting = Callable[[], None]


class ReadyCore:
    """Stands in for vLLM's client of its engine core: each step brings a token for every request."""

    engine_ranks_managed = (0,)
    resources = SimpleNamespace(engine_dead=False)

    def __init__(self, tokens: Sequence[int]) -> None:
        self._tokens = tokens
        self._left: dict[str, int] = {}
        self._arrived = asyncio.Event()

    async def get_supported_tasks_async(self) -> tuple[str, ...]:
        """Say that it generates."""
        return ("generate",)

    async def reset_mm_cache_async(self) -> None:
        """Forget no images: there are none."""

    async def add_request_async(self, request: Any) -> None:
        """Take a request, which ends after its `max_tokens`."""
        self._left[request.request_id] = request.sampling_params.max_tokens
        self._arrived.set()

    async def abort_requests_async(self, request_ids: Iterable[str]) -> None:
        """Forget requests."""
        for request_id in request_ids:
            self._left.pop(request_id, None)

    async def get_output_async(self) -> Any:
        """Return the next step's outputs; wait while there is no request."""
        from vllm.v1.engine import EngineCoreOutputs
        from vllm.v1.metrics.stats import SchedulerStats

        for _ in range(TURNS_A_STEP):
            await asyncio.sleep(0)
        while not self._left:
            self._arrived.clear()
            await self._arrived.wait()
        outputs = [self._output(request_id) for request_id in tuple(self._left)]
        return EngineCoreOutputs(outputs=outputs, scheduler_stats=SchedulerStats())

    def _output(self, request_id: str) -> Any:
        from vllm.v1.engine import EngineCoreOutput, FinishReason

        left = self._left[request_id] = self._left[request_id] - 1
        if not left:
            del self._left[request_id]
        token = self._tokens[left % len(self._tokens)]
        return EngineCoreOutput(request_id, [token], finish_reason=None if left else FinishReason.LENGTH)

    def shutdown(self, timeout: float | None = None) -> None:
        """Stop nothing."""


def as_shipped() -> None:
    """Put vLLM's own detokenizer back, and have it read the environment each time."""
    from vllm import envs
    from vllm.v1.engine import detokenizer

    from parallel.vllm_plugin.detokenizer import LookupDetokenizer

    vars(detokenizer)["SlowIncrementalDetokenizer"] = LookupDetokenizer.__base__
    envs.disable_envs_cache()


def lookup() -> None:
    """As shipped, but for the detokenizer."""
    from parallel.vllm_plugin import detokenizer

    as_shipped()
    detokenizer.install()


def as_served() -> None:
    """As a replica runs it."""
    from vllm import envs

    lookup()
    envs.enable_envs_cache()


SETTINGS: Mapping[str, Setting] = {
    "as shipped": as_shipped,
    "plain tokens looked up": lookup,
    "and the environment read once": as_served,
}


async def start() -> tuple[Any, Any]:
    """Return a server on a ready core, and its tokenizer."""
    from vllm.tokenizers.mistral import MistralTokenizer
    from vllm.v1.engine.core_client import EngineCoreClient

    from serve_app.engine.arguments import engine_arguments
    from serve_app.engine.vllm import VllmServer

    settings = serve_file.load(SERVE_FILE).settings
    os.environ.update(settings.engine_environment(POOL))
    tokenizer: Any = MistralTokenizer.from_pretrained(str(resolve(settings.model.path)))
    core = ReadyCore(tokenizer.encode(TEXT, add_special_tokens=False))
    with patch.object(EngineCoreClient, "make_async_mp_client", lambda **given: core):
        return await VllmServer.start(engine_arguments(settings, POOL)), tokenizer


def calls(tokenizer: Any, num_tokens: int) -> dict[str, Call]:
    """Return a stream's request of each kind, for answers of `num_tokens`: of text, and of token ids."""
    text = TEXT * NUM_PROMPT_TOKENS
    prompt = tokenizer.encode(text)[:NUM_PROMPT_TOKENS]
    chat = {"messages": [{"role": "user", "content": tokenizer.decode(prompt)}], "reasoning_effort": "none"}
    common = {"model": "mistral-small-4", "max_tokens": num_tokens, "ignore_eos": True, "stream": True}
    asked = {"/v1/chat/completions": chat, "/v1/completions": {"prompt": prompt}}
    headers = ((b"content-type", b"application/json"),)
    return {
        path: Call("POST", path, headers, json.dumps(common | body).encode()) for path, body in asked.items()
    }


async def answer(server: Any, call: Call) -> int:
    """Read one answer; return how many events it had. Raises RuntimeError if it does not end well."""
    body = b"".join([item async for item in server.call(call) if not isinstance(item, Head)])
    if not body.endswith(b"data: [DONE]\n\n") or b'"error"' in body:
        raise RuntimeError(f"{call.path}: {body[-500:].decode()}")
    return body.count(b"data: ") - 1


async def cost_ms(server: Any, call: Call, num_requests: int) -> float:
    """Return processor ms a request, of so many at once."""
    began_s = time.process_time()
    num_events = await asyncio.gather(*(answer(server, call) for _ in range(num_requests)))
    took_s = time.process_time() - began_s
    # Fewer events, of more tokens each, would cost less: a step that came too early.
    assert min(num_events) * TOKENS_AN_EVENT >= json.loads(call.body)["max_tokens"], num_events
    return took_s * 1e3 / num_requests


async def measure(num_requests: int, num_tokens: int, num_rounds: int) -> dict[str, dict[str, float]]:
    """Return the median cost in ms by setting and path; the settings take turns, after a round to warm up."""
    server, tokenizer = await start()
    costs: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    try:
        for round_ in range(num_rounds + 1):
            for name, install in SETTINGS.items():
                install()
                for path, call in calls(tokenizer, num_tokens).items():
                    cost = await cost_ms(server, call, num_requests)
                    if round_:
                        costs[name][path].append(cost)
    finally:
        server.close()
    return {name: {path: median(each) for path, each in found.items()} for name, found in costs.items()}


def table(costs: Mapping[str, Mapping[str, float]]) -> str:
    """Return the costs in ms as a table, a row a setting."""
    paths = tuple(next(iter(costs.values())))
    lines = [f"| | {' | '.join(f'`{path}`, ms' for path in paths)} |", f"|---|{'---:|' * len(paths)}"]
    lines += [
        f"| {name} | {' | '.join(f'{found[path]:.1f}' for path in paths)} |" for name, found in costs.items()
    ]
    return "\n".join(lines)


def main() -> None:
    """Print a table of medians."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--requests", type=int, default=64, help="at once")
    options.add_argument("--tokens", type=int, default=256, help="of each answer")
    options.add_argument("--rounds", type=int, default=5)
    given = options.parse_args()
    print(table(asyncio.run(measure(given.requests, given.tokens, given.rounds))))


if __name__ == "__main__":
    main()
