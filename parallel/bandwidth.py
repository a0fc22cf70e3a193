"""How near do collectives come to the limit of the link between the ranks?

`python -m parallel collectives` spawns the ranks, over NCCL where there are GPUs and over gloo elsewhere, and
times every collective at every size. Bytes are those that `parallel.links` counts: of the whole tensor that
an all-reduce sums, that an all-gather ends with, or that a reduce-scatter begins with. For a dispatch every
rank holds as much, and each token goes to one expert, evenly over the ranks; a combine brings it back. So all
but the all-reduce send the same.
"""

import socket
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.queues import SimpleQueue

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from parallel.collectives import all_gather, combine, dispatch, reduce_scatter
from parallel.hardware import Link
from parallel.links import all_gather_s, all_reduce_s

WIDTH = 4096
"""Elements of a token, as in Mistral Small 4."""
DTYPE = torch.bfloat16
TOKEN_BYTES = WIDTH * DTYPE.itemsize

NUM_WARMUPS, NUM_ROUNDS = 3, 10


@dataclass(frozen=True)
class Timing:
    """One collective at one size."""

    collective: str
    num_bytes: int
    time_s: float
    """Median of the rounds, of the slowest rank in each."""


def measure(num_ranks: int, tokens_per_rank: list[int]) -> list[Timing]:
    """Time every collective with so many tokens on each rank.

    Raises ValueError for counts below 1, or more ranks than GPUs.
    """
    if num_ranks < 1 or min(tokens_per_rank) < 1:
        raise ValueError(f"--ranks={num_ranks} and --tokens={tokens_per_rank} must be at least 1")
    num_gpus = torch.cuda.device_count()
    if num_gpus and num_ranks > num_gpus:
        raise ValueError(f"--ranks={num_ranks}, but this machine has {num_gpus} GPUs")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = mp.get_context("spawn")
    found: SimpleQueue[list[Timing]] = context.SimpleQueue()
    mp.spawn(_one_rank, args=(num_ranks, port, tokens_per_rank, found), nprocs=num_ranks)
    return found.get()


def table(timings: list[Timing], num_ranks: int, link: Link | None) -> str:
    """A line a timing: time, bytes a second that a rank sends, and with a link its peak's least time."""
    lines = [f"{'collective':<22} {'bytes':>12} {'us':>10} {'GB/s':>8} {'least us':>9} {'of peak':>8}"]
    for timing in timings:
        sent_s = all_reduce_s if timing.collective.startswith("all-reduce") else all_gather_s
        one_byte_per_s = Link("", 1.0, 0.0)
        sent_bytes = sent_s(timing.num_bytes, num_ranks, one_byte_per_s, 1.0)
        least_s = sent_bytes / link.bytes_per_s if link else None
        limit = f"{least_s * 1e6:>9.1f} {least_s / timing.time_s:>8.1%}" if least_s is not None else ""
        lines.append(
            f"{timing.collective:<22} {timing.num_bytes:>12} {timing.time_s * 1e6:>10.1f} "
            f"{sent_bytes / timing.time_s / 1e9:>8.3f} {limit}".rstrip()
        )
    return "\n".join(lines)


def _one_rank(
    rank: int, num_ranks: int, port: int, tokens_per_rank: list[int], found: "SimpleQueue[list[Timing]]"
) -> None:
    # They are called so by every PyTorch in use; the newest has other names for them.
    warnings.filterwarnings("ignore", ".*_tensor` is deprecated", FutureWarning)
    has_gpus = torch.cuda.is_available()
    device = torch.device("cuda", rank) if has_gpus else torch.device("cpu")
    if has_gpus:
        torch.cuda.set_device(device)
    else:
        torch.set_num_threads(1)
    backend = "nccl" if has_gpus else "gloo"
    dist.init_process_group(backend, init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=num_ranks)
    timings = [
        Timing(name, num_tokens * num_ranks * TOKEN_BYTES, _time_s(run, device))
        for num_tokens in tokens_per_rank
        for name, run in _collectives(num_tokens, num_ranks, device)
    ]
    if rank == 0:
        found.put(timings)
    dist.destroy_process_group()


def _collectives(
    num_tokens: int, num_ranks: int, device: torch.device
) -> Iterator[tuple[str, Callable[[], object]]]:
    """Every collective by name: the project's own, and those of torch that need even sizes."""
    group, sizes = dist.group.WORLD, [num_tokens] * num_ranks
    own = torch.ones(num_tokens, WIDTH, dtype=DTYPE, device=device)
    everyone = own.repeat(num_ranks, 1)
    yield "all-reduce (torch)", lambda: dist.all_reduce(everyone)
    yield "all-gather (torch)", lambda: dist.all_gather_into_tensor(everyone, own)
    yield "all-gather", lambda: all_gather(own, sizes, group)
    yield "reduce-scatter (torch)", lambda: dist.reduce_scatter_tensor(own, everyone)
    yield "reduce-scatter", lambda: reduce_scatter(everyone, sizes, group)
    experts = (torch.arange(len(everyone), device=device) % num_ranks)[:, None]
    weights = torch.ones(experts.shape, dtype=DTYPE, device=device)
    yield "dispatch", lambda: dispatch(everyone, experts, num_ranks, group)
    sent = dispatch(everyone, experts, num_ranks, group)
    yield "combine", lambda: combine(sent.tokens, sent, weights, group)


def _time_s(run: Callable[[], object], device: torch.device) -> float:
    """Median seconds of `run`, of the slowest rank each time."""
    rounds: list[float] = []
    for number in range(NUM_WARMUPS + NUM_ROUNDS):
        _wait(device)
        dist.barrier()
        started_s = time.perf_counter()
        run()
        _wait(device)
        took_s = torch.tensor([time.perf_counter() - started_s], dtype=torch.float64, device=device)
        dist.all_reduce(took_s, dist.ReduceOp.MAX)
        if number >= NUM_WARMUPS:
            rounds.append(took_s.item())
    return statistics.median(rounds)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
