"""How many tokens a second do users get from an engine, and the engine from its GPUs?"""

from dataclasses import dataclass, replace

from parallel.cost import Engine, decode, prefill_s, speculative_s
from parallel.model_shape import ModelShape


@dataclass(frozen=True)
class Load:
    """Requests that an engine works on at once, all of one size; ValueError for a number below one."""

    concurrency: float
    prompt_tokens: int = 1024
    answer_tokens: int = 512
    chunk_tokens: int = 16_384
    """Tokens of prompts that one prefill step takes, vLLM's max_num_batched_tokens."""

    def __post_init__(self) -> None:
        for field in ("prompt_tokens", "answer_tokens", "chunk_tokens"):
            if getattr(self, field) < 1:
                raise ValueError(f"{field}={getattr(self, field)} must be at least 1")
        if self.concurrency <= 0:
            raise ValueError(f"concurrency={self.concurrency} must be more than 0")


@dataclass(frozen=True)
class Speculation:
    """A draft head in use; ValueError for an acceptance that its draft tokens cannot yield."""

    draft_tokens: int = 3
    acceptance_length: float = 2.6
    """Mean tokens a verify step yields, 1 to draft_tokens + 1: of the content, so nothing to compute."""
    head: ModelShape | None = None
    """The head's shape; one dense layer of the target's sizes if not given."""

    def __post_init__(self) -> None:
        if self.draft_tokens < 1:
            raise ValueError(f"draft_tokens={self.draft_tokens} must be at least 1")
        if not 1 <= self.acceptance_length <= self.draft_tokens + 1:
            raise ValueError(
                f"acceptance_length={self.acceptance_length:g} must be from 1 to "
                f"draft_tokens+1={self.draft_tokens + 1}"
            )

    def head_for(self, target: ModelShape) -> ModelShape:
        """The head's shape for this target."""
        return self.head or usual_head(target)


def usual_head(target: ModelShape) -> ModelShape:
    """The shape of a draft head that is not at hand: one dense layer of the target's sizes."""
    return replace(target, layers=1, dense_layers=1, vision=None, draft=True)


@dataclass(frozen=True)
class Speed:
    """Predicted, not measured."""

    step_s: float
    """One decode step, or one verify step with its drafting."""
    first_token_s: float
    """Reading the prompts of all requests at once; the last of them waits so long."""
    user_tokens_per_s: float
    """Tokens a second that each request gets while it is decoded."""
    total_tokens_per_s: float
    """Output tokens a second of all requests together, the reading of their prompts included."""


def speed(engine: Engine, load: Load, speculation: Speculation | None = None) -> Speed:
    """The speed of one engine under a load that it has room for.

    All prompts are read, then all answers written together: `answer / acceptance` steps at the mean
    context of prompt + answer / 2.
    """
    context_tokens = load.prompt_tokens + load.answer_tokens / 2
    if speculation is None:
        tokens_per_step = 1.0
        step_s = decode(engine, load.concurrency, context_tokens).total_s
    else:
        head, k = speculation.head_for(engine.shape), speculation.draft_tokens
        tokens_per_step = speculation.acceptance_length
        step_s = speculative_s(engine, head, load.concurrency, context_tokens, k, num_passes=k)
    first_token_s = prefill_s(engine, load.prompt_tokens, load.concurrency, load.chunk_tokens)
    decode_s = load.answer_tokens / tokens_per_step * step_s
    return Speed(
        step_s=step_s,
        first_token_s=first_token_s,
        user_tokens_per_s=tokens_per_step / step_s,
        total_tokens_per_s=load.concurrency * load.answer_tokens / (first_token_s + decode_s),
    )
