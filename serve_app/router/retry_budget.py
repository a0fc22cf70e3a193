"""May one more request be tried again? A share of all requests may, so that retries never become the load."""

BURST = 10.0
"""Retries that may come at once: the requests of a replica that dies."""


class RetryBudget:
    """A token bucket that every request fills by `share` and every retry empties by one. It begins full."""

    def __init__(self, share: float) -> None:
        self._share = share
        self._level = BURST

    def __repr__(self) -> str:
        return f"<RetryBudget {self._level:.1f} of {BURST:g}>"

    def earn(self) -> None:
        """Note a request."""
        self._level = min(BURST, self._level + self._share)

    def spend(self) -> bool:
        """Take what a retry costs, and return True, or return False: there is too little."""
        if self._level < 1.0:
            return False
        self._level -= 1.0
        return True
