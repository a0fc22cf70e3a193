"""How fast is a server that is not ours? Measured on the answers that it gives to this ingress replica."""

from collections.abc import Callable

from serve_app.engine.stats import Recent
from serve_app.types import ReplicaReport


class Speed:
    """Means over the answers lately, and what is under way now."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._recent = Recent(clock)
        self._waiting_since_s: dict[object, float] = {}
        self.num_ongoing = 0

    def began(self, waited_s: float, prompt_tokens: int) -> None:
        """Note the first token of a stream, so long after the request was sent."""
        self._recent.fade()
        self._recent.add("ttft_s", waited_s)
        self._recent.add("prompt_tokens", prompt_tokens)

    def waits(self, stream: object) -> None:
        """Note that somebody now waits for the next piece of a stream that has begun."""
        self._waiting_since_s[stream] = self._clock()

    def heard(self, stream: object) -> None:
        """Note that nobody waits for it any more. Harmless where nobody did."""
        self._waiting_since_s.pop(stream, None)

    def decoded(self, num_tokens: int, took_s: float) -> None:
        """Note so many tokens of an answer, and how long they took."""
        if num_tokens > 0:
            self._recent.fade()
            self._recent.add("per_token_s", took_s, num_tokens)
            self._recent.add("answer_tokens", num_tokens)

    def report(self, replica: str, is_draining: bool, max_model_len: int | None) -> ReplicaReport:
        """Return it as the policy reads it: to the outside, waiting and reading a prompt are one."""
        self._recent.fade()
        mean, now_s = self._recent.mean, self._clock()
        per_token_s, answer_tokens, ttft_s = mean("per_token_s"), mean("answer_tokens"), mean("ttft_s")
        return ReplicaReport(
            replica,
            self.num_ongoing,
            stalled_s=now_s - max(self._waiting_since_s.values(), default=now_s),
            batch_size=None if per_token_s is None else 1.0,
            ttft_s=ttft_s,
            per_token_s=per_token_s,
            prefill_s=ttft_s,
            prefill_mean_tokens=mean("prompt_tokens"),
            answer_tokens=answer_tokens,
            is_draining=is_draining,
            max_model_len=max_model_len,
        )
