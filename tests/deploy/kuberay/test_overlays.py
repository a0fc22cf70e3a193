"""Each overlay: valid objects, and a cluster that has what its serve file asks for."""

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest

from serve_app.config import PROJECT_ROOT, Settings
from serve_app.ingress.auth import Access
from serve_app.serve_file import ServeFile, load
from tests.deploy.kuberay.rendered import KUBERAY, OVERLAYS, of_kind, overlay, ray_service

KUBERNETES = "1.29"
"""The oldest version that is promised; newer ones keep what these objects use."""

# Ray Serve's own models use what pydantic has deprecated.
pytestmark = [
    pytest.mark.filterwarnings(
        "ignore:Using extra keyword arguments on:pydantic.warnings.PydanticDeprecatedSince20"
    ),
    pytest.mark.parametrize("name", OVERLAYS),
]


def served(name: str, folder: Path) -> ServeFile:
    """Return the serve file that is embedded."""
    embedded = folder / "embedded.yaml"
    embedded.write_text(ray_service(overlay(name)).spec.serveConfigV2)
    return load(embedded)


def container(pod: dict[str, Any]) -> dict[str, Any]:
    """Return the container that runs Ray."""
    one: dict[str, Any] = pod["spec"]["containers"][0]
    return one


def test_the_embedded_configuration_is_the_serve_file(name: str) -> None:
    """Byte for byte; `cp deploy/NAME.yaml deploy/kuberay/NAME/serve.yaml` mends it."""
    source = (PROJECT_ROOT / "deploy" / f"{name}.yaml").read_text()
    assert (KUBERAY / name / "serve.yaml").read_text() == source
    assert ray_service(overlay(name)).spec.serveConfigV2 == source


def test_the_embedded_configuration_is_checked(name: str, tmp_path: Path) -> None:
    """As `python -m serve_app check` does, and only for who has a key."""
    assert served(name, tmp_path).access is Access.KEYS


def test_objects_are_valid(name: str) -> None:
    """By Kubernetes' own schemas, in which no other fields may be; pod templates too."""
    pods = [
        {"apiVersion": "v1", "kind": "Pod", **p}
        for p in ray_service(overlay(name)).spec.rayClusterConfig.pods()
    ]
    for pod in pods:
        pod["metadata"] = pod["metadata"] | {"name": "pod"}
    for one in [*pods, *(o for o in overlay(name) if o["kind"] != "RayService")]:
        kubernetes_validate.validate(one, KUBERNETES, strict=True)


def test_a_group_of_workers_for_each_pool(name: str, tmp_path: Path) -> None:
    """With as many workers as replicas times nodes, the labels that it asks for, and its GPUs and CPUs."""
    settings = served(name, tmp_path).settings
    cluster = ray_service(overlay(name)).spec.rayClusterConfig
    groups = {group.groupName: group for group in cluster.workerGroupSpecs}
    assert set(groups) == set(settings.pools)
    for pool_name, pool in settings.pools.items():
        group, plan = groups[pool_name], pool.plan
        scale = pool.autoscaling
        bounds = (scale.min_replicas, scale.max_replicas) if scale else (pool.replicas or 1,) * 2
        assert (group.minReplicas, group.maxReplicas) == tuple(n * plan.nodes for n in bounds)
        assert group.minReplicas <= group.replicas <= group.maxReplicas
        assert pool.node_labels.items() <= group.labels.items()
        resources = container(group.template)["resources"]
        assert resources["limits"]["nvidia.com/gpu"] == plan.ranks_per_node
        assert resources["requests"]["nvidia.com/gpu"] == plan.ranks_per_node
        ingress = settings.ingress
        needed = plan.ranks_per_node * pool.cpus_per_rank + ingress.replicas * ingress.num_cpus
        assert needed <= int(group.rayStartParams["num-cpus"]) <= int(resources["requests"]["cpu"])


def test_autoscaling_where_the_serve_file_has_it(name: str, tmp_path: Path) -> None:
    """Replicas that no worker comes for would wait for ever."""
    scales = any(pool.autoscaling for pool in served(name, tmp_path).settings.pools.values())
    cluster = ray_service(overlay(name)).spec.rayClusterConfig
    assert cluster.enableInTreeAutoscaling is scales
    if cluster.autoscalerOptions:
        assert cluster.autoscalerOptions.version == "v2"


def test_nothing_is_scheduled_on_the_head(name: str) -> None:
    """It has neither CPUs nor GPUs to give, and no traffic."""
    spec = ray_service(overlay(name)).spec
    head = spec.rayClusterConfig.headGroupSpec
    assert (head.rayStartParams["num-cpus"], head.rayStartParams["num-gpus"]) == ("0", "0")
    assert "nvidia.com/gpu" not in container(head.template)["resources"]["limits"]
    assert spec.excludeHeadPodFromServeSvc


