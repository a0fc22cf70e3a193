"""Which prompts should cover all that two implementations could understand differently?

Everything is encoded by mistral-common's chat request encoder with the checkpoint's own vocabulary, and drawn
from one seed.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from mistral_common.protocol.instruct.request import ChatCompletionRequest
from mistral_common.tokens.tokenizers.mistral import MistralTokenizer
from PIL import Image

IMAGE_SIZES = [
    [(56, 84)],
    [(112, 112)],
    [(140, 56)],
    [(224, 224)],
    [(500, 310)],
    [(56, 84), (112, 112)],
    [(140, 56), (30, 99)],
    [(20, 20), (84, 28)],
]
"""Width and height of the images of each prompt: a whole number of tokens a side, between two, below one, and
more than the model takes. (transformers fails on a prompt whose only image is a single token.)
"""
NUM_WORDS = [1, 3, 20, 60, 250]
WORDS = ["a", "and", "answer", "cat", "city", "cuatro", "deux", "green", "house", "one", "quatre", "river"]

Messages = list[dict[str, Any]]
Pixels = npt.NDArray[np.float32]


Kind = Literal["text", "long", "image"]


@dataclass(frozen=True)
class Case:
    """One prompt, as tokens and as what images became for the model: `pixels`, each [3, height, width].

    `images` are the same pictures before that.
    """

    name: str
    kind: Kind
    tokens: list[int]
    images: list[Image.Image]
    pixels: list[Pixels]


class Prompts:
    """Draws prompts for the checkpoint in `folder`; the same for the same files."""

    def __init__(self, folder: Path) -> None:
        params = json.loads((folder / "params.json").read_text())
        self._original_length = params["llama_4_scaling"]["original_max_position_embeddings"]
        self._tokenizer = MistralTokenizer.from_file(str(folder / "tekken.json"))
        self._rng = np.random.default_rng(0)

    def cases(self) -> list[Case]:
        """Twenty prompts."""
        texts = [self._text(f"{count} words", "text", self._words(count)) for count in NUM_WORDS]
        longs = [self._long(times * self._original_length) for times in (1, 2)]
        images = [self._images(sizes) for sizes in IMAGE_SIZES]
        return [*texts, *self._conversations(), *longs, *images]

    def _conversations(self) -> list[Case]:
        """Requests with what else a chat has: a system prompt, effort, earlier turns, tools and results."""
        system = {"role": "system", "content": "Answer in French."}
        question = {"role": "user", "content": "What is 17 * 23 + 4?"}
        answered = {"role": "assistant", "content": "395"}
        turns: Messages = [question, answered, {"role": "user", "content": "And now - 5?"}]
        parameters = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
        tools = [{"type": "function", "function": {"name": "weather", "parameters": parameters}}]
        function = {"name": "weather", "arguments": '{"city": "Oslo"}'}
        call = {"id": "call00001", "type": "function", "function": function}
        result = {"role": "tool", "tool_call_id": "call00001", "name": "weather", "content": "-3, snow"}
        called: Messages = [question, {"role": "assistant", "tool_calls": [call]}, result]
        return [
            self._case("system prompt", "text", [system, question]),
            self._case("high effort", "text", [question], reasoning_effort="high"),
            self._case("turns", "text", turns),
            self._case("tools", "text", [question], tools=tools),
            self._case("tool result", "text", called, tools=tools),
        ]

    def _text(self, name: str, kind: Kind, text: str) -> Case:
        return self._case(name, kind, [{"role": "user", "content": text}])

    def _long(self, length: int) -> Case:
        """A text of somewhat more tokens than that."""
        text = self._words(length // 2)
        while len((case := self._text(f"past {length} tokens", "long", text)).tokens) <= length:
            text += " " + self._words(length // 40)
        return case

    def _images(self, sizes: list[tuple[int, int]]) -> Case:
        """A prompt with images of these sizes, words before, between and after them."""
        images = [self._image(*size) for size in sizes]
        content: list[dict[str, Any]] = [{"type": "text", "text": self._words(4)}]
        for image in images:
            content += [{"type": "image", "image": image}, {"type": "text", "text": self._words(2)}]
        name = "image " + " and ".join(f"{width} x {height}" for width, height in sizes)
        return self._case(name, "image", [{"role": "user", "content": content}], images)

    def _case(
        self,
        name: str,
        kind: Kind,
        messages: Messages,
        images: Sequence[Image.Image] = (),
        **rest: Any,
    ) -> Case:
        encoded = self._tokenizer.encode_chat_completion(ChatCompletionRequest(messages=messages, **rest))
        return Case(name, kind, encoded.tokens, list(images), encoded.images)

    def _words(self, count: int) -> str:
        """Common words at random; each is at least one token."""
        return " ".join(self._rng.choice(WORDS, count))

    def _image(self, width: int, height: int) -> Image.Image:
        """A picture with noise, a gradient and an edge, so that no two patches are alike."""
        y, x = np.mgrid[:height, :width]
        pixels = self._rng.integers(0, 96, (height, width, 3)) + (96 * x / width)[..., None]
        pixels[y > height / 3] += 60
        return Image.fromarray(pixels.astype(np.uint8))
