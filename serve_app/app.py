"""How are the deployments put together? The only file that binds them."""

import logging
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from fastapi import FastAPI
from ray import serve
from ray.serve import Application
from ray.serve.config import AutoscalingConfig, AutoscalingPolicy, RequestRouterConfig
from ray.serve.handle import DeploymentHandle

from serve_app import tracing
from serve_app.autoscaling import LOOK_BACK_S, POLICY, policy_arguments
from serve_app.config import INGRESS_DEPLOYMENT, Pool, Settings, parse
from serve_app.engine.arguments import engine_arguments
from serve_app.engine.fit import fit, max_model_len
from serve_app.engine.handle import METRICS_TIMEOUT_S, HandleBackend, ask_all
from serve_app.engine.replica import EngineReplica
from serve_app.engine.traits import step_tables, traits
from serve_app.engine.upstream import UpstreamBackend
from serve_app.ingress.api import make_app
from serve_app.ingress.gate import Gate
from serve_app.metrics import Metrics
from serve_app.pools import directory, pool
from serve_app.router.dispatch import Router
from serve_app.router.policy import Policy

logger = logging.getLogger("ray.serve")

CALL_ENVIRONMENT = {"RAY_SERVE_REPLICA_GRPC_MAX_MESSAGE_LENGTH": "-1"}
"""For callers and called, where RAY_SERVE_THROUGHPUT_OPTIMIZED moves calls to gRPC: no limit to a message.
It would be 4 MiB, less than a body with an image; `ingress.max_body_bytes` has been applied before."""

HEALTH_CHECK_PERIOD_S = 2.0
HEALTH_CHECK_TIMEOUT_S = 30.0
"""Generous: an engine process that compiles or loads can hold its replica's interpreter for seconds."""


class IngressReplica:
    """One replica of the HTTP edge, with a router of its own over the pools' handles."""

    def __init__(self, settings: Settings, handles: Mapping[str, "DeploymentHandle[object]"]) -> None:
        self._settings = settings
        self._id = serve.get_replica_context().replica_id.unique_id
        self._pools = {}
        for name in settings.pools:
            backend = (
                HandleBackend(handles[name], self._id) if name in handles else UpstreamBackend(settings, name)
            )
            self._pools[name] = pool.Pool(traits(settings, name), backend)

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Return the ASGI app; Serve calls this in the replica, after the constructor."""
        settings = self._settings
        metrics = Metrics(self._id)
        metrics.start_at_zero(settings.pools)
        pools = directory.Directory(self._pools, settings.router.report_period_s)
        policy = Policy(settings.router.rules(), step_tables(settings), Random(self._id))
        max_queued = {name: one.max_queued_requests for name, one in settings.pools.items()}
        traces = tracing.OFF
        if settings.tracing:
            traces = tracing.exported(settings.tracing, "venturi-ingress", self._id)
            logger.addFilter(tracing.TraceIds())
        router = Router(pools, policy, metrics, max_queued, tracer=traces.tracer)
        self._metrics, self._router = metrics, router
        gate = Gate(settings.ingress, listens_on(), metrics)
        # What fits whichever home a request has.
        length = min(max_model_len(settings, name) for name, pool in settings.pools.items() if pool.efforts)
        siblings = self._siblings_metrics
        return make_app(
            router, settings.model, settings.ingress, metrics, gate, length, siblings=siblings, traces=traces
        )

    async def metrics(self) -> tuple[str, bytes]:
        """Return this replica's id and its own metrics, for the one that was asked for all."""
        self._router.show_state()
        return self._id, self._metrics.own()

    async def _siblings_metrics(self) -> Sequence[bytes]:
        """Return the own metrics of every other ingress replica that answers."""
        context = serve.get_replica_context()
        handle = serve.get_deployment_handle(INGRESS_DEPLOYMENT, context.app_name)
        answers = await ask_all(handle, "metrics", METRICS_TIMEOUT_S)
        return [a[1] for a in answers if isinstance(a, tuple) and a[0] != self._id]


