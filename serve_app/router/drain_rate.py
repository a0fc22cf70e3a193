"""How fast do places come free, and when is it worth coming back?"""

import math

MEMORY_S = 10.0
"""Events count for less with age, by 1/e in this time."""
UNKNOWN_S = 5
"""When to come back to a pool where fewer than two requests have ended."""
LONGEST_S = 60
"""OpenAI's and Anthropic's clients pass over a longer Retry-After, and come back sooner than told."""


class DrainRate:
    """Requests that end in one pool, a second, by one observer's count.

        level(t) = sum over events after the first of exp(-(t - at) / MEMORY_S)
        rate(t)  = level(t) / (MEMORY_S * (1 - exp(-(t - began) / MEMORY_S)))

    The second factor makes up for the time before it began to count, at the first event.
    """

    def __init__(self) -> None:
        self._level = 0.0
        self._began_s: float | None = None
        self._at_s = 0.0

    def note(self, now_s: float) -> None:
        """Count one that ends now."""
        if self._began_s is None:
            self._began_s = now_s  # from here on; the first one by itself tells no rate
        else:
            self._level = self._faded(now_s) + 1.0
        self._at_s = now_s

    def per_s(self, now_s: float) -> float:
        """Return the rate; 0.0 before the second event."""
        if self._began_s is None or now_s <= self._began_s:
            return 0.0
        return self._faded(now_s) / (MEMORY_S * -math.expm1(-(now_s - self._began_s) / MEMORY_S))

    def retry_after_s(self, num_before: int, now_s: float) -> int:
        """Return whole seconds until `num_before` and one more have had their turn, 1 to LONGEST_S."""
        rate = self.per_s(now_s)
        if not rate:
            return UNKNOWN_S
        return max(1, min(LONGEST_S, math.ceil(min(LONGEST_S, (num_before + 1) / rate))))

    def _faded(self, now_s: float) -> float:
        return self._level * math.exp(-(now_s - self._at_s) / MEMORY_S)
