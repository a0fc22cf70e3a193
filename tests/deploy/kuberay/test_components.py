"""Each component does what its first line says, to any overlay."""

from pathlib import Path
from typing import Any

import yaml

from tests.deploy.kuberay.rendered import COMPONENTS, KUBERAY, Objects, kustomize, of_kind, ray_service


def with_components(tmp_path: Path, *names: str) -> Objects:
    """Return h200x2 with components, as a kustomization outside would have it."""
    # Kustomize takes relative paths only; what they lead to may lie anywhere.
    above = "/".join([".."] * len(tmp_path.resolve().parts[1:])) + str(KUBERAY)
    (tmp_path / "kustomization.yaml").write_text(
        yaml.safe_dump(
            {
                "apiVersion": "kustomize.config.k8s.io/v1beta1",
                "kind": "Kustomization",
                "resources": [f"{above}/h200x2"],
                "components": [f"{above}/components/{name}" for name in names],
            }
        )
    )
    return kustomize(tmp_path)


def workers(objects: Objects) -> list[dict[str, Any]]:
    """Return the workers' pod specs."""
    cluster = ray_service(objects).spec.rayClusterConfig
    return [group.template["spec"] for group in cluster.workerGroupSpecs]


def test_all_at_once(tmp_path: Path) -> None:
    """They do not contradict each other."""
    names = [name for name in COMPONENTS if name != "serve-file"]
    assert len(names) == 4
    cluster = ray_service(with_components(tmp_path, *names)).spec.rayClusterConfig
    assert cluster.enableInTreeAutoscaling
    assert cluster.gcsFaultToleranceOptions


def test_gcs_redis(tmp_path: Path) -> None:
    """The head finds Redis, with a password from a Secret, and may connect to its port."""
    objects = with_components(tmp_path, "gcs-redis")
    options = ray_service(objects).spec.rayClusterConfig.gcsFaultToleranceOptions
    assert options
    assert options.redisPassword["valueFrom"]["secretKeyRef"]["name"] == "venturi-redis"
    (policy,) = [p for p in of_kind(objects, "NetworkPolicy") if p["metadata"]["name"] == "venturi-redis"]
    (port,) = policy["spec"]["egress"][0]["ports"]
    assert options.redisAddress.endswith(f":{port['port']}")


def test_hostpath_models(tmp_path: Path) -> None:
    """The folder of the node is in the claim's place."""
    objects = with_components(tmp_path, "hostpath-models")
    for spec in workers(objects):
        (models,) = [volume for volume in spec["volumes"] if volume["name"] == "models"]
        assert models == {
            "name": "models",
            "hostPath": {"path": "/var/lib/venturi/models", "type": "Directory"},
        }


def test_nvidia_runtime(tmp_path: Path) -> None:
    """Of every worker, and not of the head."""
    objects = with_components(tmp_path, "nvidia-runtime")
    assert [spec["runtimeClassName"] for spec in workers(objects)] == ["nvidia", "nvidia"]
    assert "runtimeClassName" not in ray_service(objects).spec.rayClusterConfig.headGroupSpec.template["spec"]
