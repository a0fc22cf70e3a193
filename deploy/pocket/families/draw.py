"""What does a family draw from: a generator of random numbers, and the split that its content must be in?"""

import string
import zlib
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, TypeVar

from deploy.pocket.families.example import Effort, Example, Split, ToolCall

HELD_OUT_PER_MILLE = 80

T = TypeVar("T")
Content = TypeVar("Content", bound=tuple[Any, ...])


def is_held_out(*content: object) -> bool:
    """Whether content of this value belongs to the held-out split; the same in every process and version."""
    return zlib.crc32(repr(content).encode()) % 1000 < HELD_OUT_PER_MILLE


class Draw:
    """Random choices for one split.

    The generator is the caller's; two draws of equal state and split make equal examples.
    """

    def __init__(self, random: Random, split: Split) -> None:
        self.random = random
        self.split = split

    def content(
        self, sample: Callable[[], Content], held_out: Callable[[Content], bool] | None = None
    ) -> Content:
        """What `sample` returns, drawn again until it belongs to the split, by its hash or by `held_out`."""
        wanted = self.split == "held_out"
        while True:
            content = sample()
            if (is_held_out(*content) if held_out is None else held_out(content)) == wanted:
                return content

    def of(self, choices: Sequence[T]) -> T:
        """One of the choices, each as likely."""
        return choices[int(self.random.random() * len(choices))]

    def some(self, choices: Sequence[T], count: int) -> list[T]:
        """That many different places of the choices, in random order."""
        return self.random.sample(choices, count)

    def number(self, low: int, high: int) -> int:
        """An integer, both ends included."""
        return low + int(self.random.random() * (high - low + 1))

    def chance(self, probability: float) -> bool:
        """True with that probability."""
        return self.random.random() < probability

    def effort(self, high: float = 0.5) -> Effort:
        """High with that probability."""
        return "high" if self.chance(high) else "none"

    def call_id(self) -> str:
        """An id for a tool call as the model's template wants it: nine letters and digits."""
        return "".join(self.random.choices(string.ascii_letters + string.digits, k=9))

    def example(
        self,
        family: str,
        prompt: str | list[dict[str, Any]],
        content: str | None,
        *,
        key: tuple[Any, ...],
        effort: Effort,
        reasoning: str | None = None,
        system: str | None = None,
        tool_calls: tuple[ToolCall, ...] = (),
        is_json: bool = False,
        **request: Any,
    ) -> Example:
        """An example of one user message, or of the messages given; at none the reasoning is left out."""
        messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
        if system is not None:
            messages = [{"role": "system", "content": system}, *messages]
        body: dict[str, Any] = {"messages": messages, **request}
        if effort == "high" or self.chance(0.7):
            body["reasoning_effort"] = effort
        assert effort == "none" or reasoning, f"{family}: no reasoning at effort high"
        return Example(
            family=family,
            request=body,
            content=content,
            reasoning=reasoning if effort == "high" else None,
            tool_calls=tool_calls,
            key=key,
            is_json=is_json,
        )
