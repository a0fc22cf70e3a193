"""What does an engine group of two ranks answer, and does it restart whole? Run as a script.

    python two_nodes.py CHECKPOINT ANSWERS.json [-v]

Starts a Ray cluster of two nodes on this machine, deploys a replica of one plan of `PLANS` after the other,
and writes an `Answer` for each. It kills one rank while every dp group streams an answer, and notes what
became of the streams and of the group. Everything runs in processes below this one, on free ports and in a
temporary folder, so that another Ray on the machine neither sees nor feels it.
"""

import ctypes
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from parallel.plan import ParallelPlan

PLANS = {"tp-over-nodes": ParallelPlan(tp=2, nodes=2), "dp-over-nodes": ParallelPlan(dp=2, ep=True, nodes=2)}
"""Plans by name. The ranks of each fill the cluster."""

PROMPTS = [[1, *range(1000 + 7 * i, 1024 + 11 * i, 3)] for i in range(4)]
NUM_TOKENS = 12

START_S = 300.0
"""What the head of a cluster may take to start."""

RANK_ACTOR, CORE_ACTOR = "RayWorkerProc", "DPMoEEngineCoreActor"
"""Names of the classes of vLLM's actors that each run one rank, or with dp one engine core."""

ENGINE: dict[str, Any] = {
    "dtype": "float32",
    "enforce_eager": True,
    "max_model_len": 4096,
    "max_num_seqs": 4,
    "limit_mm_per_prompt": {"image": 0},
}
ENVIRONMENT = {"VLLM_MLA_DISABLE": "1", "VLLM_CPU_KVCACHE_SPACE": "1", "OMP_NUM_THREADS": "1"}
MODEL = "pocket"


@dataclass
class Loss:
    """What the loss of one rank did."""

    ends: list[str]
    """How the stream of each dp group ended: the error's class, or nothing."""
    ends_s: float
    """Seconds from the kill to the end of the last stream."""
    restart_s: float
    """Seconds from the kill until another replica has answered."""
    tokens: list[list[int]]
    """What the restarted group gave for every prompt."""
    survivors: list[int]
    """Processes of the old group that were still there then."""
    leaving: list[str]
    """What replicas said meanwhile when they left."""


@dataclass
class Answer:
    """What one plan gave."""

    tokens: list[list[int]]
    """The greedy continuation of every prompt."""
    rank_nodes: list[str]
    """The Ray node of every rank."""
    loss: Loss
    """What the loss of a rank did."""


def free_port() -> int:
    """A port that nobody listens on."""
    with closing(socket.socket()) as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


def start_node(log: Path, *options: str) -> subprocess.Popen[bytes]:
    """One Ray node with room for one rank, in the foreground of a child process."""
    command = [
        str(Path(sys.executable).with_name("ray")),
        *("start", "--block", "--num-cpus=3", "--num-gpus=1", "--object-store-memory=100000000"),
        # Any free port, rather than the range that every node on the machine takes from.
        *("--min-worker-port=0", "--max-worker-port=0", f"--dashboard-agent-listen-port={free_port()}"),
        *options,
    ]
    with log.open("wb") as file:
        return subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)


def join(address: str) -> None:
    """Connect to the cluster. The head listens a moment before it knows itself, a long one if it is busy."""
    import ray

    deadline_s = time.monotonic() + START_S
    while True:
        try:
            ray.init(address=address, log_to_driver="-v" in sys.argv)
            return
        except Exception:
            if time.monotonic() > deadline_s:
                raise
            time.sleep(1)


@contextmanager
def two_nodes() -> Iterator[None]:
    """Connect to a new cluster of two nodes; on leaving, end every process below this one."""
    import ray

    folder = Path(tempfile.mkdtemp(prefix="two-nodes-", dir="/tmp"))
    address = f"{ray.util.get_node_ip_address()}:{free_port()}"
    try:
        head = start_node(
            folder / "head.log",
            *("--head", f"--port={address.split(':')[1]}", f"--temp-dir={folder}"),
            *("--include-dashboard=false", f"--dashboard-port={free_port()}"),
            f"--ray-client-server-port={free_port()}",
        )
        wait_for(address, head)
        start_node(folder / "second.log", f"--address={address}")
        join(address)
        while len(ray.nodes()) < 2:
            time.sleep(0.2)
        yield
        ray.shutdown()
    finally:
        kill_descendants()
        shutil.rmtree(folder, ignore_errors=True)


def wait_for(address: str, node: subprocess.Popen[bytes]) -> None:
    """Return when something listens there; RuntimeError when the node has ended or time is up."""
    host, port = address.split(":")
    deadline_s = time.monotonic() + START_S
    while time.monotonic() < deadline_s and node.poll() is None:
        with closing(socket.socket()) as probe:
            if probe.connect_ex((host, int(port))) == 0:
                return
        time.sleep(0.2)
    raise RuntimeError(f"the head node does not listen on {address}")


def use_own_secret() -> None:
    """Keep this cluster apart from the user's, whatever their home holds. Call it before Ray is imported."""
    os.environ |= {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
    }


