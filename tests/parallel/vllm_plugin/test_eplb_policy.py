"""Does vLLM's expert load balancing take our policy, and is that better than its own?"""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from vllm.config import ParallelConfig
from vllm.config.parallel import EPLBConfig
from vllm.distributed.eplb import async_worker, eplb_state, rebalance_execute
from vllm.distributed.eplb.policy import EPLB_POLICIES, AbstractEplbPolicy, DefaultEplbPolicy

from parallel.placement import Placement, balancedness, experts_moved, initial, lower_bound, place, rank_loads
from parallel.placement.maps import Floats, Ints
from parallel.vllm_plugin import eplb_policy
from parallel.vllm_plugin.eplb_policy import TOLERANCE, SteadyPolicy
from tests.bench.expert_loads import KINDS, counts

LAYERS, EXPERTS = 6, 128
SIZES = [(4, 0), (8, 16), (32, 32)]
"""Ranks and redundant experts."""


@pytest.fixture(autouse=True)
def installed() -> None:
    """As vLLM's entry point does it."""
    eplb_policy.install()


def rebalanced(policy: type[AbstractEplbPolicy], load: Floats, at: Placement, groups: int = 1) -> Placement:
    """Where a policy of vLLM's puts the experts, starting from `at`."""
    slots = at.physical_to_logical.shape[1]
    found = policy.rebalance_experts(
        torch.from_numpy(load), slots, groups, groups, at.ranks, torch.from_numpy(at.physical_to_logical)
    )
    return Placement(found.numpy(), at.num_experts, at.ranks)


def test_upstream_takes_no_other_policy(probe: Callable[[bool], Any]) -> None:
    """The symptom."""
    assert "Input should be 'default'" in probe(False)["policy_error"]


def test_an_engine_can_be_told_to_use_it(probe: Callable[[bool], Any]) -> None:
    """As an object and as plain values, in a process in which vLLM has loaded its plugins."""
    assert probe(True)["policy_error"] is None


def test_vllm_finds_it_where_it_looks_for_policies() -> None:
    """By the name in the configuration, beside its own, which stays the default."""
    config = ParallelConfig(eplb_config=EPLBConfig(policy="steady"))
    assert EPLB_POLICIES[config.eplb_config.policy] is SteadyPolicy
    assert EPLB_POLICIES[ParallelConfig().eplb_config.policy] is DefaultEplbPolicy


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"policy": "hasty"}, "Input should be 'default' or 'steady'"),
        ({"policy": "steady", "communicator": "pynccl"}, "incompatible with async EPLB"),
        ({"policy": "steady", "window_size": 0}, "Input should be greater than 0"),
        ({"policies": "steady"}, "Unexpected keyword argument"),
    ],
)
def test_the_other_rules_hold(options: dict[str, Any], complaint: str) -> None:
    """Also those that vLLM checks after the one that ours is exempt from."""
    with pytest.raises(ValueError, match=complaint):
        EPLBConfig(**options)


def test_it_may_be_asynchronous() -> None:
    """Which is the default; the name survives the check that is made as if it were another."""
    config = EPLBConfig(policy="steady")
    assert (config.policy, config.use_async) == ("steady", True)
    assert EPLBConfig(policy="steady", use_async=False).use_async is False


def test_installing_twice_changes_nothing() -> None:
    """VLLM may call a plugin several times in one process."""
    check = EPLBConfig.__pydantic_decorators__.model_validators["_validate_eplb_config"].func
    eplb_policy.install()
    assert EPLBConfig.__pydantic_decorators__.model_validators["_validate_eplb_config"].func is check
    assert EPLBConfig.__annotations__["policy"].__args__ == ("default", "steady")


def test_the_asynchronous_worker_calls_it_as_any_other() -> None:
    """The worker's own function, with as much of its state as it reads."""
    load, start = counts("zipf", 0, 1, LAYERS, EXPERTS)[0], initial(LAYERS, EXPERTS, 8, 16)
    stats = SimpleNamespace(
        global_expert_load_window=torch.from_numpy(load).int(),
        num_replicas=144,
        num_groups=1,
        num_nodes=1,
        num_gpus=8,
    )
    new = async_worker.run_rebalance_experts(
        SimpleNamespace(eplb_stats=stats),
        SimpleNamespace(policy=EPLB_POLICIES["steady"]),
        torch.from_numpy(start.physical_to_logical),
        None,
    )
    expected = place(
        load, ranks=8, redundant=16, current=start.physical_to_logical, tolerance=TOLERANCE
    ).physical_to_logical
    assert (new.dtype, new.device.type) == (torch.int64, "cpu")
    assert new.tolist() == expected.tolist()


def test_the_maps_are_those_that_vllm_derives() -> None:
    """Slots of each expert and counts of replicas, as it hands them to its kernels."""
    load = counts("zipf", 0, 1, LAYERS, EXPERTS)[0]
    placed = rebalanced(SteadyPolicy, load, initial(LAYERS, EXPERTS, 8, 16))
    slots, replicas = eplb_state.compute_logical_maps(torch.from_numpy(placed.physical_to_logical), EXPERTS)
    assert placed.logical_to_physical.tolist() == slots.tolist()
    assert placed.replicas.tolist() == replicas.tolist()


