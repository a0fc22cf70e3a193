"""The composition: which deployments a serve file becomes, and what each one reserves."""

from types import SimpleNamespace
from typing import Any

import pytest
from ray import serve
from ray.serve import Application, Deployment

from serve_app.app import CALL_ENVIRONMENT, IngressReplica, build, listens_on
from serve_app.autoscaling import POLICY
from serve_app.config import parse
from serve_app.engine.handle import HandleBackend
from serve_app.engine.replica import EngineReplica
from serve_app.engine.upstream import UpstreamBackend
from serve_app.errors import ConfigError
from tests.serve_app.samples import args

T = "pools.throughput"
AWAY = {"model.path": "/models/not-here", "model.weight_format": "fp8"}


def bound(application: Application) -> tuple[Deployment, tuple[Any, ...]]:
    """Return the deployment of an application, and what it is bound to."""
    deployment = application._bound_deployment
    return deployment, deployment.init_args


def engine(changes: dict[str, Any]) -> tuple[Deployment, tuple[Any, ...]]:
    """Return the deployment of the throughput pool, and what it is bound to."""
    _, (_, engines) = bound(build(args(AWAY | changes)))
    return bound(engines["throughput"])


def test_ingress_over_one_deployment_a_pool() -> None:
    """The ingress holds the settings and a handle on each pool; it drains longer than any answer takes."""
    ingress, (settings, engines) = bound(
        build(args(AWAY | {"ingress.replicas": 2, "ingress.num_cpus": 0, "ingress.request_timeout_s": 60}))
    )
    assert (ingress.name, ingress.num_replicas) == ("ingress", 2)
    assert ingress.ray_actor_options["num_cpus"] == 0
    assert ingress.ray_actor_options["runtime_env"] == {"env_vars": CALL_ENVIRONMENT}
    assert ingress._deployment_config.graceful_shutdown_timeout_s == 70
    assert settings.ingress.replicas == 2
    assert {name: bound(e)[0].name for name, e in engines.items()} == {
        "throughput": "throughput",
        "latency": "latency",
    }


def test_an_engine() -> None:
    """A pool's deployment has its limits and environment, and is bound to its engine's arguments."""
    deployment, (pool, model, arguments) = engine(
        {
            f"{T}.replicas": 3,
            f"{T}.max_ongoing_requests": 300,
            f"{T}.max_queued_requests": 30,
            f"{T}.cpus_per_rank": 4,
            f"{T}.plan": {"tp": 2},
            f"{T}.engine": {"max_num_seqs": 256},
            "env": {"A": "1"},
        }
    )
    assert deployment.func_or_class is EngineReplica
    assert (deployment.num_replicas, deployment.max_ongoing_requests) == (3, 300)
    assert deployment.max_queued_requests == 30
    assert deployment.user_config == {"draining": False}
    assert deployment.ray_actor_options["num_cpus"] == 8
    assert deployment.ray_actor_options["num_gpus"] == 2
    environment = deployment.ray_actor_options["runtime_env"]["env_vars"]
    assert environment.items() >= (CALL_ENVIRONMENT | {"VLLM_NO_USAGE_STATS": "1", "A": "1"}).items()
    assert deployment._replica_config.placement_group_bundles is None
    assert (pool, model) == ("throughput", "mistral-small-4")
    assert (arguments["tensor_parallel_size"], arguments["max_num_seqs"]) == (2, 256)


def test_a_server_that_is_not_ours_is_not_deployed() -> None:
    """It needs no deployment: the ingress speaks to it."""
    there = {"efforts": [], "upstream": {"url": "http://there/v1"}}
    _, (settings, engines) = bound(build(args(AWAY | {"pools.overflow": there})))
    assert list(settings.pools) == ["throughput", "latency", "overflow"]
    assert list(engines) == ["throughput", "latency"]


