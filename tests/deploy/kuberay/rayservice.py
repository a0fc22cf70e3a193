"""The part of KubeRay's RayService that the manifests use: field names and types of its CRD, version 1.7.

KubeRay is in no package index, so these are written down here. A key that is not among them is refused; pod
templates are checked against Kubernetes' own schemas.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Strict(BaseModel):
    """No other keys, and no other types."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Group(Strict):
    """What head and workers have in common; Ray's start parameters are strings to KubeRay."""

    rayStartParams: dict[str, str]  # noqa: N815 - KubeRay's names
    template: dict[str, Any]
    labels: dict[str, str] = {}


class WorkerGroup(Group):
    """A kind of worker."""

    groupName: str  # noqa: N815
    replicas: int
    minReplicas: int  # noqa: N815
    maxReplicas: int  # noqa: N815
    idleTimeoutSeconds: int = 60  # noqa: N815
    numOfHosts: int = 1  # noqa: N815


class AutoscalerOptions(Strict):
    """The autoscaler's container."""

    version: Literal["v1", "v2"]
    idleTimeoutSeconds: int  # noqa: N815
    resources: dict[str, Any]
    securityContext: dict[str, Any]  # noqa: N815


class GcsFaultTolerance(Strict):
    """Where the head's state is kept."""

    redisAddress: str  # noqa: N815
    redisPassword: dict[str, Any]  # noqa: N815


class Cluster(Strict):
    """rayClusterConfig."""

    rayVersion: str  # noqa: N815
    headGroupSpec: Group  # noqa: N815
    workerGroupSpecs: list[WorkerGroup]  # noqa: N815
    enableInTreeAutoscaling: bool = False  # noqa: N815
    autoscalerOptions: AutoscalerOptions | None = None  # noqa: N815
    gcsFaultToleranceOptions: GcsFaultTolerance | None = None  # noqa: N815

    def pods(self) -> list[dict[str, Any]]:
        """Return the pods' templates, the head's first."""
        return [group.template for group in (self.headGroupSpec, *self.workerGroupSpecs)]


class UpgradeStrategy(Strict):
    """How a changed cluster takes the old one's place."""

    type: Literal["None", "NewCluster", "NewClusterWithIncrementalUpgrade"]


class Spec(Strict):
    """A RayService's spec."""

    serveConfigV2: Annotated[str, Field(min_length=1)]  # noqa: N815
    rayClusterConfig: Cluster  # noqa: N815
    excludeHeadPodFromServeSvc: bool = False  # noqa: N815
    upgradeStrategy: UpgradeStrategy  # noqa: N815


class RayService(Strict):
    """The whole object."""

    apiVersion: Literal["ray.io/v1"]  # noqa: N815
    kind: Literal["RayService"]
    metadata: dict[str, Any]
    spec: Spec