def build(args: Mapping[str, Any]) -> Application:
    """Return the Serve application for the `args` of a serve YAML.

    Raises ConfigError, with a line for each thing that is wrong.
    """
    settings = parse(args)
    for name in settings.engine_pools:
        fit(settings, name)
    engines = {name: engine(settings, name) for name in settings.engine_pools}
    ingress = settings.ingress
    return (
        serve.deployment(serve.ingress()(IngressReplica))
        .options(
            name=INGRESS_DEPLOYMENT,
            num_replicas=ingress.replicas,
            max_ongoing_requests=ingress.max_ongoing_requests,
            ray_actor_options={
                "num_cpus": ingress.num_cpus,
                "runtime_env": {"env_vars": dict(CALL_ENVIRONMENT)},
            },
            graceful_shutdown_timeout_s=settings.drain_s,
        )
        .bind(settings, engines)
    )


def listens_on() -> str:
    """Return the host that Serve's HTTP servers in this cluster are bound to, as its controller has it.

    Only inside a replica. HAProxy, Serve's proxy and the replicas' own HTTP servers all take it from there,
    and it cannot change while Serve runs.
    """
    host: str = serve.context._get_global_client().http_config.host
    return host


def engine(settings: Settings, name: str) -> Application:
    """Return the deployment of one pool with engines of its own."""
    pool_settings = settings.pools[name]
    options: dict[str, Any] = {
        "name": name,
        "max_ongoing_requests": pool_settings.max_ongoing_requests,
        "max_queued_requests": pool_settings.max_queued_requests,
        "graceful_shutdown_timeout_s": settings.drain_s,
        "health_check_period_s": HEALTH_CHECK_PERIOD_S,
        "health_check_timeout_s": HEALTH_CHECK_TIMEOUT_S,
        # Else replicas would not be told when what a serve file said of draining is taken out of it.
        "user_config": {"draining": False},
        "request_router_config": RequestRouterConfig(
            request_router_class="serve_app.engine.pinned.PinnedReplicaRouter"
        ),
    }
    options |= _scale(settings, name) | _resources(pool_settings, settings.engine_environment(name))
    return (
        serve.deployment(EngineReplica)
        .options(**options)
        .bind(name, settings.model.name, engine_arguments(settings, name), num_nodes=pool_settings.plan.nodes)
    )


def _scale(settings: Settings, name: str) -> dict[str, Any]:
    pool = settings.pools[name]
    if pool.autoscaling is None:
        return {"num_replicas": pool.replicas or 1}
    scaling = pool.autoscaling.model_dump(exclude_none=True)
    if pool.autoscaling.target_ongoing_requests is None:
        arguments = policy_arguments(settings, name)
        scaling["policy"] = AutoscalingPolicy(policy_function=POLICY, policy_kwargs=arguments)
        scaling["look_back_period_s"] = LOOK_BACK_S
    return {"autoscaling_config": AutoscalingConfig(**scaling)}


def _resources(settings: Pool, env: dict[str, str]) -> dict[str, Any]:
    plan, device, cpus = settings.plan, settings.device, settings.cpus_per_rank
    runtime_env = {"env_vars": CALL_ENVIRONMENT | env}
    resources: dict[str, Any] = {
        "ray_actor_options": {**plan.replica_options(device, cpus), "runtime_env": runtime_env}
    }
    if plan.nodes > 1:
        # On one node the replica actor holds all devices itself, and needs no placement group.
        resources["placement_group_bundles"] = plan.bundles(device, cpus)
        resources["placement_group_strategy"] = plan.placement_strategy
    if settings.node_labels and plan.nodes > 1:
        resources["placement_group_bundle_label_selector"] = [settings.node_labels]
    elif settings.node_labels:
        resources["ray_actor_options"]["label_selector"] = settings.node_labels
    return resources
