"""`status` of an InferenceService: what the operator observed, in KServe's words where KServe has one."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from penstock.api.meta import Condition
from penstock.api.rollout import AbTestMetric, Way
from penstock.api.schema import Message, Observation

Phase = Literal["Pending", "Loading", "Ready", "Progressing", "Paused", "Degraded", "Suspended", "Asleep"]
Slot = Literal["blue", "green"]
RolloutPhase = Literal[
    "Deploying",
    "Stable",
    "Progressing",
    "Preparing",
    "Testing",
    "Waiting",
    "Scaling",
    "Switching",
    "Holding",
    "Aborting",
    "RolledBack",
    "RolloutPaused",
]
TransitionStatus = Literal["UpToDate", "InProgress", "BlockedByFailedLoad", "InvalidSpec"]
ModelState = Literal["Pending", "Loading", "Loaded", "FailedToLoad"]
LimitedBy = Literal["maxReplicas", "minReplicas", "InsufficientGPU", "QuotaExceeded", "MetricMissing"]
SleepState = Literal["Awake", "Redirecting", "Draining", "Asleep", "Waking"]
Int64 = Annotated[int, Field(json_schema_extra={"format": "int64"})]
Count = Annotated[int, Field(ge=0, json_schema_extra={"format": "int64"})]


class Address(Observation):
    """Where clients inside the cluster reach the service."""

    url: str | None = Field(default=None, description="URL of the service inside the cluster.")


class ModelStates(Observation):
    """The states of the model that serves and of the one wanted."""

    active_model_state: ModelState | None = Field(
        default=None, description="State of the model that answers requests now."
    )
    target_model_state: ModelState | None = Field(
        default=None, description="State of the model that the spec asks for."
    )


class FailureInfo(Observation):
    """The last failure of a model's pods."""

    reason: str = Field(max_length=128, description="One word, such as ModelDownloadFailed or OOMKilled.")
    message: Message = Field(default="", description="The failure in the words of whoever reported it.")
    model_revision_name: str | None = Field(default=None, description="Revision whose pod failed.")
    exit_code: int | None = Field(default=None, description="Exit code of the container, if it ended.")
    time: datetime | None = Field(default=None, description="When it failed.")


class ModelCopies(Observation):
    """How many pods hold the model."""

    total_copies: int = Field(default=0, description="Ready pods of the revisions that serve.")
    failed_copies: int = Field(default=0, description="Pods that failed to load it.")


class ModelStatus(Observation):
    """How the model itself is doing."""

    transition_status: TransitionStatus | None = Field(
        default=None,
        description=(
            "UpToDate: what serves is what the spec asks for; InProgress: on its way there; BlockedByFailedLoad: the "
            "wanted model does not load; InvalidSpec: the spec cannot be carried out."
        ),
    )
    states: ModelStates | None = Field(
        default=None, description="The states of the model that serves and of the one wanted."
    )
    last_failure_info: FailureInfo | None = Field(default=None, description="The last failure of a model's pods.")
    copies: ModelCopies | None = Field(default=None, description="How many pods hold the model.")


class PredictorStatus(Observation):
    """The predictor's revisions."""

    latest_created_revision: str | None = Field(default=None, description="Revision created last.")
    latest_ready_revision: str | None = Field(default=None, description="Revision that became ready last.")
    latest_rolledout_revision: str | None = Field(default=None, description="Revision rolled out completely last.")
    previous_rolledout_revision: str | None = Field(default=None, description="The one rolled out before that.")
    url: str | None = Field(default=None, description="URL of the predictor inside the cluster.")


class Components(Observation):
    """Status of each part of the service."""

    predictor: PredictorStatus = Field(default_factory=PredictorStatus, description="The predictor's revisions.")


class SmokeTestStatus(Observation):
    """How the smoke test of the new pods went."""

    passed: list[str] = Field(default_factory=list, max_length=1000, description="Pods that passed it.")
    failures: int = Field(default=0, description="Failed attempts in a row.")
    last_attempt_at: datetime | None = Field(default=None, description="When it was last sent.")
    message: Message = Field(default="", description="What the last failed attempt was about.")


