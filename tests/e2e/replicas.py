"""Which process is a pool's replica?"""

import psutil

from serve_app.local import LocalSystem


def replica_of(system: LocalSystem, pool: str) -> psutil.Process:
    """Return the process of the pool's one replica."""
    found = [p for p in system.processes() if f"ServeReplica:venturi:{pool}" in " ".join(p.cmdline())]
    assert len(found) == 1, found
    return found[0]
