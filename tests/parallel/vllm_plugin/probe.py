"""Which fixes does a process have after vLLM loaded its plugins? Run as a script; prints a line of JSON.

`in_effect` by the name of the fix, `platform`, `vision_error` (null if vLLM's Pixtral can be imported),
`policy_error` (null if the configuration takes our policy for placing experts), and `routings`: the simulated
ones that vLLM knows, and those that it knows once the environment names one of ours.
"""

import importlib
import json
import os

from vllm.platforms import current_platform
from vllm.plugins import load_general_plugins

from parallel.vllm_plugin import register
from parallel.vllm_plugin.fixes import FIXES


def vision_error() -> str | None:
    """Why vLLM's vision tower cannot be imported, if so."""
    try:
        importlib.import_module("vllm.model_executor.models.pixtral")
    except ImportError as error:
        return f"{type(error).__name__}: {error}"
    return None


def policy_error() -> str | None:
    """Why a configuration cannot choose our policy, if so: by the two ways that an engine's options take."""
    from vllm.config import ParallelConfig
    from vllm.config.parallel import EPLBConfig

    try:
        ParallelConfig(eplb_config=EPLBConfig(policy="steady", num_redundant_experts=0))
        ParallelConfig(eplb_config={"policy": "steady"})
    except ValueError as error:
        return str(error)
    return None


def routings() -> tuple[list[str], list[str]]:
    """The names of simulated routings: as vLLM comes up, and with one of ours in the environment."""
    from vllm.model_executor.layers.fused_moe.router.routing_simulator_router import RoutingSimulator

    before = list(RoutingSimulator._routing_strategies)
    os.environ["VLLM_MOE_ROUTING_SIMULATION_STRATEGY"] = "venturi_zipf"
    register()
    return before, list(RoutingSimulator._routing_strategies)


if __name__ == "__main__":
    load_general_plugins()
    load_general_plugins()  # as vLLM may
    in_effect = {fix.name: fix.in_effect() for fix in FIXES}
    found = {
        "in_effect": in_effect,
        "platform": type(current_platform).__name__,
        "vision_error": vision_error(),
        "policy_error": policy_error(),
        "routings": routings(),  # last: it registers the fixes, also where vLLM may not
    }
    print(json.dumps(found))
