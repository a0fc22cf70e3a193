"""The claim and the Job that fills it: what workers mount, with the folders that serve files name."""

from pathlib import Path

import kubernetes_validate

from deploy.checkpoints.hub import PUBLISHED
from tests.deploy.kuberay.rendered import KUBERAY, kustomize, of_kind, overlay, ray_service
from tests.deploy.kuberay.test_overlays import KUBERNETES

OBJECTS = kustomize(KUBERAY / "models")


def test_objects_are_valid() -> None:
    """By Kubernetes' own schemas."""
    for one in OBJECTS:
        kubernetes_validate.validate(one, KUBERNETES, strict=True)


def test_job_and_workers_mount_the_same_claim() -> None:
    """The Job to write, at the same path."""
    (claim,), (job,) = of_kind(OBJECTS, "PersistentVolumeClaim"), of_kind(OBJECTS, "Job")
    mounted = {"claimName": claim["metadata"]["name"]}
    assert job["spec"]["template"]["spec"]["volumes"][0]["persistentVolumeClaim"] == mounted
    for group in ray_service(overlay("h200x2")).spec.rayClusterConfig.workerGroupSpecs:
        volumes = [volume.get("persistentVolumeClaim") for volume in group.template["spec"]["volumes"]]
        assert mounted | {"readOnly": True} in volumes


def test_the_job_fetches_what_the_serve_file_names() -> None:
    """Target and head, to the folders that it looks for."""
    (job,) = of_kind(OBJECTS, "Job")
    *which, _, to = job["spec"]["template"]["spec"]["containers"][0]["args"]
    serve_file = ray_service(overlay("h200x2")).spec.serveConfigV2
    for name in which:
        assert str(Path(to) / PUBLISHED[name].split("/")[1]) + "\n" in serve_file
