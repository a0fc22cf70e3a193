"""The whole of `args`: is it consistent?"""

import math
from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from serve_app.config.base import Environment, Frozen, Name
from serve_app.config.environment import resolve
from serve_app.config.ingress import Ingress
from serve_app.config.model import Model
from serve_app.config.pool import Pool
from serve_app.config.reading import validated
from serve_app.config.router import Router
from serve_app.config.tracing import Tracing
from serve_app.types import Effort

INGRESS_DEPLOYMENT = "ingress"
DRAIN_MARGIN_S = 10.0
"""How much longer than the longest answer a replica drains."""


class Settings(Frozen):
    """The whole of `args`."""

    model: Model
    pools: Annotated[dict[Name, Pool], Field(min_length=1)]
    router: Router = Router()
    ingress: Ingress = Ingress()
    tracing: Tracing | None = None
    """Off if not given."""
    env: Environment = Field(default_factory=dict)
    """Environment of every engine process."""

    @model_validator(mode="after")
    def _every_effort_has_a_pool(self) -> Self:
        if INGRESS_DEPLOYMENT in self.pools:
            raise ValueError(
                f"a pool may not be named {INGRESS_DEPLOYMENT!r}: that is the ingress deployment"
            )
        served = {effort for pool in self.pools.values() for effort in pool.efforts}
        if missing := [effort.value for effort in Effort if effort not in served]:
            pools = ", ".join(f"{name}: {[e.value for e in p.efforts]}" for name, p in self.pools.items())
            raise ValueError(f"no pool serves effort {', '.join(map(repr, missing))} (pools: {pools})")
        return self

    @model_validator(mode="after")
    def _rules_know_the_pools(self) -> Self:
        for i, preference in enumerate(self.router.prefer):
            if unknown := [name for name in preference.pools if name not in self.pools]:
                raise ValueError(
                    f"router.prefer.{i}.pools has {', '.join(map(repr, unknown))}; there are "
                    f"{', '.join(map(repr, self.pools))}"
                )
        named = {name for preference in self.router.prefer for name in preference.pools}
        for name, pool in self.pools.items():
            if not (pool.efforts or name in named or self.router.spill_over):
                raise ValueError(
                    f"pools.{name}.efforts=[] and router.spill_over=False: no request would ever go there"
                )
        if self.router.avoid_speculation and all(pool.speculation for pool in self.pools.values()):
            shapes = [shape.value for shape in self.router.avoid_speculation]
            raise ValueError(
                f"router.avoid_speculation={shapes} leaves no pool: all have speculation "
                f"({', '.join(self.pools)})"
            )
        return self

    @model_validator(mode="after")
    def _pools_can_grow(self) -> Self:
        share = self.router.admission.places
        for name, pool in self.engine_pools.items():
            target = pool.autoscaling and pool.autoscaling.target_ongoing_requests
            if target and target >= (most := math.floor(pool.places * share)):
                raise ValueError(
                    f"pools.{name}.autoscaling.target_ongoing_requests={target:g} is never passed: a "
                    f"replica is sent at most {most} requests (engine.max_num_seqs, plan.dp, "
                    f"router.admission.places), the others wait at the ingress, where Ray Serve does not "
                    f"count them"
                )
        return self

    @property
    def engine_pools(self) -> dict[str, Pool]:
        """The pools whose engines Venturi runs."""
        return {name: pool for name, pool in self.pools.items() if pool.upstream is None}

    def upstream_share(self, pool: str) -> int:
        """Return how many requests each ingress replica may have at the upstream of `pool`."""
        upstream = self.pools[pool].upstream
        assert upstream is not None, f"pool {pool} has engines of its own"
        return math.ceil(upstream.max_ongoing_requests / self.ingress.replicas)

    def engine_environment(self, pool: str) -> Environment:
        """Return the environment variables of the engine processes of `pool`."""
        ours = {"VLLM_NO_USAGE_STATS": "1"}
        if self.pools[pool].device == "gpu":
            # Where it has no file for a GPU and a shape, vLLM goes on as without it.
            ours["VLLM_TUNED_CONFIG_FOLDER"] = str(resolve("deploy/kernels"))
        if self.tracing:
            # vLLM would take the endpoint for one of gRPC.
            ours |= {
                "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf",
                "OTEL_SERVICE_NAME": f"venturi-{pool}",
            }
        return ours | self.env | self.pools[pool].env

    @property
    def drain_s(self) -> float:
        """How long a replica that leaves may still answer: longer than its longest answer."""
        return self.ingress.request_timeout_s + DRAIN_MARGIN_S


def parse(args: Mapping[str, Any]) -> Settings:
    """Return the settings, or raise ConfigError with one line for each thing that is wrong."""
    return validated(Settings, dict(args))
