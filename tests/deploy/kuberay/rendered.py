"""What `kubectl apply -k` would send."""

import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from serve_app.config import PROJECT_ROOT
from tests.deploy.kuberay.rayservice import RayService

KUBERAY = PROJECT_ROOT / "deploy/kuberay"
OVERLAYS = sorted(path.parent.name for path in KUBERAY.glob("*/serve.yaml"))
COMPONENTS = sorted(path.name for path in (KUBERAY / "components").iterdir())

Objects = list[dict[str, Any]]


def kustomize(folder: Path) -> Objects:
    """Return the objects of a kustomization."""
    kubectl = Path(sys.executable).with_name("kubectl")
    result = subprocess.run([kubectl, "kustomize", folder], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return list(yaml.safe_load_all(result.stdout))


@cache
def overlay(name: str) -> Objects:
    """Return the objects of one that is shipped."""
    return kustomize(KUBERAY / name)


def of_kind(objects: Objects, kind: str) -> Objects:
    """Return the objects of that kind."""
    return [one for one in objects if one["kind"] == kind]


def ray_service(objects: Objects) -> RayService:
    """Return the one RayService, checked."""
    (one,) = of_kind(objects, "RayService")
    return RayService.model_validate(one)
