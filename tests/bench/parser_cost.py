"""What does vLLM's parser cost a request, as shipped and with its table built once?

    python -m tests.bench.parser_cost [--repeat N] [--tokenizer FOLDER]

Needs no engine. Times are processor times of one thread: so long does the server's event loop stand still.
"""

import argparse
import inspect
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from serve_app.config import PROJECT_ROOT

TOKENIZER = PROJECT_ROOT / "deploy" / "pocket" / "target"
TEXT = "The answer to the question is a number, and the number is 42."
PARSERS_PER_REQUEST = 3
"""Of a streamed chat: before the prompt is rendered, while it is, and when the answer begins."""


def main() -> None:
    """Print a table of medians in ms."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--repeat", type=int, default=20)
    options.add_argument("--tokenizer", type=Path, default=TOKENIZER)
    given = options.parse_args()

    from vllm.parser.engine import streaming_parser_engine
    from vllm.tokenizers.mistral import MistralTokenizer

    from parallel.vllm_plugin import parser_cache

    tokenizer: Any = MistralTokenizer.from_pretrained(str(given.tokenizer))
    shipped: Any = inspect.unwrap(streaming_parser_engine._build_drop_info)
    memoised = parser_cache.memoised(shipped)
    deltas = in_deltas(tokenizer)
    print("| parser | construct (ms) | parse 1 answer (ms) | a streamed request (ms) |")
    print("|---|---:|---:|---:|")
    for name, build in (("as shipped", shipped), ("memoised", memoised)):
        vars(streaming_parser_engine)["_build_drop_info"] = build
        construct_ms = median_ms(lambda: make(tokenizer), given.repeat)
        parsers = iter([make(tokenizer) for _ in range(given.repeat + 1)])
        parse_ms = median_ms(lambda: parse(next(parsers), deltas), given.repeat)  # noqa: B023  # called at once
        request_ms = PARSERS_PER_REQUEST * construct_ms + parse_ms
        print(f"| {name} | {construct_ms:.2f} | {parse_ms:.2f} | {request_ms:.2f} |")


def make(tokenizer: Any) -> Any:
    """Return a new parser, as vLLM's server makes it."""
    from vllm.parser.mistral import MistralParser

    return MistralParser(tokenizer, None)


def in_deltas(tokenizer: Any) -> list[tuple[str, list[int]]]:
    """Return an answer token by token, as (text, ids)."""
    ids = tokenizer.encode(TEXT, add_special_tokens=False)
    return [(tokenizer.decode([token]), [token]) for token in ids]


def parse(parser: Any, deltas: list[tuple[str, list[int]]]) -> None:
    """Send one answer through a fresh parser."""
    from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest

    request = ChatCompletionRequest(messages=[{"role": "user", "content": "What is 6 x 7?"}])
    for number, (text, ids) in enumerate(deltas, start=1):
        parser.parse_delta(text, ids, request, [], finished=number == len(deltas))


def median_ms(work: Callable[[], object], repeat: int) -> float:
    """Return the median processor time of `work` in ms, after one call to warm up."""
    work()
    return median(_once_ms(work) for _ in range(repeat))


def _once_ms(work: Callable[[], object]) -> float:
    began_s = time.thread_time()
    work()
    return (time.thread_time() - began_s) * 1e3


if __name__ == "__main__":
    main()
