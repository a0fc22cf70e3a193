"""How is an engine stepped by hand, in this process?"""

import argparse
import os
from collections.abc import Mapping
from random import Random
from typing import Any

from parallel.bench import command
from parallel.bench.case import with_extra

MOST_TOKENS = 1024
"""More than a request gets in all its steps."""


class Stepped:
    """An engine in this process that takes a step when it is told to."""

    def __init__(self, arguments: Mapping[str, Any], params: Mapping[str, Any], seed: int) -> None:
        from vllm import LLM

        self.params = params
        self._engine = LLM(**arguments).llm_engine
        vocab = params["vocab_size"]
        self._ids = range(vocab // 2, vocab)  # below are control tokens and bytes
        self._random = Random(seed)

    @property
    def scheduler(self) -> Any:
        """What decides which tokens a step is of."""
        return self._engine.engine_core.engine_core.scheduler

    def add(self, requests: int, prompt_tokens: int, max_tokens: int = MOST_TOKENS) -> list[str]:
        """Add requests of random tokens, and return their names."""
        from vllm import SamplingParams

        sampling = SamplingParams(temperature=0.0, max_tokens=max_tokens, ignore_eos=True, detokenize=False)
        names = [f"{requests}-{place}" for place in range(requests)]
        for name in names:
            prompt = {"prompt_token_ids": self._random.choices(self._ids, k=prompt_tokens)}
            self._engine.add_request(name, prompt, sampling)
        return names

    def step(self, steps: int) -> None:
        """Take so many steps."""
        for _ in range(steps):
            self._engine.step()

    def read(self, warm_steps: int) -> None:
        """Take the steps that read all prompts, and some more that warm up what follows."""
        while self._is_reading():
            self._engine.step()
        self.step(warm_steps)

    def _is_reading(self) -> bool:
        running = self.scheduler.running
        return bool(self.scheduler.waiting) or any(
            request.num_computed_tokens < request.num_prompt_tokens for request in running
        )

    def drop(self, names: list[str]) -> None:
        """End requests, and take the steps that were still to come of them."""
        self._engine.abort_request(names)
        self.finish()

    def finish(self) -> None:
        """Step until no request is left."""
        while self._engine.has_unfinished_requests():
            self._engine.step()


def start(options: argparse.Namespace, more: Mapping[str, Any]) -> tuple[Stepped, dict[str, Any]]:
    """Start the one engine that the options name; returned with the arguments it has.

    `more` comes before the operator's own arguments. ValueError for options that name several engines, or
    one of several ranks.
    """
    import torch

    asked = command.cases(options)
    if len(asked) != 1 or asked[0].replicas * asked[0].plan.world_size != 1:
        raise ValueError(f"only one engine of one rank is stepped, not {', '.join(one.key for one in asked)}")
    (case,) = asked
    target = command.target(options, asked)
    cuda = torch.cuda.is_available()
    os.environ |= case.environment(cuda=cuda) | dict(target.environment)
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    arguments = case.arguments(model=target.model, draft=target.draft, dummy=target.dummy, cuda=cuda)
    arguments |= {"max_model_len": options.prompt + MOST_TOKENS, "max_num_seqs": max(options.concurrency)}
    arguments = with_extra(with_extra(arguments, more), target.extra)
    return Stepped(arguments, target.params, options.seed), arguments