class AnalysisStatus(Observation):
    """How the analysis of the new revision stands."""

    started_at: datetime | None = Field(default=None, description="When it began.")
    last_sample_at: datetime | None = Field(default=None, description="When the counters were last measured.")
    successes: int = Field(default=0, description="Measurements that passed.")
    failures: int = Field(default=0, description="Measurements that failed.")
    inconclusive: int = Field(default=0, description="Measurements with too few requests to prove anything.")
    message: Message = Field(default="", description="What the last measurement found.")


class AbTestArm(Observation):
    """What the pods of one arm of an A/B test have answered."""

    requests: Count = Field(default=0, description="Requests answered.")
    errors: Count = Field(default=0, description="Those of them that were answered with a 5xx status or 429.")
    refused: Count = Field(default=0, description="Those of them that were answered with any other 4xx status.")
    buckets: list[Count] = Field(
        default_factory=list,
        max_length=65,
        description=(
            "Successful requests by how long they took: up to the first of bounds, from there up to the second, and so "
            "on; the last count is of those beyond all bounds. Empty while no request was timed."
        ),
    )


class AbTestFigures(Observation):
    """One arm of an A/B test in figures."""

    samples: Count = Field(default=0, description="Requests that went into the test.")
    error_rate_percent: float | None = Field(
        default=None, description="Share of the requests that were answered with a 5xx status or 429, in percent."
    )
    p50_seconds: float | None = Field(
        default=None, description="Seconds that half of the requests did not exceed, estimated from the buckets."
    )
    p95_seconds: float | None = Field(
        default=None, description="Seconds that 95 % of the requests did not exceed, estimated from the buckets."
    )


class AbTestResult(Observation):
    """What an A/B test has found."""

    winner: Literal["A", "B", "None"] = Field(
        description="A, the stable revision; B, the new one; None where they do not differ significantly."
    )
    metric: AbTestMetric = Field(description="What was compared.")
    p_value: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description=(
            "How probable a difference as large as this is if there is none. A winner needs less than 0.05; but B has "
            "lost without a test if it refuses too many requests."
        ),
    )
    effect: float | None = Field(
        default=None,
        description=(
            "How B differs from A. ErrorRate: B's share of errors less A's, in percentage points. Latency: probability "
            "that a request of B takes longer than one of A, where 0.5 is no difference."
        ),
    )
    a: AbTestFigures = Field(default_factory=AbTestFigures, description="The stable revision's figures.")
    b: AbTestFigures = Field(default_factory=AbTestFigures, description="The new revision's figures.")
    message: Message = Field(default="", description="The result in a sentence.")


class AbTestStatus(Observation):
    """How an A/B test stands."""

    mark: str | None = Field(
        default=None, max_length=1024, description="What marks the requests of arm B; with another mark it begins anew."
    )
    started_at: datetime | None = Field(default=None, description="When it began.")
    last_sample_at: datetime | None = Field(
        default=None, description="When the counters were last measured, or the test of them was last tried."
    )
    ends_at: datetime | None = Field(default=None, description="When it ends, if both arms have enough requests then.")
    bounds: list[float] = Field(
        default_factory=list, max_length=64, description="Seconds that divide the buckets of both arms, rising."
    )
    a: AbTestArm = Field(default_factory=AbTestArm, description="What the stable revision has answered.")
    b: AbTestArm = Field(default_factory=AbTestArm, description="What the new revision has answered.")
    result: AbTestResult | None = Field(default=None, description="What the test has found, once it was made.")
    message: Message = Field(default="", description="What it waits for.")


class CanaryStatus(Observation):
    """Where a canary stands."""

    step: int = Field(
        default=1, description="The step of spec.rollout.canary.steps, from 1; after the last one all pods are new."
    )
    weight: int | None = Field(default=None, description="Share of the traffic that the step asks for, in percent.")
    share: str | None = Field(
        default=None, max_length=128, description="Share that the step's pods stand for, such as 1 of 3 pods: 33 %."
    )
    routed: int | None = Field(
        default=None, description="Its share, in percent, of the requests that come through a gateway, if there is one."
    )
    reached_at: datetime | None = Field(default=None, description="When the step's pods were available.")


class LastAction(Observation):
    """What became of the last action that a user asked for."""

    number: int = Field(default=0, description="Counts the service's actions.")
    verb: str = Field(max_length=64, description="The action, such as promote.")
    id: str = Field(max_length=256, description="Its id: an action is carried out once.")
    result: Literal["Done", "Refused"] = Field(description="Done, or Refused with the reason.")
    message: Message = Field(default="", description="What it did, or why it was refused.")
    time: datetime | None = Field(default=None, description="When it was handled.")


