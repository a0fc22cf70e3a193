"""How much processor time did each part of a system take?"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass

import psutil

GROUPS = ("engine", "server", "ingress", "proxy", "ray")
"""engine: vLLM's engine core; server: vLLM's HTTP app around it (in Venturi: the pool's replica);
ingress: Venturi's own, or ray.serve.llm's; proxy: Serve's or HAProxy with its manager;
ray: everything else that Ray runs."""


INGRESSES = (":ingress", ":OpenAiIngress")
"""Deployments of Venturi and of ray.serve.llm, as they stand in a process's title."""


def group_of(command: str) -> str:
    """Return the group of a process of Venturi or ray.serve.llm by its command line or title."""
    if "VLLM::" in command:
        return "engine"
    if command.startswith("ray::ServeReplica:"):
        return "ingress" if any(name in command for name in INGRESSES) else "server"
    if "haproxy" in command.lower() or command.startswith("ray::ProxyActor"):
        return "proxy"
    return "ray"


def group_of_raw(command: str) -> str:
    """Return the group of a process of vLLM's own server."""
    return "engine" if "VLLM::" in command else "server"


@dataclass(frozen=True)
class Usage:
    """Processor seconds since each process began, and those of the whole machine."""

    by_process: Mapping[tuple[int, str], float]
    machine_s: float

    def since(self, earlier: "Usage") -> tuple[dict[str, float], float]:
        """Return the seconds of each group, and of the whole machine, between the two readings."""
        groups: dict[str, float] = defaultdict(float)
        for (pid, group), seconds in self.by_process.items():
            groups[group] += seconds - earlier.by_process.get((pid, group), 0.0)
        return dict(groups), self.machine_s - earlier.machine_s


def read(processes: Iterable[tuple[psutil.Process, str]]) -> Usage:
    """Read the clocks of processes, each with its group; one that has ended is left out."""
    used: dict[tuple[int, str], float] = {}
    for process, group in processes:
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            used[process.pid, group] = times.user + times.system
    machine = psutil.cpu_times()
    return Usage(used, sum(machine) - machine.idle - machine.iowait - machine.guest - machine.guest_nice)


def command(process: psutil.Process) -> str:
    """Return the command line, a title set by itself for Ray's and vLLM's processes; "" once it has ended."""
    with suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""