def test_an_ingress_over_both_kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each pool is reached by its own means, in the order of the settings."""
    context = SimpleNamespace(replica_id=SimpleNamespace(unique_id="i1"))
    monkeypatch.setattr(serve, "get_replica_context", lambda: context)
    there = {"efforts": ["none"], "upstream": {"url": "http://there/v1"}}
    settings = parse(args({"pools.throughput": there}))
    handle: Any = SimpleNamespace(options=lambda **_: None)
    pools = IngressReplica(settings, {"latency": handle})._pools
    assert {name: type(pool.backend) for name, pool in pools.items()} == {
        "throughput": UpstreamBackend,
        "latency": HandleBackend,
    }


def test_our_router_chooses_the_replica() -> None:
    """Serve's own choice among replicas is replaced by ours."""
    deployment, _ = engine({})
    chosen = deployment._deployment_config.request_router_config.request_router_class
    assert chosen == "serve_app.engine.pinned.PinnedReplicaRouter"


def test_over_nodes() -> None:
    """A plan over nodes reserves a placement group, of which the replica itself holds no device."""
    deployment, _ = engine({f"{T}.plan": {"tp": 2, "nodes": 2}})
    replica = deployment._replica_config
    assert replica.placement_group_bundles == [{"CPU": 1.0, "GPU": 1.0}] * 2
    assert replica.placement_group_strategy == "PACK"
    assert "num_gpus" not in deployment.ray_actor_options or deployment.ray_actor_options["num_gpus"] == 0


def test_node_labels() -> None:
    """On one node the replica's actor is bound to them, over nodes every bundle is."""
    labels = {"pool": "throughput"}
    deployment, _ = engine({f"{T}.node_labels": labels})
    assert deployment.ray_actor_options["label_selector"] == labels
    deployment, _ = engine({f"{T}.node_labels": labels, f"{T}.plan": {"tp": 2, "nodes": 2}})
    assert "label_selector" not in deployment.ray_actor_options
    replica = deployment._replica_config
    assert replica.placement_group_bundle_label_selector == [labels] * len(replica.placement_group_bundles)


def test_autoscaling() -> None:
    """Autoscaling goes to Serve under Serve's names."""
    deployment, _ = engine({f"{T}.autoscaling": {"max_replicas": 4, "target_ongoing_requests": 64}})
    scaling = deployment._deployment_config.autoscaling_config
    assert (scaling.min_replicas, scaling.max_replicas, scaling.target_ongoing_requests) == (1, 4, 64)


def test_autoscaling_by_targets() -> None:
    """Where no number of requests is given, Serve asks our policy, which knows the pool's limits."""
    deployment, _ = engine({f"{T}.autoscaling": {"max_replicas": 4}, f"{T}.engine": {"max_num_seqs": 64}})
    scaling = deployment._deployment_config.autoscaling_config
    assert scaling.policy.policy_function == POLICY
    assert scaling.policy.policy_kwargs["max_num_seqs"] == 64
    assert (scaling.policy.policy_kwargs["least"], scaling.policy.policy_kwargs["most"]) == (1, 4)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"model.nmae": 1}, "model.nmae: unknown key; did you mean 'name'?"),
        ({f"{T}.plan": {"tp": 3}}, "pools.throughput: tp=3 does not divide num_attention_heads=32"),
    ],
)
def test_wrong_settings_are_not_deployed(changes: dict[str, Any], line: str) -> None:
    """Nothing is built out of settings that are wrong, or of a plan that cannot run the model."""
    with pytest.raises(ConfigError) as refused:
        build(args(AWAY | changes))
    assert refused.value.problems == [line]


def test_the_host_is_the_controllers(monkeypatch: pytest.MonkeyPatch) -> None:
    """What Serve listens on is what its controller says, not what a file asked for."""
    client = SimpleNamespace(http_config=serve.HTTPOptions(host="10.0.0.7"))
    monkeypatch.setattr(serve.context, "_get_global_client", lambda: client)
    assert listens_on() == "10.0.0.7"
