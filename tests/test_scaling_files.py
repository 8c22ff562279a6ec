"""The scheduler files in docs/scaling meet their systems' requirements, as far as can be tested without them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Annotated

import pytest
import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

FOLDER = Path(__file__).parents[1] / "docs" / "scaling"
SCONTROL = "#!/bin/bash\n[ \"$*\" = 'show hostnames n[1-2]' ] && printf 'n1\\nn2\\n'\n"
SRUN = """#!/bin/bash
# As many local processes as there are nodes, each told its own name.
while [ "${1#--}" != "$1" ]; do shift; done
for ((node = 1; node <= SLURM_JOB_NUM_NODES; node++)); do NODE="n$node" "$@" & done
wait
"""
RAY = """#!/bin/bash
# Of `ray symmetric-run`: all nodes are told the same, and what follows -- runs on the head alone.
printf '%s\\n' "$@" > "$LOG/$NODE"
while [ "$1" != "--address" ]; do shift; done
[ "$NODE" = "${2%%:*}" ] || exit 0
while [ "$1" != "--" ]; do shift; done
shift; exec "$@"
"""
VIADUCT = '#!/bin/bash\nprintf "%s\\n" "$@" > "$LOG/told"\n'


def test_the_slurm_script_begins_one_cluster_and_one_run(tmp_path: Path) -> None:
    for name, program in {"scontrol": SCONTROL, "srun": SRUN, "ray": RAY, "viaduct": VIADUCT}.items():
        (tmp_path / name).write_text(program, encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    told = {"SLURM_JOB_NODELIST": "n[1-2]", "SLURM_JOB_NUM_NODES": "2", "SLURM_JOB_ID": "1234567"}
    told |= {"SLURM_CPUS_PER_TASK": "16", "SLURM_GPUS_ON_NODE": "4", "LOG": str(tmp_path)}
    environment = {**os.environ, **told, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    given = ["my recipe.yaml", "--store", "/shared/a store"]
    done = subprocess.run(
        [FOLDER / "slurm.sh", *given], env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    nodes = [(tmp_path / name).read_text(encoding="utf-8").splitlines() for name in ("n1", "n2")]
    assert nodes[0] == nodes[1]
    start, entry = nodes[0][: nodes[0].index("--")], nodes[0][nodes[0].index("--") + 1 :]
    assert start == [
        *("symmetric-run", "--address", "n1:24567", "--min-nodes", "2"),
        *("--num-cpus=16", "--num-gpus=4", "--object-store-memory=500000000"),
    ]
    assert entry == ["viaduct", "run", *given, "--executor", "ray", "--address", "n1:24567"]
    assert (tmp_path / "told").read_text(encoding="utf-8").splitlines() == entry[1:]


class Strict(BaseModel):
    """No extra fields are allowed: Kubernetes rejects or drops fields that are not in its schema."""

    model_config = ConfigDict(extra="forbid", strict=True)


Amount = Annotated[
    str,
    StringConstraints(
        pattern=r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?[0-9]+))?$"
    ),
]


class Resources(Strict):
    """A container's resources."""

    limits: dict[str, Amount] = {}
    requests: dict[str, Amount] = {}


class Variable(Strict):
    """A variable of a container's environment."""

    name: str
    value: str = ""


class Mount(Strict):
    """Where a container mounts a volume."""

    name: str
    mountPath: str
    readOnly: bool = False
    subPath: str = ""


class Container(Strict):
    """core/v1 Container, without fields that none of our files could need."""

    name: str
    image: str
    imagePullPolicy: str = "IfNotPresent"
    command: list[str] = []
    args: list[str] = []
    env: list[Variable] = []
    resources: Resources = Resources()
    volumeMounts: list[Mount] = []


class ClaimOfVolume(Strict):
    """core/v1 PersistentVolumeClaimVolumeSource."""

    claimName: str
    readOnly: bool = False


class Volume(Strict):
    """core/v1 Volume, with one of the possible kinds."""

    name: str
    persistentVolumeClaim: ClaimOfVolume


class Pod(Strict):
    """core/v1 PodSpec, without fields that none of our files could need."""

    containers: list[Container] = Field(min_length=1)
    volumes: list[Volume] = []
    nodeSelector: dict[str, str] = {}
    serviceAccountName: str = ""


class Template(Strict):
    """core/v1 PodTemplateSpec."""

    metadata: dict[str, dict[str, str]] = {}
    spec: Pod


class Head(Strict):
    """KubeRay v1 HeadGroupSpec (ray-operator/apis/ray/v1/raycluster_types.go at 026f143)."""

    serviceType: str = ""
    headService: dict[str, object] = {}
    enableIngress: bool = False
    rayStartParams: dict[str, str]
    template: Template


class Workers(Strict):
    """KubeRay v1 WorkerGroupSpec, from the same file."""

    groupName: str
    replicas: int = 0
    minReplicas: int
    maxReplicas: int
    numOfHosts: int = 1
    rayStartParams: dict[str, str]
    template: Template
    scaleStrategy: dict[str, list[str]] = {}


class Cluster(Strict):
    """KubeRay v1 RayClusterSpec, from the same file."""

    headGroupSpec: Head
    workerGroupSpecs: list[Workers] = []
    rayVersion: str = ""
    enableInTreeAutoscaling: bool = False
    autoscalerOptions: dict[str, object] = {}
    headServiceAnnotations: dict[str, str] = {}
    suspend: bool = False


class Job(Strict):
    """RayJobSpec (rayjob_types.go at 0057210)."""

    activeDeadlineSeconds: int | None = Field(None, gt=0)
    backoffLimit: int = 0
    rayClusterSpec: Cluster | None = None
    submitterPodTemplate: Template | None = None
    metadata: dict[str, str] = {}
    clusterSelector: dict[str, str] = {}
    submitterConfig: dict[str, int] = {}
    managedBy: str | None = None
    deletionStrategy: dict[str, object] = {}
    entrypoint: str = ""
    runtimeEnvYAML: str = ""
    jobId: str = ""
    submissionMode: str = Field("K8sJobMode", pattern="^(K8sJobMode|HTTPMode|InteractiveMode)$")
    entrypointResources: str = ""
    entrypointNumCpus: float = 0
    entrypointNumGpus: float = 0
    ttlSecondsAfterFinished: int = 0
    shutdownAfterJobFinishes: bool = False
    suspend: bool = False
    schedule: str = ""


class RayJob(Strict):
    """The whole RayJob object."""

    apiVersion: str = Field(pattern="^ray.io/v1$")
    kind: str = Field(pattern="^RayJob$")
    metadata: dict[str, str]
    spec: Job


def test_the_ray_job_is_one_of_kuberay() -> None:
    text = (FOLDER / "rayjob.yaml").read_text(encoding="utf-8")
    job = RayJob.model_validate(yaml.safe_load(text)).spec
    assert job.entrypoint.startswith("viaduct run ") and job.entrypoint.endswith(" --executor ray")
    cluster = job.rayClusterSpec
    assert cluster is not None and cluster.workerGroupSpecs
    for pod in (one.template.spec for one in (cluster.headGroupSpec, *cluster.workerGroupSpecs)):
        volumes = {one.name for one in pod.volumes}
        places = [mount.mountPath for one in pod.containers for mount in one.volumeMounts if mount.name in volumes]
        assert places == ["/viaduct"], "every node sees the store at the same path"
    constraints = (FOLDER.parents[1] / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert f"ray=={cluster.rayVersion}" in constraints
    with pytest.raises(ValidationError, match="minReplica"):
        RayJob.model_validate(yaml.safe_load(text.replace("minReplicas", "minReplica")))
