"""How are kernels compiled before they are timed, on all processors at once?

Triton compiles a kernel in seconds, on one core, when it is first launched: a search would do little
else. Worker processes run the layer on meta tensors (sizes and types, no memory) with the kernel's launch
replaced by its compilation. The result lands in Triton's cache on disk, where the timing process finds it,
since Triton's key is made of types, constants, and whether sizes are multiples of 16, all of which are equal.
"""

import multiprocessing
import time
from collections.abc import Iterable
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from deploy.kernels.shapes import Shape
from deploy.kernels.space import Config

LATE = "not compiled in time"

Task = tuple[Shape, int, Config]


def kernel_key(shape: Shape, batch: int, config: Config) -> tuple[Config, bool, bool]:
    """What two launches must share to run the same compiled kernels.

    vLLM does not sort so few tokens that they hardly meet at an expert, which is a constant of the kernel;
    and the number of (token, expert) pairs is or is not a multiple of 16.
    """
    pairs = batch * shape.top_k
    unsorted = not shape.divided and 4 * pairs <= shape.experts
    return config, unsorted, pairs % 16 == 0


class Compiler:
    """Worker processes that fill Triton's cache. Without them all works too, only slower."""

    def __init__(self, workers: int) -> None:
        context = multiprocessing.get_context("spawn")  # a fork after CUDA has started is of no use
        self._pool = ProcessPoolExecutor(workers, context) if workers > 0 else None
        self.done: dict[Any, str | None] = {}
        """What was compiled, by kernel_key: None, or the error."""
        self.broken: str | None = None
        """Why there are no workers any more."""
        self._pending: dict[Any, Future[str | None]] = {}

    def submit(self, tasks: Iterable[Task]) -> None:
        """Begin to compile what is new among the tasks, in their order."""
        for key, task in {kernel_key(*task): task for task in tasks}.items():
            if self._pool is not None and key not in self.done and key not in self._pending:
                try:
                    self._pending[key] = self._pool.submit(compile_one, *task)
                except BrokenProcessPool:
                    self._pool = None

    def wait(self, deadline: float) -> None:
        """Wait for what was submitted, until `deadline` (of time.monotonic) at the latest; drop the rest."""
        wait(self._pending.values(), timeout=max(0.0, deadline - time.monotonic()))
        for key, future in self._pending.items():
            if future.done() and not future.cancelled():
                broken = future.exception()  # of the pool: a task itself returns its error
                self.done[key] = future.result() if broken is None else None
                if broken is not None:
                    self._pool, self.broken = None, repr(broken)
            else:
                future.cancel()
        self._pending.clear()
        if self.done and all(self.done.values()):  # nothing compiles: not a matter of configurations
            self.broken = next(iter(self.done.values()))
            self.close()
            self._pool = None
            self.done.clear()

    def error(self, shape: Shape, batch: int, config: Config) -> str | None:
        """Why this configuration cannot be timed; None if it can.

        Once the workers are gone everything can: the timing process compiles for itself.
        """
        key = kernel_key(shape, batch, config)
        if self._pool is None:
            return self.done.get(key)
        return self.done.get(key, LATE)

    def close(self) -> None:
        """End the workers, what they are at included."""
        if self._pool is not None:
            for process in list(getattr(self._pool, "_processes", {}).values()):
                process.terminate()
            self._pool.shutdown(wait=False, cancel_futures=True)


def compile_one(shape: Shape, batch: int, config: Config) -> str | None:
    """Compile both kernels of a layer, in a worker; return what went wrong."""
    from deploy.kernels.meta import run  # imports vLLM: only workers need this

    try:
        run(shape, batch, config)
    except Exception as error:  # a compiler may raise anything, and one configuration is no loss
        return f"{type(error).__name__}: {str(error)[:300]}"
    return None
