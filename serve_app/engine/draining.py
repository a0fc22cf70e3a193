"""What may the `user_config` of a pool's deployment say? Whether its replicas drain."""

from typing import Any


def is_draining(user_config: Any) -> bool:
    """Return whether replicas get nothing new. Raises ValueError for all but `draining: true or false`."""
    match user_config:
        case {"draining": bool(drains), **others} if not others:
            return drains
    raise ValueError(f"user_config may have draining: true or false, not {user_config!r}")
