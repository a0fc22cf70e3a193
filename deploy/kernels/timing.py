"""How long does a layer take with one configuration, and is one faster than another?

A CUDA graph holds several calls of the layer, so that launching costs nothing. Each call has tokens and
routing of its own: at small batches each reads other experts, more bytes in all than L2 holds, and at large
ones each reads nearly all experts. So weights come from memory, as they do in a model of 36 layers. Events
around each replay time it. Compared configurations are replayed in turn, so that clocks that drift touch all
alike; the speed-up is the median of the ratios within a round.
"""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch

from deploy.kernels.layer import Inputs, Layer
from deploy.kernels.space import Config

MAX_ERROR = 2e-2
"""Relative difference (Frobenius) of two BF16 results that sum FP8 products in another order."""


@dataclass(frozen=True)
class Graph:
    """Some calls of a layer, recorded."""

    graph: Any
    num_calls: int

    def replay_us(self) -> float:
        """Microseconds a call, of one replay."""
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        self.graph.replay()
        end.record()
        end.synchronize()
        return 1000 * float(start.elapsed_time(end)) / self.num_calls


def calls_a_graph(batch: int) -> int:
    """Enough calls that none finds its experts in L2 (50 MB): see above."""
    return 16 if batch <= 8 else 4


def record(layer: Layer, inputs: list[Inputs], config: Config) -> Graph:
    """Run the calls once, which compiles or loads the kernels, and record them."""
    return record_calls(lambda one: layer.run(one, config), inputs)


def record_calls(run: Callable[[Inputs], Any], inputs: list[Inputs]) -> Graph:
    """The same for a layer of any kind."""
    for one in inputs:
        run(one)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for one in inputs:
            run(one)
    return Graph(graph, len(inputs))


def quick_us(graph: Graph, best_us: float) -> float:
    """Median of five replays after one; the first alone if it is hopeless beside `best_us`."""
    graph.replay_us()
    first = graph.replay_us()
    if first > 1.5 * best_us:
        return first
    return median([first, *(graph.replay_us() for _ in range(4))])


@dataclass(frozen=True)
class Comparison:
    """One configuration beside the first of its comparison."""

    us: float
    speed_up: float
    """How many times as fast as the first: median over rounds."""
    low: float
    high: float
    """The ratios' quartiles."""


def compare(graphs: list[Graph], rounds: int = 21) -> list[Comparison]:
    """Replay all graphs in turn, `rounds` times."""
    for graph in graphs:
        graph.replay_us()
    times = [[graph.replay_us() for graph in graphs] for _ in range(rounds)]
    results = []
    for place in range(len(graphs)):
        ratios = sorted(row[0] / row[place] for row in times)
        results.append(
            Comparison(
                us=median(row[place] for row in times),
                speed_up=median(ratios),
                low=ratios[rounds // 4],
                high=ratios[-1 - rounds // 4],
            )
        )
    return results


def error(layer: Layer, inputs: list[Inputs], config: Config, reference: Config) -> float:
    """||out - reference|| / ||reference|| over all inputs, from buffers that held NaN before."""
    difference = size = 0.0
    for one in inputs:
        outs = []
        for each in (reference, config):
            layer.poison()
            outs.append(layer.run(one, each).float().clone())
        difference += float((outs[1] - outs[0]).norm() ** 2)
        size += float(outs[0].norm() ** 2)
    return (difference / size) ** 0.5 if size else float(difference > 0)


def reference_error(layer: Layer, inputs: Inputs, config: Config) -> float:
    """The same against PyTorch's float32 sums."""
    layer.poison()
    out, right = layer.run(inputs, config).float(), layer.reference(inputs)
    return float((out - right).norm() / right.norm().clamp(min=1e-9))


def copy_bytes_per_s(size: int = 2**30) -> float:
    """The memory's bandwidth as a copy on the device shows it: bytes read and written."""
    source = torch.randint(0, 255, (size,), dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    times = []
    for _ in range(8):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        target.copy_(source)
        end.record()
        end.synchronize()
        times.append(float(start.elapsed_time(end)))
    return 2 * size / (float(median(times[2:])) / 1000)
