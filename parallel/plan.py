"""How many ranks run one copy of the model, and how are they laid out over nodes?

A plan is four plain values. Everything that vLLM or Ray Serve must be told about parallelism is derived
from them, so the two can never disagree.
"""

import math
from dataclasses import dataclass
from typing import Literal

Device = Literal["cpu", "gpu"]
PlacementStrategy = Literal["STRICT_PACK", "PACK"]


@dataclass(frozen=True)
class ParallelPlan:
    """The parallel layout of one engine replica; ValueError on construction if it cannot run.

    A rank is one worker process on one device. `tp * dp` ranks hold one copy of the routed experts;
    each group of `tp` ranks holds one copy of the attention weights.

    A tp group may cross nodes only when `dp == 1`. With `dp > 1` vLLM packs every tp group strictly
    inside a node, with the same number of groups on each. It has another mode for groups wider than a
    node, but that one needs an environment variable on top of the arguments and takes whole nodes, so a
    plan does not offer it.
    """

    tp: int = 1
    """Ranks that split every attention head set and every dense matrix between them."""
    dp: int = 1
    """Attention groups that serve different requests but share the experts."""
    ep: bool = False
    """Whether a rank holds whole experts (True) or a slice of every expert (False)."""
    nodes: int = 1
    """Machines that the ranks are spread over, evenly."""

    def __post_init__(self) -> None:
        for field in ("tp", "dp", "nodes"):
            _check_count(field, getattr(self, field))
        if not isinstance(self.ep, bool):
            raise ValueError(f"ep={self.ep!r} must be true or false")
        if self.ep and self.world_size == 1:
            raise ValueError(f"ep=True needs more than one rank, but tp*dp={self.tp}*{self.dp}=1")
        if self.world_size % self.nodes:
            raise ValueError(
                f"nodes={self.nodes} does not divide tp*dp={self.tp}*{self.dp}={self.world_size}"
            )
        if self.dp > 1 and self.dp % self.nodes:
            raise ValueError(
                f"nodes={self.nodes} does not divide dp={self.dp}: a group of tp={self.tp} would cross nodes"
            )

    @property
    def world_size(self) -> int:
        """Ranks in all."""
        return self.tp * self.dp

    @property
    def ep_size(self) -> int:
        """Ranks that the whole experts are divided over; 1 when every rank has a slice of each expert."""
        return self.world_size if self.ep else 1

    @property
    def ranks_per_node(self) -> int:
        """Ranks on each node."""
        return self.world_size // self.nodes

    def check_model(self, *, num_experts: int, num_attention_heads: int, expert_width: int) -> None:
        """Raise ValueError when a model of this shape cannot be divided by this plan.

        `expert_width` is the inner width of one routed expert. Without `ep` vLLM slices it over tp
        *and* dp ranks.
        """
        if num_attention_heads % self.tp:
            raise ValueError(f"tp={self.tp} does not divide num_attention_heads={num_attention_heads}")
        if num_experts % self.ep_size:
            raise ValueError(
                f"ep_size=tp*dp={self.tp}*{self.dp}={self.ep_size} does not divide num_experts={num_experts}"
            )
        if not self.ep and expert_width % self.world_size:
            raise ValueError(
                f"tp*dp={self.tp}*{self.dp}={self.world_size} does not divide expert_width={expert_width}, "
                f"as ep=False needs"
            )

    def engine_arguments(self) -> dict[str, object]:
        """Keyword arguments for vLLM's AsyncEngineArgs, under its spelling and without its defaults.

        The executor is always named for more than one rank: left open, vLLM picks Ray whenever it finds
        itself in a placement group, and every Serve replica with bundles is in one.
        """
        arguments: dict[str, object] = {}
        if self.tp > 1:
            arguments["tensor_parallel_size"] = self.tp
        if self.dp > 1:
            arguments["data_parallel_size"] = self.dp
        if self.ep:
            arguments["enable_expert_parallel"] = True
        if self.world_size > 1:
            arguments["distributed_executor_backend"] = "mp" if self.nodes == 1 else "ray"
        if self.dp > 1 and self.nodes > 1:
            arguments["data_parallel_backend"] = "ray"
            arguments["data_parallel_size_local"] = self.dp // self.nodes
        return arguments

    def bundles(self, device: Device, cpus_per_rank: float) -> list[dict[str, float]]:
        """What one replica reserves: Ray Serve's `placement_group_bundles`; its actor is in the first.

        - One node: one bundle with every device. The ranks are child processes of the replica actor,
          and Ray shows an actor only the devices that it holds itself.
        - dp == 1 over nodes: a bundle a rank, since vLLM's Ray executor refuses a bundle with more than
          one device. The replica actor shares the first bundle with rank 0: it takes the processors,
          the rank takes the device.
        - dp > 1 over nodes: processors for the replica actor only. vLLM makes a placement group of its
          own for every dp rank (tp devices, and one whole processor for the engine core) out of what is
          free in the cluster, so devices reserved here would be lost to it. The replica's node must
          have room for dp // nodes of them.

        Over nodes, CPU ranks count as Ray GPUs as well: the executor identifies a rank by Ray's
        accelerator ids, and Ray has none for processors. A CPU node says how many ranks it takes with
        `ray start --num-gpus`.
        """
        _check_cpus(cpus_per_rank)
        if self.nodes == 1:
            return [_bundle(self.world_size * cpus_per_rank, self.world_size if device == "gpu" else 0)]
        if self.dp == 1:
            return [_bundle(cpus_per_rank, 1) for _ in range(self.world_size)]
        return [_bundle(cpus_per_rank, 0)]

    def replica_options(self, device: Device, cpus_per_rank: float) -> dict[str, float]:
        """What the replica actor itself holds of the first bundle, as Ray Serve's `ray_actor_options`.

        On one node it holds all of it. Over nodes it holds no device: those are for vLLM's own actors.
        """
        first = self.bundles(device, cpus_per_rank)[0]
        num_gpus = first.get("GPU", 0.0) if self.nodes == 1 else 0.0
        return {"num_cpus": first["CPU"]} | ({"num_gpus": num_gpus} if num_gpus else {})

    @property
    def placement_strategy(self) -> PlacementStrategy:
        """How Ray places the bundles, as Ray Serve's `placement_group_strategy`.

        Over nodes it is PACK: it fills a node before it takes the next, so that `nodes` full nodes are
        used and no more. SPREAD would put one rank on each of as many nodes as the cluster has.
        """
        return "STRICT_PACK" if self.nodes == 1 else "PACK"


def _bundle(cpus: float, gpus: int) -> dict[str, float]:
    """Ray's form of a reservation; a resource of which there is none is left out."""
    return {"CPU": float(cpus)} | ({"GPU": float(gpus)} if gpus else {})


def _check_count(field: str, value: object) -> None:
    """Refuse all but whole numbers from one up; a bool is an int to Python but a slip in a plan."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{field}={value!r} must be a whole number of at least 1")


def _check_cpus(cpus_per_rank: float) -> None:
    if not (math.isfinite(cpus_per_rank) and cpus_per_rank > 0):
        raise ValueError(f"cpus_per_rank={cpus_per_rank!r} must be a finite number above 0")
