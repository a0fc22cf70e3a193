"""What is the pocket model trained and tested on, and which tokens are that?

    python -m deploy.pocket.data [--show N] [--family NAME] [--split held_out] [--count N]

prints N examples of each family with their tokens counted, and how many examples a second one core makes.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import numpy.typing as npt
from mistral_common.protocol.instruct.chunk import TextChunk, ThinkChunk
from mistral_common.protocol.instruct.messages import AssistantMessage
from mistral_common.protocol.instruct.request import ChatCompletionRequest
from mistral_common.protocol.instruct.tool_calls import FunctionCall
from mistral_common.protocol.instruct.tool_calls import ToolCall as MistralToolCall
from mistral_common.protocol.instruct.validator import ValidationMode
from mistral_common.tokens.tokenizers.base import SpecialTokenPolicy
from mistral_common.tokens.tokenizers.mistral import MistralTokenizer

from deploy.pocket.families import FAMILIES
from deploy.pocket.families.draw import Draw
from deploy.pocket.families.example import Example, Split, ToolCall
from deploy.pocket.shape import Shape, write_tekken

__all__ = ["Encoded", "Encoder", "Example", "Split", "ToolCall", "examples"]


def examples(
    seed: int,
    split: Split,
    families: Sequence[str] | None = None,
    weights: Mapping[str, float] | None = None,
) -> Iterator[Example]:
    """Examples without end, the same for the same arguments.

    `families` names some of FAMILIES, or the part of their names before the dot; without it all are mixed by
    weight, of which `weights` replaces some. Raises ValueError for a name that is neither.
    """
    names = _chosen(families)
    given = weights or {}
    if unknown := given.keys() - FAMILIES.keys():
        raise ValueError(f"weights: {sorted(unknown)} are not among {sorted(FAMILIES)}")
    shares = [given.get(name, FAMILIES[name][0]) for name in names]
    # The names are part of the seed, or streams of single families would share their numbers and words.
    random = Random(f"{seed} {split} {names}")
    draw = Draw(random, split)
    while True:
        for name in random.choices(names, shares, k=64):
            yield FAMILIES[name][1](draw)


def _chosen(families: Sequence[str] | None) -> list[str]:
    if families is None:
        return list(FAMILIES)
    chosen = [name for name in FAMILIES if name in families or name.split(".")[0] in families]
    known = {*FAMILIES, *(name.split(".")[0] for name in FAMILIES)}
    if unknown := set(families) - known:
        raise ValueError(f"families: {sorted(unknown)} are not among {sorted(known)}")
    return chosen


@dataclass(frozen=True)
class Encoded:
    """One example as the model reads it.

    `tokens` [n] are the prompt's and then the answer's, which ends with the end of the text; `images` are the
    prompt's, each [3, height, width] and normalised, sides multiples of 28.
    """

    tokens: npt.NDArray[np.int32]
    num_prompt_tokens: int
    images: tuple[npt.NDArray[np.float32], ...]


class Encoder:
    """Turns examples into tokens by mistral-common's request encoder, as the server does with requests."""

    def __init__(self, tekken: Path) -> None:
        self._tokenizer = MistralTokenizer.from_file(str(tekken), mode=ValidationMode.test)

    def encode(self, example: Example) -> Encoded:
        """The tokens and images of an example."""
        request = example.request
        prompt = self._tokenizer.encode_chat_completion(
            ChatCompletionRequest.from_openai(
                messages=request["messages"],
                tools=request.get("tools"),
                reasoning_effort=request.get("reasoning_effort"),
            )
        )
        answer = self._tokenizer.instruct_tokenizer.encode_assistant_message(
            answer_message(example), is_before_last_user_message=False
        )
        return Encoded(
            tokens=np.array(prompt.tokens + answer, dtype=np.int32),
            num_prompt_tokens=len(prompt.tokens),
            images=tuple(prompt.images),
        )

    def text(self, encoded: Encoded) -> str:
        """What was encoded, control tokens written by name."""
        tokens = [int(token) for token in encoded.tokens]
        return str(self._tokenizer.decode(tokens, special_token_policy=SpecialTokenPolicy.KEEP))


def answer_message(example: Example) -> AssistantMessage:
    """The right answer as mistral-common's message."""
    content: list[Any] = []
    if example.reasoning is not None:
        content.append(ThinkChunk(thinking=example.reasoning, closed=True))
    if example.content is not None:
        content.append(TextChunk(text=example.content))
    calls = [
        MistralToolCall(id=f"call{place:05}", function=FunctionCall(name=call.name, arguments=call.arguments))
        for place, call in enumerate(example.tool_calls)
    ]
    return AssistantMessage(content=content or None, tool_calls=calls or None)


def main() -> None:
    """Print examples, sizes and speed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--show", type=int, default=1, metavar="N")
    parser.add_argument("--family", action="append")
    parser.add_argument("--split", choices=("train", "held_out"), default="train")
    parser.add_argument("--count", type=int, default=2000, help="how many examples to time")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        write_tekken(Shape(), tekken := Path(folder) / "tekken.json")
        encoder = Encoder(tekken)
    for name in _chosen(arguments.family):
        source = examples(0, arguments.split, [name])
        for _ in range(arguments.show):
            example = next(source)
            encoded = encoder.encode(example)
            sides = "".join(f", image {image.shape[2]} x {image.shape[1]}" for image in encoded.images)
            num_answer_tokens = len(encoded.tokens) - encoded.num_prompt_tokens
            print(f"== {name}, {encoded.num_prompt_tokens} + {num_answer_tokens}{sides}")
            print(encoder.text(encoded))
    source = examples(1, arguments.split, arguments.family)
    lengths: dict[str, list[int]] = {}
    started_s = time.process_time()
    for _ in range(arguments.count):
        example = next(source)
        lengths.setdefault(example.family, []).append(len(encoder.encode(example).tokens))
    duration_s = time.process_time() - started_s
    for name, found in sorted(lengths.items()):
        print(f"{name:32} {len(found) / arguments.count:6.1%} mean {np.mean(found):5.0f} most {max(found):4}")
    num_tokens = sum(map(sum, lengths.values()))
    print(
        f"{arguments.count / duration_s:.0f} examples/s, {num_tokens / duration_s:.0f} tokens/s of one core"
    )


if __name__ == "__main__":
    main()
