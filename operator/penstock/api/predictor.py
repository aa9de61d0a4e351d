"""`spec.predictor`: the model or container to serve, how many pods of it, and how those pods run."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from penstock.api.model import ModelSpec
from penstock.api.pod_metrics import PodMetricsSpec
from penstock.api.rollout import DeploymentStrategy
from penstock.api.schema import Fragment, Free, Model, Overrides, fragment, rule, rules

ScaleMetric = Literal["rps", "concurrency", "queueDepth", "cpu", "memory"]

SCALE_TARGETS: dict[ScaleMetric, int] = {"rps": 100, "concurrency": 4, "queueDepth": 4, "cpu": 80, "memory": 80}

Volume = Annotated[Free, fragment({"name": "Name that volumeMounts refer to."})]
VolumeMount = Annotated[
    Free,
    fragment({"name": "Name of the volume to mount.", "mountPath": "Path in the container to mount it at."}),
]
SecretName = Annotated[Free, fragment({"name": "Name of a Secret of type kubernetes.io/dockerconfigjson."})]
Container = Annotated[
    Free,
    fragment(
        {"image": "Image that serves HTTP."},
        lists={
            "ports": "Ports that it listens on, as in a container.",
            "env": "Environment variables, as in a container.",
            "envFrom": "Secrets and ConfigMaps whose keys become environment variables, as in a container.",
            "volumeMounts": "Where it mounts volumes, as in a container.",
        },
        objects={
            "resources": "Compute resources, as in a container.",
            "securityContext": "Security settings, as in a container; they win over the operator's, key by key.",
            "lifecycle": "Hooks after its start and before its end, as in a container.",
            "startupProbe": "When it has started, as in a container.",
            "readinessProbe": "When it can answer, as in a container.",
            "livenessProbe": "When it has to be restarted, as in a container.",
        },
    ),
]


class Predictor(Model):
    """The model or container to serve, how many pods of it, and how those pods run."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "has(self.model) || has(self.containers)",
                "one of model and containers is required",
                path=".model",
                reason="FieldValueRequired",
            ),
            rule(
                "!(has(self.model) && has(self.containers))",
                "containers may not be set together with model",
                path=".containers",
                reason="FieldValueForbidden",
            ),
            rule(
                "!has(self.maxReplicas) || self.maxReplicas >= self.minReplicas",
                "maxReplicas must be at least minReplicas",
                path=".maxReplicas",
            ),
            rule(
                "!has(self.labels) || !self.labels.exists(key, key.startsWith('serving.penstock.dev/') "
                "|| key == 'app.kubernetes.io/managed-by')",
                "labels may not set serving.penstock.dev/* or app.kubernetes.io/managed-by, which select the pods",
                path=".labels",
                reason="FieldValueForbidden",
            ),
            *(
                rule(
                    f"!(has(self.scaleMetric) && self.scaleMetric == '{metric}' && has(self.maxReplicas) "
                    "&& self.maxReplicas > self.minReplicas && has(self.model)) || (has(self.model.resources) && ("
                    f"(has(self.model.resources.requests) && '{metric}' in self.model.resources.requests) || "
                    f"(has(self.model.resources.limits) && '{metric}' in self.model.resources.limits)))",
                    f"scaleMetric {metric} needs model.resources.requests.{metric}, which use is measured against",
                    path=".scaleMetric",
                )
                for metric in ("cpu", "memory")
            ),
        )
    )

    model: ModelSpec | None = Field(
        default=None, description="A model for Penstock's own model server. Exactly one of model and containers is set."
    )
    containers: list[Container] | None = Field(
        default=None,
        min_length=1,
        max_length=1,
        description=(
            "Your own server, as exactly one container of a pod. Requests go to its port named http, else to its "
            "first port, else to 8080. Without a readinessProbe it is ready when that port accepts connections."
        ),
    )
    min_replicas: int = Field(
        default=1,
        ge=0,
        description="The least number of pods, and the number without autoscaling; 0 with autoscaling.scaleToZero.",
    )
    max_replicas: int | None = Field(
        default=None,
        ge=1,
        description=(
            "The greatest number of pods; above minReplicas, and above 1, it turns autoscaling on. "
            "Default: minReplicas, and at least 1."
        ),
    )
    scale_metric: ScaleMetric = Field(
        default="rps",
        description=(
            "What autoscaling keeps at scaleTarget, as an average over ready pods: rps (requests per second), "
            "concurrency (requests in flight), queueDepth (requests waiting), cpu or memory (percent of the request)."
        ),
    )
    scale_target: int | None = Field(
        default=None,
        ge=1,
        description=(
            "The average per pod that autoscaling aims at, in the unit of scaleMetric. "
            "Default: 100 for rps, 4 for concurrency and queueDepth, 80 (percent) for cpu and memory."
        ),
    )
    metrics: PodMetricsSpec | None = Field(
        default=None,
        description="What the pods' own metrics are called, where they run another server than Penstock's.",
    )
    container_concurrency: int = Field(
        default=0,
        ge=0,
        description="Requests that one pod works on at a time; more are queued or refused. 0: the server's own limit.",
    )
    timeout: int = Field(
        default=300,
        ge=1,
        le=86400,
        description="Seconds that the longest request may take. Pods that stop are given this long to finish.",
    )
    deployment_strategy: DeploymentStrategy = Field(
        default_factory=DeploymentStrategy, description="The pace of rolling updates, as in a Deployment."
    )
    min_ready_seconds: int = Field(
        default=0, ge=0, description="Seconds that a new pod must stay ready before it counts as available."
    )
    node_selector: dict[str, str] = Field(
        default_factory=dict, description="Labels that a node must have to run the pods."
    )
    tolerations: list[Fragment] = Field(
        default_factory=list,
        description="Taints that the pods tolerate, as in a pod; the one of GPU nodes is added to pods with GPUs.",
    )
    affinity: Fragment | None = Field(default=None, description="Node and pod affinity, as in a pod.")
    topology_spread_constraints: list[Fragment] = Field(
        default_factory=list, description="How the pods spread over zones and nodes, as in a pod."
    )
    service_account_name: str | None = Field(
        default=None,
        max_length=253,
        description="ServiceAccount that the pods run as. Default: the namespace's default.",
    )
    image_pull_secrets: list[SecretName] = Field(
        default_factory=list, description="Secrets with the credentials of private image registries, as in a pod."
    )
    priority_class_name: str | None = Field(
        default=None, max_length=253, description="PriorityClass of the pods, which decides who may preempt whom."
    )
    runtime_class_name: str | None = Field(
        default=None, max_length=253, description="RuntimeClass of the pods, such as nvidia."
    )
    scheduler_name: str | None = Field(
        default=None, max_length=253, description="Scheduler that places the pods. Default: the cluster's own."
    )
    security_context: Overrides | None = Field(
        default=None,
        description=(
            "Security settings of the pod, as in a pod; they win over the operator's, key by key. A key that is null "
            "takes the operator's away, and leaves the choice to the cluster."
        ),
    )
    volumes: list[Volume] = Field(default_factory=list, description="Further volumes of the pod, as in a pod.")
    volume_mounts: list[VolumeMount] = Field(
        default_factory=list, description="Where the serving container mounts volumes, as in a container."
    )
    labels: dict[str, str] = Field(default_factory=dict, max_length=64, description="Further labels of the pods.")
    annotations: dict[str, str] = Field(default_factory=dict, description="Further annotations of the pods.")
    termination_grace_period_seconds: int | None = Field(
        default=None,
        ge=0,
        description="Seconds between the polite and the forced end of a pod. Default: timeout plus time to drain.",
    )

    @property
    def replica_limit(self) -> int:
        """The greatest number of pods: `maxReplicas`, else `minReplicas`."""
        return self.least_awake if self.max_replicas is None else self.max_replicas

    @property
    def least_awake(self) -> int:
        """The least number of pods while the service does not sleep."""
        return max(self.min_replicas, 1)

    @property
    def autoscales(self) -> bool:
        """Whether the number of pods is an autoscaler's to choose."""
        return self.replica_limit > self.least_awake

    @property
    def effective_scale_target(self) -> int:
        """`scaleTarget`, else the default of the metric, in the metric's unit."""
        return SCALE_TARGETS[self.scale_metric] if self.scale_target is None else self.scale_target
