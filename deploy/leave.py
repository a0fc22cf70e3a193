"""How does a node leave the cluster without breaking off an answer?

    python -m deploy.leave --within-s 1810

Ray is told that this node will be gone by then, so Serve sends its replicas nothing new and lets them finish,
and its proxy too, which may be in the middle of answers of other nodes' replicas: Serve ends it when nothing
goes through it any more, half a minute later at the soonest. Returns when the last of them has ended. It is
the preStop hook of a worker's pod, whose processes are the only ones that it sees. `ray drain-node` is not
among the commands that Ray promises to keep.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import psutil

TITLES = ("ray::ServeReplica:", "ray::HAProxyManager", "ray::ProxyActor")
"""How Ray names the processes of Serve's replicas and proxies."""
POLL_PERIOD_S = 1.0


def leave(
    within_s: int, processes: Callable[[], Iterable[psutil.Process]] = psutil.process_iter
) -> tuple[bool, str]:
    """Drain this node; return whether all replicas and proxies have ended, and what happened."""
    began_s = time.monotonic()
    command = [
        str(Path(sys.executable).with_name("ray")),
        *("drain-node", "--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "the pod is leaving"),
        *("--deadline-remaining-seconds", str(within_s)),
    ]
    try:
        drained = subprocess.run(command, capture_output=True, text=True, timeout=within_s)
    except subprocess.TimeoutExpired:
        return False, f"Ray did not take the drain within {within_s} s"
    if drained.returncode:
        return False, f"Ray did not take the drain: {drained.stderr.strip()}"
    while left := sum(_serves(process) for process in processes()):
        if time.monotonic() - began_s > within_s:
            return False, f"{left} replicas or proxies have not ended within {within_s} s"
        time.sleep(POLL_PERIOD_S)
    return True, f"no replica or proxy left after {time.monotonic() - began_s:.0f} s"


def _serves(process: psutil.Process) -> bool:
    try:
        title = process.cmdline()
    except psutil.Error:
        return False
    return bool(title) and title[0].startswith(TITLES)


def main() -> int:
    """Leave; return the exit status: 0, or 1 where answers may be broken off."""
    parser = argparse.ArgumentParser(prog="python -m deploy.leave")
    parser.add_argument("--within-s", type=int, required=True, help="the longest answer, and a margin")
    left, what = leave(parser.parse_args().within_s)
    print(what)
    return 0 if left else 1


if __name__ == "__main__":
    sys.exit(main())
