"""How does a test run as several ranks of gloo? As processes: a check that fails in one fails the test."""

import socket
from collections.abc import Callable

import torch
import torch.distributed as dist
import torch.multiprocessing as mp


def run_as_ranks(num_ranks: int, check: Callable[[int], None]) -> None:
    """Call `check`, a function of a module, with the rank in every rank of a new world."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.start_processes(_one_rank, args=(num_ranks, port, check), nprocs=num_ranks, start_method="forkserver")


def _one_rank(rank: int, num_ranks: int, port: int, check: Callable[[int], None]) -> None:
    torch.set_num_threads(1)  # more ranks than cores: threads would only wait for one another
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=num_ranks)
    check(rank)
    dist.destroy_process_group()