class RolloutStatus(Observation):
    """Which revisions there are, and how far the latest has come."""

    phase: RolloutPhase | None = Field(
        default=None,
        description=(
            "Deploying: the first revision is on its way; Stable: the wanted revision serves; Progressing: pods are "
            "replaced in place; Preparing, Testing, Waiting, Scaling, Switching, Holding: the steps of BlueGreen and, "
            "but for Holding, of Canary; "
            "Aborting: the stable revision is being restored; RolledBack: it is; RolloutPaused: the action pause."
        ),
    )
    strategy: Way | None = Field(
        default=None, description="Strategy of the rollout under way; it ends by the one it began with."
    )
    plan: str | None = Field(
        default=None, max_length=1024, description="How the last rollout replaces pods, and the arithmetic behind it."
    )
    max_surge: int | None = Field(default=None, description="Pods above the wanted number that the plan allows.")
    stable_revision: str | None = Field(default=None, description="Revision rolled out completely last.")
    current_revision: str | None = Field(default=None, description="Revision of the spec as it is now.")
    failed_revision: str | None = Field(
        default=None, description="Revision that was given up; it is not tried again until the spec changes, or retry."
    )
    reason: str | None = Field(
        default=None, max_length=128, description="Why it was given up, in one word, such as SmokeTestFailed."
    )
    failure: str | None = Field(default=None, max_length=1024, description="Why it was given up, in a sentence.")
    active_slot: Slot | None = Field(default=None, description="Deployment that the Service selects: blue or green.")
    preview_slot: Slot | None = Field(
        default=None, description="Deployment that the preview Service selects while there is one."
    )
    started_at: datetime | None = Field(default=None, description="When the rollout under way began.")
    progressed_at: datetime | None = Field(default=None, description="When it last made progress.")
    deadline_at: datetime | None = Field(
        default=None, description="When the new revision counts as failed unless it makes progress before."
    )
    paused_at: datetime | None = Field(
        default=None,
        description="Since when the deadline's clock stands still: paused, suspended, at zero replicas or at a gate.",
    )
    is_paused: bool | None = Field(default=None, description="True from the action pause to the action resume.")
    shared_revision: str | None = Field(
        default=None,
        description="A canary's revision while its pods serve beside the others: the Service selects both slots.",
    )
    canary: CanaryStatus | None = Field(default=None, description="Where a canary stands.")
    tested_at: datetime | None = Field(default=None, description="When all pods of the preview had passed their test.")
    gate_opens_at: datetime | None = Field(default=None, description="When the tested revision may take over.")
    is_promoted: bool | None = Field(
        default=None, description="True when the action promote has opened the gate, or ended the hold."
    )
    is_fully_promoted: bool | None = Field(
        default=None, description="True when the action promote-full has left out soak, analysis and hold."
    )
    latched_replicas: int | None = Field(
        default=None,
        description="Pods that the new revision needs before it takes over, fixed when the gate opened.",
    )
    switched_at: datetime | None = Field(default=None, description="When all traffic had reached the new revision.")
    hold_ends_at: datetime | None = Field(default=None, description="Until when the old pods stay up.")
    available_replicas: int | None = Field(
        default=None, description="Most pods of the new revision that were available at once; more is progress."
    )
    loaded_bytes: Int64 | None = Field(
        default=None, description="Most bytes that its pods had downloaded and loaded; more is progress."
    )
    smoke_test: SmokeTestStatus | None = Field(default=None, description="How the smoke test of the new pods went.")
    analysis: AnalysisStatus | None = Field(default=None, description="How the analysis of the new revision stands.")
    ab_test: AbTestStatus | None = Field(default=None, description="How an A/B test of the two revisions stands.")
    last_action: LastAction | None = Field(default=None, description="What became of the last action.")
    message: Message = Field(default="", description="Where the rollout stands, for people.")