def test_vllm_sends_as_many_experts_as_we_count() -> None:
    """Its own plan of who receives what, for a placement that leaves some and moves some."""
    start = initial(1, EXPERTS, 8, 16)
    placed = rebalanced(SteadyPolicy, counts("clustered", 0, 1, 1, EXPERTS)[0], start)
    _, receivers = rebalance_execute.get_ep_ranks_with_experts_batch(
        np.arange(EXPERTS), 144 // 8, start.physical_to_logical[0], placed.physical_to_logical[0]
    )
    assert sum(map(len, receivers.values())) == experts_moved(start, placed)[0] > 0


def test_groups_are_placed_by_node_if_nodes_can_share_them_out() -> None:
    """Four groups on four nodes stay whole; one group on two nodes is none at all."""
    load = counts("zipf", 1, 1, LAYERS, EXPERTS)[0]
    start = initial(LAYERS, EXPERTS, 8, 16)
    by_node = rebalanced(SteadyPolicy, load, start, groups=4).physical_to_logical.reshape(LAYERS, 4, -1)
    assert all(len(set((node // 32).tolist())) == 1 for layer in by_node for node in layer)
    flat = SteadyPolicy.rebalance_experts(torch.from_numpy(load), 144, 1, 2, 8)
    assert flat.tolist() == SteadyPolicy.rebalance_experts(torch.from_numpy(load), 144, 1, 1, 8).tolist()


@pytest.mark.parametrize("shape", [(LAYERS, 128), (LAYERS, 288)])
def test_a_current_placement_of_another_size_is_no_help(shape: tuple[int, int]) -> None:
    """As vLLM hands it over while ranks leave."""
    load = torch.from_numpy(counts("random", 1, 1, LAYERS, EXPERTS)[0])
    old: Ints = np.zeros(shape, dtype=np.int64)
    placed = SteadyPolicy.rebalance_experts(load, 144, 1, 1, 8, torch.from_numpy(old))
    assert placed.tolist() == SteadyPolicy.rebalance_experts(load, 144, 1, 1, 8).tolist()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("ranks", "redundant"), SIZES)
@pytest.mark.parametrize("seed", range(3))
def test_no_layer_is_less_balanced_than_with_the_default(
    kind: str, ranks: int, redundant: int, seed: int
) -> None:
    """Nor are as many experts moved; window after window, each policy from where it has left them."""
    ours = theirs = initial(LAYERS, EXPERTS, ranks, redundant)
    for load in counts(kind, seed, 4, LAYERS, EXPERTS):
        new = place(load, ranks=ranks, redundant=redundant, current=ours.physical_to_logical)
        new_default = rebalanced(DefaultEplbPolicy, load, theirs)
        assert (balancedness(load, new) >= balancedness(load, new_default) * (1 - 1e-6)).all()
        assert (experts_moved(ours, new) < experts_moved(theirs, new_default)).all()
        ours, theirs = new, new_default


@pytest.mark.parametrize("kind", KINDS)
def test_the_policy_moves_a_quarter_of_what_the_default_does(kind: str) -> None:
    """At most, for a balancedness within its tolerance of the best; and within 2 % of the bound."""
    ours = theirs = initial(LAYERS, EXPERTS, 8, 16)
    moved = moved_by_default = 0
    for load in counts(kind, 5, 4, LAYERS, EXPERTS):
        new, new_default = rebalanced(SteadyPolicy, load, ours), rebalanced(DefaultEplbPolicy, load, theirs)
        assert (
            balancedness(load, new) >= balancedness(load, new_default) / (1 + TOLERANCE) * (1 - 1e-6)
        ).all()
        assert (rank_loads(load, new).max(axis=1) <= 1.02 * lower_bound(load, 8, 16)).all()
        moved += experts_moved(ours, new).sum()
        moved_by_default += experts_moved(theirs, new_default).sum()
        ours, theirs = new, new_default
    assert moved < moved_by_default / 4


@pytest.mark.parametrize("kind", KINDS)
def test_groups_on_nodes_are_no_less_balanced_either(kind: str) -> None:
    """The default's other procedure: eight groups on four nodes of two ranks."""
    start = initial(LAYERS, EXPERTS, 8, 16)
    load = counts(kind, 3, 1, LAYERS, EXPERTS)[0]
    new = place(load, ranks=8, redundant=16, nodes=4, groups=8, current=start.physical_to_logical)
    found = DefaultEplbPolicy.rebalance_experts(
        torch.from_numpy(load), 144, 8, 4, 8, torch.from_numpy(start.physical_to_logical)
    )
    default = Placement(found.numpy(), EXPERTS, 8)
    assert (balancedness(load, new) >= balancedness(load, default) * (1 - 1e-6)).all()
    assert experts_moved(start, new).sum() < experts_moved(start, default).sum()
