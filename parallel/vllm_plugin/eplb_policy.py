"""How can vLLM's expert load balancing place experts with `parallel.placement`?

    eplb_config: {policy: steady, num_redundant_experts: 16}

Reason: vLLM keeps its policies in a table, but the configuration's type lists their names, and asynchronous
balancing, the default, accepts the name `default` alone, although it calls any policy the same way. So the
policy is put into the table, its name into the type, and the check of the configuration sees `default` in
its place. Nothing of vLLM's own policy changes.
Upstream symptoms: `Input should be 'default'` for any other policy, and `Async EPLB is only supported with
the default policy.` With that one, every rearrangement moves nearly all experts, also when the load has
hardly changed: it packs from nothing, and keeps the slots of what happens to stay on a rank.
No longer needed when: `EPLBConfig` takes names from outside, and lets them be asynchronous; the policy
itself, when vLLM's own starts from the current placement.
"""

from typing import Any, Literal, get_args

import torch
from pydantic.dataclasses import rebuild_dataclass
from vllm.config.parallel import EPLBConfig, EPLBPolicyOption, ParallelConfig
from vllm.distributed.eplb.policy import EPLB_POLICIES, AbstractEplbPolicy

from parallel.placement import place
from parallel.placement.maps import EMPTY

NAME = "steady"
"""What `eplb_config.policy` calls it."""

TOLERANCE = 0.003
"""What `place` is told. With less, two to three times as many experts are moved after each window of a load
that stays the same, and in the window that follows the ranks are no more balanced (tests.bench.placement).
"""

_CHECK = "_validate_eplb_config"


class SteadyPolicy(AbstractEplbPolicy):
    """`parallel.placement.place`, as vLLM calls its policies."""

    @classmethod
    def rebalance_experts(
        cls,
        weight: torch.Tensor,
        num_replicas: int,
        num_groups: int,
        num_nodes: int,
        num_ranks: int,
        old_global_expert_indices: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """The expert for each slot, [layers, slots], on the CPU; ValueError as `place` raises it.

        `weight` [layers, experts]: tokens that were routed to each. `num_replicas`: slots in all.
        As with vLLM's policy, groups of experts stay on a node each if their number can be divided by
        `num_nodes`, and else do not matter; there is one group in models that route without groups. A
        current placement `old_global_expert_indices` [layers, slots] of another size, which vLLM hands over
        while ranks leave, tells nothing of use: it does not say which of its ranks will stay.
        """
        load = weight.double().cpu().numpy()
        slots = (load.shape[0], num_replicas)
        current = None
        if old_global_expert_indices is not None and tuple(old_global_expert_indices.shape) == slots:
            # Ranks that have just joined have empty slots: a negative number to vLLM.
            current = old_global_expert_indices.cpu().clamp(min=EMPTY).numpy()
        placement = place(
            load,
            ranks=num_ranks,
            redundant=num_replicas - load.shape[1],
            nodes=num_nodes,
            groups=num_groups if num_groups % num_nodes == 0 else None,
            current=current,
            tolerance=TOLERANCE,
        )
        return torch.from_numpy(placement.physical_to_logical)


def in_effect() -> bool:
    """Whether vLLM finds our policy in its table, into which it comes last."""
    return EPLB_POLICIES.get(NAME) is SteadyPolicy


def install() -> None:
    """Put the policy into the table, and its name into the configuration, which is then compiled anew."""
    if in_effect():
        return
    names: Any = Literal[(*get_args(EPLBPolicyOption), NAME)]
    # The first is what the check is compiled from, the second what vLLM's command line reads.
    EPLBConfig.__dataclass_fields__["policy"].type = names
    EPLBConfig.__annotations__["policy"] = names
    check = EPLBConfig.__pydantic_decorators__.model_validators[_CHECK]
    check.func = _as_default(check.func)
    for kind in (EPLBConfig, ParallelConfig):  # the second has the first one's check compiled into its own
        rebuild_dataclass(kind, force=True)
    EPLB_POLICIES[NAME] = SteadyPolicy


def _as_default(check: Any) -> Any:
    """The check of an EPLBConfig, with our policy allowed whatever `default` is allowed."""

    def checked(config: Any) -> Any:
        if config.policy != NAME:
            return check(config)
        config.policy = "default"
        try:
            return check(config)
        finally:
            config.policy = NAME

    return checked