class SleepStatus(Observation):
    """Whether a service that may sleep does."""

    state: SleepState = Field(
        default="Awake",
        description=(
            "Awake: requests go to pods; Redirecting: nobody asks, and requests are being led to the router; Draining: "
            "they are, and the pods stay until it is certain that none comes; Asleep: there are no pods, and a request "
            "is held; Waking: the first pod is on its way."
        ),
    )
    since: datetime | None = Field(default=None, description="When that began.")
    quiet_since: datetime | None = Field(
        default=None, description="Since when no request was seen to come, or the first look; absent while they come."
    )
    wake_seconds: int | None = Field(
        default=None, ge=0, description="Seconds from the first held request to the first ready pod, at the last wake."
    )
    port: int | None = Field(default=None, description="Port of the router on which it listens for this service.")
    answered_wake: datetime | None = Field(default=None, description="The wakeRequestedAt that was acted upon last.")
    last_failure: Message = Field(default="", description="Why it could not sleep last; empty once it could.")
    message: Message = Field(default="", description="What it waits for, or what keeps it awake.")


class AutoscalingStatus(Observation):
    """What the autoscaler sees and wants."""

    metric: str = Field(description="Metric that decides: the spec's scaleMetric.")
    current: str | None = Field(
        default=None,
        description="Its average per ready pod now, a decimal number in the unit of target; absent while unknown.",
    )
    target: int = Field(description="The average that autoscaling aims at.")
    desired: int | None = Field(default=None, description="Pods that the autoscaler wants.")
    ready: int = Field(default=0, description="Pods that are ready.")
    min_replicas: int | None = Field(default=None, description="Least pods in force; absent without schedules.")
    limited_by: LimitedBy | None = Field(default=None, description="What keeps it from the pods that are desired.")
    last_scale_time: datetime | None = Field(default=None, description="When the autoscaler last changed the number.")
    sleep: SleepStatus | None = Field(default=None, description="Whether it sleeps; absent where it never does.")


class Download(Observation):
    """Progress of the model download, summed over the pods that are downloading."""

    bytes: Int64 = Field(default=0, description="Bytes fetched.")
    total_bytes: Int64 | None = Field(default=None, description="Bytes to fetch, once known.")
    bytes_per_second: Int64 | None = Field(default=None, description="Rate over the last seconds.")


class Blocker(Observation):
    """One cause that keeps pods from serving."""

    reason: str = Field(max_length=128, description="One word, such as InsufficientGPU or ImagePullFailed.")
    object: str = Field(max_length=512, description="What it is about, as kind/name.")
    message: Message = Field(default="", description="The cause in the kubelet's, scheduler's or server's own words.")
    since: datetime | None = Field(default=None, description="When it was first seen.")


class InferenceServiceStatus(Observation):
    """What the operator observed."""

    observed_generation: Int64 | None = Field(
        default=None, description="The metadata.generation that this status was computed from."
    )
    conditions: list[Condition] = Field(
        default_factory=list,
        max_length=32,
        description=(
            "Ready (requests are answered: a real inference passed on a ready pod), PredictorReady, Progressing (a new "
            "revision is on its way), AutoscalingActive, Reconciling, Stalled (it cannot go on; see the reason)."
        ),
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )
    phase: Phase | None = Field(default=None, description="The conditions in one word, for people; programs read them.")
    url: str | None = Field(default=None, description="URL of the service inside the cluster.")
    address: Address | None = Field(default=None, description="Where clients inside the cluster reach the service.")
    replicas: int = Field(default=0, description="Pods that exist in the slots that serve.")
    ready_replicas: int = Field(default=0, description="Pods of those that are ready.")
    selector: str | None = Field(
        default=None, max_length=1024, description="Label selector of those pods, as autoscalers read it from /scale."
    )
    model_status: ModelStatus | None = Field(default=None, description="How the model itself is doing.")
    components: Components | None = Field(default=None, description="Status of each part of the service.")
    rollout: RolloutStatus | None = Field(
        default=None, description="Which revisions there are, and how far the latest has come."
    )
    autoscaling: AutoscalingStatus | None = Field(
        default=None, description="What the autoscaler sees and wants; absent at a fixed size."
    )
    wake_requested_at: datetime | None = Field(
        default=None,
        description="When a router last held a request for the sleeping service. Routers write it, and nothing else.",
    )
    download: Download | None = Field(default=None, description="Progress of the model download while there is one.")
    blocked_by: list[Blocker] = Field(
        default_factory=list, max_length=32, description="What keeps pods from serving, the most telling cause first."
    )
