"""How do a replica's log lines outlive the import of vLLM?

Reason: vLLM sets logging up with `dictConfig`, which closes every handler that there is. Ray Serve's lines
pass a MemoryHandler, and a closed one has lost its target: it drops them from then on, errors too.

Upstream symptom (vLLM 0.29.0, Ray 2.60.0): the file of an engine's replica in logs/serve ends at "loading".
It never says that the replica takes traffic, or that its engine has errored.

No longer needed when: `tests/e2e/test_traces.py` finds a request in that file without it.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from logging.handlers import MemoryHandler


@contextmanager
def kept_open(logger: logging.Logger) -> Iterator[None]:
    """Give the logger's handlers back what they write to, whatever closes them meanwhile."""
    targets = [(handler, handler.target) for handler in logger.handlers if isinstance(handler, MemoryHandler)]
    try:
        yield
    finally:
        for handler, target in targets:
            handler.setTarget(target)
