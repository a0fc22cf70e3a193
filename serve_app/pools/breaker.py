"""Should a replica be left alone for a while, for failing what others answer?

Closed, it counts failures in a row. Open, its replica gets nothing for OPEN_S. Then half-open: one request is
let through, and what becomes of it closes or opens the breaker. No clock: `now_s` goes only forward.

Who counts the failures decides what they are. `router/dispatch.py` counts one when another replica has then
answered the same request: one that fails everywhere, or is at fault itself, opens nothing.
"""

NUM_FAILURES = 3
"""In a row, to open."""
OPEN_S = 10.0


class Breaker:
    """The breaker of one replica."""

    def __init__(self) -> None:
        self._num_failures = 0
        self._half_open_s: float | None = None
        """From when on it is half-open; None while it is closed."""
        self._probe: object | None = None
        """What stands for the request that is let through while it is half-open."""

    def __repr__(self) -> str:
        state = "closed" if self._half_open_s is None else f"open until {self._half_open_s:g}"
        return f"<Breaker {state}, {self._num_failures} failures>"

    def is_open(self, now_s: float) -> bool:
        """Whether the replica should get nothing now."""
        return self._half_open_s is not None and (now_s < self._half_open_s or self._probe is not None)

    def sent(self, now_s: float) -> object | None:
        """Note that the replica gets a request; return what stands for it if it is the only one, or None."""
        if self._half_open_s is None or now_s < self._half_open_s:
            return None
        self._probe = object()
        return self._probe

    def probed(self, probe: object) -> None:
        """Note that the only one has ended, whatever came of it: another one may be let through."""
        if self._probe is probe:
            self._probe = None

    def answered(self) -> None:
        """Note that the replica has answered; what it answers may go on for long."""
        self._num_failures, self._half_open_s, self._probe = 0, None, None

    def failed(self, now_s: float) -> bool:
        """Note that it has failed what another one answered; return whether that opens the breaker."""
        self._num_failures += 1
        if self._num_failures < NUM_FAILURES:
            return False
        was_open = self.is_open(now_s)
        self._half_open_s = now_s + OPEN_S
        return not was_open