def test_nothing_breaks_off_the_longest_answer(name: str, tmp_path: Path) -> None:
    """HAProxy, the hook that drains a worker, and the kubelet wait for it, in this order."""
    settings = served(name, tmp_path).settings
    (ray,) = of_kind(overlay(name), "ConfigMap")
    hard_stop_s = int(ray["data"]["RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S"])
    assert hard_stop_s == settings.ingress.request_timeout_s + 10 == settings.drain_s
    for group in ray_service(overlay(name)).spec.rayClusterConfig.workerGroupSpecs:
        hook = container(group.template)["lifecycle"]["preStop"]["exec"]["command"]
        assert hook == ["python", "-m", "deploy.leave", "--within-s", str(hard_stop_s)]
        assert group.template["spec"]["terminationGracePeriodSeconds"] > hard_stop_s


def test_ray_s_environment_is_the_same_everywhere(name: str) -> None:
    """On every node HAProxy that notices when a client has left, as README asks for."""
    (ray,) = of_kind(overlay(name), "ConfigMap")
    assert ray["data"]["RAY_SERVE_ENABLE_HA_PROXY"] == ray["data"]["RAY_SERVE_THROUGHPUT_OPTIMIZED"] == "1"
    assert ray["data"]["RAY_SERVE_HAPROXY_BINARY_PATH"].endswith("/venturi-haproxy")
    for pod in ray_service(overlay(name)).spec.rayClusterConfig.pods():
        assert container(pod)["envFrom"] == [{"configMapRef": {"name": ray["metadata"]["name"]}}]


def test_workers_have_what_the_serve_file_names(name: str, tmp_path: Path) -> None:
    """Checkpoints and keys, at its paths, and only to read."""
    settings = served(name, tmp_path).settings
    for group in ray_service(overlay(name)).spec.rayClusterConfig.workerGroupSpecs:
        mounts = {m["mountPath"]: m for m in container(group.template)["volumeMounts"]}
        for path in _paths(settings):
            assert mounts[str(path.parent)]["readOnly"], path
        assert "/dev/shm" in mounts


def _paths(settings: Settings) -> list[Path]:
    drafts = [pool.speculation.draft for pool in settings.pools.values() if pool.speculation]
    return [Path(path) for path in (settings.model.path, *drafts, settings.ingress.auth.keys_file or "")]


def test_pods_are_restricted(name: str) -> None:
    """As the `restricted` Pod Security Standard has it, and with a file system that cannot be written."""
    for pod in ray_service(overlay(name)).spec.rayClusterConfig.pods():
        context = pod["spec"]["securityContext"]
        assert context["runAsNonRoot"]
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container(pod)["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        }


def test_selectors_select(name: str) -> None:
    """Budgets and network policies are of pods that exist; budgets count pods: Ray's have no scale."""
    labels = [p["metadata"]["labels"] for p in ray_service(overlay(name)).spec.rayClusterConfig.pods()]
    objects = overlay(name)
    selectors = [b["spec"]["selector"] for b in of_kind(objects, "PodDisruptionBudget")]
    selectors += [p["spec"]["podSelector"] for p in of_kind(objects, "NetworkPolicy")]
    for selector in selectors:
        assert any(selector["matchLabels"].items() <= one.items() for one in labels)
    assert all(isinstance(b["spec"]["minAvailable"], int) for b in of_kind(objects, "PodDisruptionBudget"))


def test_ray_is_reached_by_nobody_else(name: str) -> None:
    """Every rule for who may come names ports, but the one among Ray's own pods; GCS has no other."""
    policies = {p["metadata"]["name"]: p["spec"] for p in of_kind(overlay(name), "NetworkPolicy")}
    rules = policies["venturi"]["ingress"]
    own = [rule for rule in rules if "ports" not in rule]
    assert own == [{"from": [{"podSelector": {"matchLabels": {"app.kubernetes.io/name": "venturi"}}}]}]
    opened = {port["port"] for rule in rules for port in rule.get("ports", [])}
    assert opened == {8000, 8265, 8080}
    for rule in rules:
        if {"port": 8265, "protocol": "TCP"} in rule.get("ports", []):
            (peer,) = rule["from"]
            assert peer["namespaceSelector"]["matchLabels"] == {
                "kubernetes.io/metadata.name": "kuberay-system"
            }


def test_the_versions_of_ray_agree(name: str) -> None:
    """KubeRay starts Ray as this version wants it; the image has the locked one."""
    lock = (PROJECT_ROOT / "deploy/requirements/gpu.lock").read_text().splitlines()
    assert f"ray=={ray_service(overlay(name)).spec.rayClusterConfig.rayVersion}" in lock
