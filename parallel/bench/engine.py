"""How fast does one engine answer, with so many requests at once? A process of its own: `driver` starts it.

    python -m parallel.bench.engine SPEC.json ROWS.jsonl

starts the engine that the specification describes, sends it requests of random tokens, all at once, for one
number of requests after another, and writes a line as each is done. Tokens are not turned into text, and
there is no HTTP: what is timed is the engine, and the event loop that reads from it.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any

from parallel.bench.streams import Stream, figures

WARM_REQUESTS = 64
START_TIMEOUT_S = 300.0
"""How long a replica waits for the others."""


@dataclass(frozen=True)
class Spec:
    """What `driver` hands over. Fields are plain values."""

    arguments: dict[str, Any]
    """vLLM's engine arguments."""
    levels: list[int]
    """Requests at once, of this engine's own share; 0 where it has none."""
    prompt_tokens: int
    answer_tokens: int
    warm_tokens: int
    """Tokens of each answer before the first measurement."""
    repeats: int
    seed: int
    vocab: int
    ends_at: float
    """When all must be done, by `time.time`."""
    gate: str
    """A folder where replicas meet before each measurement."""
    part: int
    parts: int


class Bench:
    """One engine under load, and the file that says how it does."""

    def __init__(self, spec: Spec, rows: Path) -> None:
        self.spec, self._rows = spec, rows
        self._random = Random(f"{spec.seed} {spec.part}")
        self._number = 0
        self._engine: Any = None

    async def run(self) -> None:
        """Start, warm up, measure, stop."""
        began = time.monotonic()
        self._start()
        try:
            cache = self._engine.vllm_config.cache_config
            self.write(event="started", seconds=time.monotonic() - began, kv_blocks=cache.num_gpu_blocks)
            await self._warm()
            self.write(event="warm", seconds=time.monotonic() - began)
            for level, requests in enumerate(self.spec.levels):
                await self._level(level, requests)
        finally:
            self._engine.shutdown()

    def _start(self) -> None:
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.v1.engine.async_llm import AsyncLLM

        from parallel.vllm_plugin.fixes import require

        config = AsyncEngineArgs(**self.spec.arguments).create_engine_config()
        require(config)
        self._engine = AsyncLLM.from_vllm_config(config, disable_log_stats=True)

    async def _warm(self) -> None:
        """Let it compile what it compiles late, and balance experts if it does."""
        most = max(self.spec.levels)
        for requests, tokens in ((1, 8), (most, 8), (min(most, WARM_REQUESTS), self.spec.warm_tokens)):
            if requests:
                await self._in_time(self._wave(requests, tokens))

    async def _level(self, level: int, requests: int) -> None:
        """Measure one number of requests, as often as there is time for it."""
        spent = 0.0
        for repeat in range(self.spec.repeats):
            if repeat and time.time() + 1.5 * spent > self.spec.ends_at and self.spec.parts == 1:
                break
            await self._meet(f"{level}-{repeat}")
            if not requests:
                continue
            began = time.monotonic()
            streams = await self._in_time(self._wave(requests, self.spec.answer_tokens))
            spent = time.monotonic() - began
            found = figures(streams)
            self.write(event="measured", level=level, repeat=repeat, figures=asdict(found))

    async def _wave(self, requests: int, tokens: int) -> list[Stream]:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        sampling = SamplingParams(
            temperature=0.0,
            max_tokens=tokens,
            ignore_eos=True,
            detokenize=False,
            output_kind=RequestOutputKind.DELTA,
        )
        prompts = [self._prompt() for _ in range(requests)]
        return list(await asyncio.gather(*(self._request(prompt, sampling) for prompt in prompts)))

    def _prompt(self) -> list[int]:
        """Random words: the lower ids of the vocabulary are control tokens and bytes."""
        ids = range(self.spec.vocab // 2, self.spec.vocab)
        return self._random.choices(ids, k=self.spec.prompt_tokens)

    async def _request(self, prompt: list[int], sampling: Any) -> Stream:
        self._number += 1
        stream = Stream(time.perf_counter())
        async for output in self._engine.generate(
            {"prompt_token_ids": prompt}, sampling, f"bench-{self._number}"
        ):
            if number := len(output.outputs[0].token_ids):
                stream.events.append((time.perf_counter(), number))
        return stream

    async def _in_time(self, work: Awaitable[Any]) -> Any:
        """Wait for work until the time is up; TimeoutError then."""
        return await asyncio.wait_for(work, max(0.1, self.spec.ends_at - time.time()))

    async def _meet(self, name: str) -> None:
        """Wait until all replicas are here; TimeoutError if one does not come."""
        folder = Path(self.spec.gate)
        (folder / f"{name}.{self.spec.part}").touch()
        others = [folder / f"{name}.{part}" for part in range(self.spec.parts)]
        until = time.monotonic() + START_TIMEOUT_S
        while not all(other.exists() for other in others):
            if time.monotonic() > until:
                raise TimeoutError(f"not all {self.spec.parts} replicas came to {name}")
            await asyncio.sleep(0.005)

    def write(self, **values: object) -> None:
        """Add a line to the file."""
        with self._rows.open("a") as file:
            file.write(json.dumps(values) + "\n")


def main() -> None:
    """Run a specification; whatever goes wrong is the file's last line."""
    spec = Spec(**json.loads(Path(sys.argv[1]).read_text()))
    bench = Bench(spec, Path(sys.argv[2]))
    try:
        asyncio.run(bench.run())
    except BaseException as error:
        bench.write(event="failed", error=f"{type(error).__name__}: {str(error)[:2000]}")
        raise
    os._exit(0)  # vLLM's threads may linger after a shutdown that was complete


if __name__ == "__main__":
    main()
