"""Which replicas are believed to have the beginning of a prompt cached, and which had the session?

A belief from this observer's own decisions, in bounded memory: the engines evict on their own, and other
observers send them prompts too. It is worth losing: a wrong one costs the reading of a prompt.
"""

from typing import Any

from serve_app.types import RequestFeatures

MAX_BLOCKS = 65_536
MAX_SESSIONS = 16_384
MAX_HOLDERS = 4
"""Replicas that are remembered for a block, the latest first."""


class Affinity:
    """What was sent where; the least lately used is forgotten first."""

    def __init__(self, max_blocks: int = MAX_BLOCKS, max_sessions: int = MAX_SESSIONS) -> None:
        self._max_blocks = max_blocks
        self._max_sessions = max_sessions
        self._holders: dict[int, tuple[str, ...]] = {}
        self._sessions: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"<Affinity {len(self._holders)} blocks, {len(self._sessions)} sessions>"

    def cached_tokens(self, features: RequestFeatures) -> dict[str, int]:
        """Return for each replica that had a beginning of this prompt how many tokens the longest has."""
        found: dict[str, int] = {}
        for block in features.blocks:
            for replica in self._holders.get(block.key, ()):
                found[replica] = block.num_tokens
        return found

    def session(self, features: RequestFeatures) -> str | None:
        """Return the replica that had the session's last request."""
        return self._sessions.get(features.session) if features.session else None

    def remember(self, features: RequestFeatures, replica: str) -> None:
        """Note that the request was sent to `replica`."""
        holders = self._holders
        # The longest first, so that it is forgotten before what it begins with. Each is taken out and put in
        # again: a dict keeps the order of insertion.
        for block in reversed(features.blocks):
            known = holders.pop(block.key, ())
            if not known or known[0] != replica:
                others = [holder for holder in known if holder != replica]
                known = (replica, *others[: MAX_HOLDERS - 1])
            holders[block.key] = known
        _trim(holders, self._max_blocks)
        if features.session:
            self._sessions.pop(features.session, None)
            self._sessions[features.session] = replica
            _trim(self._sessions, self._max_sessions)


def _trim(entries: dict[Any, Any], most: int) -> None:
    while len(entries) > most:
        del entries[next(iter(entries))]