def adopt_orphans() -> None:
    """Become the parent of descendants whose parent dies, so that none escapes `kill_descendants`."""
    set_child_subreaper = 36
    ctypes.CDLL(None).prctl(set_child_subreaper, 1, 0, 0, 0)


def kill_descendants() -> None:
    """Kill until none is left: a killed process leaves its own children to this one."""
    while children := psutil.Process().children(recursive=True):
        for child in children:
            with suppress(psutil.NoSuchProcess):
                child.kill()
        psutil.wait_procs(children, timeout=10)


def application(name: str, plan: ParallelPlan, checkpoint: str) -> Any:
    """The engine deployment of a pool with this plan, as a serve file would get it."""
    from serve_app import app
    from serve_app.config import parse

    pool = {"efforts": ["none", "high"], "device": "cpu", "plan": asdict(plan), "engine": ENGINE}
    settings = {"model": {"path": checkpoint, "name": MODEL}, "env": ENVIRONMENT, "pools": {name: pool}}
    return app.engine(parse(settings), name)


def ask(handle: Any, prompt: list[int], group: int, **more: Any) -> Any:
    """The items of one greedy continuation, in the given data-parallel group."""
    from serve_app.types import Call

    headers = ((b"content-type", b"application/json"), (b"x-data-parallel-rank", str(group).encode()))
    body = {"model": MODEL, "prompt": prompt, "max_tokens": NUM_TOKENS, "temperature": 0}
    body |= {"ignore_eos": True, "return_token_ids": True} | more
    call = Call("POST", "/v1/completions", headers, json.dumps(body).encode())
    return handle.options(method_name="call", stream=True).remote(call)


def continuations(handle: Any, num_groups: int) -> list[list[int]]:
    """Greedy continuations of all prompts at once, taking turns over the data-parallel groups."""
    tokens = []
    for items in [ask(handle, prompt, index % num_groups) for index, prompt in enumerate(PROMPTS)]:
        head, *body = items
        assert head.status == 200, body
        answer = json.loads(head.opening + b"".join(body))
        tokens.append(answer["choices"][0]["token_ids"])
    return tokens


def answer(name: str, plan: ParallelPlan, checkpoint: str) -> Answer:
    """Deploy a replica of the plan, ask it, note where the ranks are, and take it down."""
    from ray import serve

    handle = serve.run(application(name, plan, checkpoint), name=name, route_prefix=None)
    given = Answer(
        tokens=continuations(handle, plan.dp),
        rank_nodes=[actor["Address"]["NodeID"] for actor in actors(RANK_ACTOR)],
        loss=lose_a_rank(handle, plan),
    )
    print(f"{name}: {given}", flush=True)
    serve.delete(name)
    return given


def lose_a_rank(handle: Any, plan: ParallelPlan) -> Loss:
    """Kill the last rank while every dp group streams; wait for the next replica, and ask it."""
    endless = {"stream": True, "max_tokens": 4000}
    streams = [ask(handle, PROMPTS[group], group, **endless) for group in range(plan.dp)]
    for stream in streams:
        assert next(stream).status == 200
    old, cores, left = ranks(), [actor["Pid"] for actor in actors(CORE_ACTOR)], leaving()
    os.kill(old[-1], signal.SIGKILL)
    killed_s = time.monotonic()
    ends = [end(stream) for stream in streams]
    ends_s = time.monotonic() - killed_s
    # A group is whole again when all its ranks are others.
    while len(now := ranks()) < plan.world_size or set(now) & set(old):
        time.sleep(0.2)
    tokens = continuations(handle, plan.dp)
    restart_s = time.monotonic() - killed_s
    survivors = [pid for pid in (*old, *cores) if psutil.pid_exists(pid)]
    return Loss(ends, ends_s, restart_s, tokens, survivors, [said for said in leaving() if said not in left])


def end(stream: Any) -> str:
    """Read a stream to its end; the class of the error that ended it, or nothing."""
    try:
        for _ in stream:
            pass
    except Exception as error:
        return type(error).__name__
    return ""


def ranks() -> list[int]:
    """The processes of all ranks that are actors."""
    return sorted(actor["Pid"] for actor in actors(RANK_ACTOR))


def leaving() -> list[str]:
    """The lines of replicas that leave, on the standard error that Ray keeps of each."""
    import ray

    logs = Path(ray._private.worker._global_node.get_logs_dir_path())
    lines = (line for log in logs.glob("worker-*.err") for line in log.read_text().splitlines())
    return [line for line in lines if "this replica leaves" in line]


def actors(name: str) -> list[dict[str, Any]]:
    """Every living actor of that class, as Ray knows it."""
    from ray._private import state

    return [
        actor
        for actor in state.actors().values()
        if actor["State"] == "ALIVE" and actor["ActorClassName"] == name
    ]


def main(checkpoint: str, answers_file: Path) -> None:
    """Ask all plans and write their answers."""
    # A test that gives up on this script ends it with this signal; `two_nodes` must still clean up.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    adopt_orphans()
    use_own_secret()
    from ray import serve

    with two_nodes():
        serve.start(proxy_location="Disabled")
        given = {name: answer(name, plan, checkpoint) for name, plan in PLANS.items()}
        serve.shutdown()
    answers_file.write_text(json.dumps({name: asdict(answer) for name, answer in given.items()}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
