"""`spec.rollout`, `spec.disruption` and `predictor.deploymentStrategy`: how running pods are replaced."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from penstock.api.schema import CountOrPercent, Model, rule, rules

InPlace = Literal["RollingUpdate", "Recreate"]
Way = Literal["RollingUpdate", "Recreate", "BlueGreen", "Canary"]
Strategy = Literal["Auto", "RollingUpdate", "Recreate", "BlueGreen", "Canary"]
AbTestMetric = Literal["ErrorRate", "Latency"]

# A token of RFC 9110, which RFC 6265 takes for the names of cookies; nothing in it ends a cookie or a header.
Token = Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")]


class BlueGreen(Model):
    """How the second set of pods takes over from the first."""

    preview_replicas: int | None = Field(
        default=None,
        ge=1,
        description=(
            "Pods of the new revision before the gate opens; it gets as many as the old one has before it takes over. "
            "Default: as many as are wanted."
        ),
    )
    auto_promote: bool = Field(
        default=True, description="False keeps the tested new revision waiting for the action promote."
    )
    auto_promote_after_seconds: int = Field(
        default=0, ge=0, description="Seconds that the tested new revision runs without traffic before it takes over."
    )
    hold_seconds: int = Field(
        default=300,
        ge=0,
        description=(
            "Seconds that the old pods stay up after the switch. As long as they do, a rollback is one write, and "
            "the service needs room for both."
        ),
    )


class CanaryStep(Model):
    """A share of the traffic, and how long the new revision keeps it before the next step."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!(has(self.pause) && self.pause && has(self.pauseSeconds))",
                "pauseSeconds may not be set when pause is true: that step ends with the action promote",
                path=".pauseSeconds",
                reason="FieldValueForbidden",
            )
        )
    )

    weight: int = Field(ge=1, le=99, description="Share of the traffic that the new revision gets, in percent.")
    pause_seconds: int | None = Field(
        default=None, ge=0, description="Seconds that the step lasts once its pods are available. Default: 60."
    )
    # No default in a list: the API server would fill it in there, where GitOps tools take it for a change.
    pause: bool | None = Field(default=None, description="True keeps the step until the action promote.")


class Canary(Model):
    """How the traffic moves to the new revision, share by share."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!has(self.steps) || (self.steps.map(step, step.weight).isSorted() && "
                "self.steps.all(one, self.steps.exists_one(other, other.weight == one.weight)))",
                "the weights of the steps must rise",
                path=".steps",
            )
        )
    )

    steps: list[CanaryStep] = Field(
        default_factory=lambda: [CanaryStep(weight=10), CanaryStep(weight=50)],
        min_length=1,
        max_length=20,
        description=(
            "The shares before all of it, rising. They are made by the number of pods, at least one of each revision: "
            "with one replica the smallest share is a half, and status.rollout.canary has the real one. "
            "Default: 10 % and 50 %, for 60 seconds each."
        ),
    )


class SmokeTest(Model):
    """One request that every new pod must answer before the new revision takes over."""

    enabled: bool = Field(default=True, description="False leaves it out: readiness has to do.")
    path: str | None = Field(
        default=None,
        max_length=1024,
        pattern="^/",
        description=(
            "Path of the request. Default: the task's own request on our server; none on a custom container, whose "
            "pods are then not tested beyond their readiness."
        ),
    )
    method: Literal["GET", "POST"] | None = Field(
        default=None, description="Default: POST if there is a body, else GET."
    )
    body: str | None = Field(default=None, max_length=16384, description="Body of the request, sent as JSON.")
    expect_status: int = Field(default=200, ge=100, le=599, description="HTTP status that passes.")
    expect_body_contains: str | None = Field(
        default=None, max_length=1024, description="Text that the answer must contain to pass."
    )
    timeout_seconds: int = Field(
        default=30, ge=1, le=300, description="Seconds until an unanswered request has failed."
    )


class Latency(Model):
    """A bound on a quantile of the request duration."""

    quantile: Literal["p50", "p90", "p95", "p99"] = Field(default="p95", description="Which quantile.")
    seconds: float = Field(ge=0, description="The longest it may be, in seconds.")


class Analysis(Model):
    """What the new revision's own counters must show while it takes traffic."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "self.intervalSeconds <= self.durationSeconds",
                "intervalSeconds may not be above durationSeconds: the analysis would end before its first measurement",
                path=".intervalSeconds",
            )
        )
    )

    interval_seconds: int = Field(
        default=10, ge=1, description="Seconds from one measurement of the counters to the next."
    )
    duration_seconds: int = Field(default=60, ge=1, description="Seconds that the analysis lasts at least.")
    min_requests: int = Field(
        default=20, ge=1, description="Requests that a measurement must have counted; with fewer it proves nothing."
    )
    max_error_rate_percent: float = Field(
        default=5,
        ge=0,
        le=100,
        description="Share of requests that may fail, which means a 5xx status or 429, in percent.",
    )
    max_refused_increase_percent: float = Field(
        default=10,
        ge=0,
        le=100,
        description=(
            "By how many percentage points the share of requests that are refused, which means any other 4xx status, "
            "may be above the stable revision's since its pods started."
        ),
    )
    max_latency_seconds: Latency | None = Field(
        default=None, description="The longest a quantile of the successful requests may take."
    )
    max_latency_increase_percent: float | None = Field(
        default=None,
        ge=0,
        description=(
            "How much slower the p95 of the successful requests may be than the stable revision's was since its pods "
            "started, in percent."
        ),
    )
    failure_limit: int = Field(
        default=1, ge=1, description="Failed measurements that end the rollout and restore the stable revision."
    )
    on_no_data: Literal["Hold", "Promote"] = Field(
        default="Hold",
        description=(
            "What follows when the time is over and no measurement had enough requests: Hold waits for traffic, or for "
            "an action; Promote goes on."
        ),
    )


class AbTestHeader(Model):
    """A header that clients send."""

    name: Token = Field(description="Name of the header, in upper or lower case.")
    value: str = Field(
        min_length=1,
        max_length=256,
        pattern="^[!-~]([ -~]*[!-~])?$",
        description="Its whole value, as clients must send it to reach the new revision.",
    )


class AbTestCookie(Model):
    """A cookie that clients send."""

    name: Token = Field(description="Name of the cookie; upper and lower case differ.")
    value: Token = Field(description="Its whole value, as clients must send it to reach the new revision.")


class AbTest(Model):
    """Which clients meet the new revision, and what it is compared by."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "has(self.header) || has(self.cookie)",
                "one of header and cookie is required",
                path=".header",
                reason="FieldValueRequired",
            ),
            rule(
                "!(has(self.header) && has(self.cookie))",
                "cookie may not be set together with header",
                path=".cookie",
                reason="FieldValueForbidden",
            ),
        )
    )

    header: AbTestHeader | None = Field(
        default=None, description="Requests with this header go to the new revision, arm B; all others to arm A."
    )
    cookie: AbTestCookie | None = Field(
        default=None, description="Requests with this cookie go to the new revision, arm B; all others to arm A."
    )
    duration_seconds: int = Field(
        default=3600,
        ge=1,
        description="Seconds that the test lasts at least; longer if minSamplesPerArm needs longer.",
    )
    metric: AbTestMetric = Field(
        default="ErrorRate",
        description=(
            "What is compared: ErrorRate, the share of requests answered with a 5xx status or 429; Latency, how long "
            "successful requests take. The lower one is better; but a new revision that refuses more (any other 4xx "
            "status) than analysis.maxRefusedIncreasePercent allows has lost."
        ),
    )
    min_samples_per_arm: int = Field(
        default=1000, ge=10, description="Requests that each of the two revisions must have answered before the test."
    )


class Rollout(Model):
    """How a new revision replaces the one that serves."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!has(self.abTest) || (has(self.strategy) && self.strategy == 'BlueGreen')",
                "abTest needs strategy: BlueGreen",
                path=".abTest",
                reason="FieldValueForbidden",
            )
        )
    )

    strategy: Strategy | None = Field(
        default=None,
        description=(
            "BlueGreen starts a second set of pods, tests it and switches the traffic at once; Canary lets both "
            "revisions serve and moves the traffic share by share as the new one proves itself; RollingUpdate replaces "
            "pods a few at a time, each new one ready before the next old one goes; Recreate stops all old pods before "
            "it starts new ones (needs no spare capacity, but interrupts the service); Auto takes BlueGreen, "
            "RollingUpdate or Recreate by what there is room for, and says so in status.rollout.plan. "
            "Default: predictor.deploymentStrategy.type if that is set, else Auto."
        ),
    )
    progress_deadline_seconds: int = Field(
        default=1800,
        ge=1,
        description=(
            "Seconds that a new revision may go without progress before it counts as failed and the stable revision "
            "is restored. A new available pod is progress, and so is a model that is still downloading or loading. "
            "Time spent paused does not count."
        ),
    )
    revision_history_limit: int = Field(
        default=5, ge=1, le=100, description="How many old revisions are kept as ControllerRevisions, to go back to."
    )
    on_failure: Literal["Rollback", "Hold"] = Field(
        default="Rollback",
        description=(
            "What becomes of the pods of a revision that failed while the stable one serves: Rollback removes them, "
            "Hold leaves those of a BlueGreen rollout up, without traffic, to be looked into, and a Canary's first one "
            "if it failed before it got any; later the stable revision takes their places."
        ),
    )
    blue_green: BlueGreen = Field(
        default_factory=BlueGreen, description="How the second set of pods takes over from the first."
    )
    canary: Canary = Field(
        default_factory=Canary, description="How the traffic moves to the new revision, share by share."
    )
    smoke_test: SmokeTest = Field(
        default_factory=SmokeTest,
        description=(
            "One request that every new pod of a BlueGreen rollout must answer before the switch, and the first one "
            "of a Canary before it gets traffic."
        ),
    )
    analysis: Analysis | None = Field(
        default=None,
        description=(
            "What the new revision's own counters must show while it takes traffic: before the old pods of a BlueGreen "
            "rollout go, and at each step of a Canary. Default: none for BlueGreen; for a Canary errors and refusals."
        ),
    )

    ab_test: AbTest | None = Field(
        default=None,
        description=(
            "Compares the two revisions of a BlueGreen rollout under real traffic before the switch: some clients meet "
            "the new one, all others the stable one, and one statistical test at the end says which does better. The "
            "better one is kept if blueGreen.autoPromote; else, and where there is no significant difference, "
            "the rollout waits for the action promote, abort or retry. Default: no such test."
        ),
    )

    @property
    def is_shown_first(self) -> bool:
        """There is time to look at a new revision before it gets traffic, or after it failed to."""
        gate = self.blue_green
        return not gate.auto_promote or gate.auto_promote_after_seconds > 0 or self.on_failure == "Hold"


class RollingUpdate(Model):
    """The pace of a rolling update, as in a Deployment."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!(string(self.maxSurge) in ['0', '0%'] && string(self.maxUnavailable) in ['0', '0%'])",
                "maxUnavailable may not be 0 when maxSurge is 0: no pod could ever be replaced",
                path=".maxUnavailable",
            )
        )
    )

    max_surge: CountOrPercent = Field(
        default="25%",
        description="Pods above the wanted number that may exist during the update: a count, or a share rounded up.",
    )
    max_unavailable: CountOrPercent = Field(
        default="25%",
        description="Pods that may be missing during the update: a count, or a share (such as 25%) rounded down.",
    )


class DeploymentStrategy(Model):
    """The strategy of the Deployment underneath, in the words of apps/v1."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!(has(self.type) && self.type == 'Recreate' && has(self.rollingUpdate))",
                "rollingUpdate may not be set when type is Recreate",
                path=".rollingUpdate",
                reason="FieldValueForbidden",
            )
        )
    )

    type: InPlace | None = Field(
        default=None, description="RollingUpdate or Recreate; must agree with spec.rollout.strategy if both are set."
    )
    rolling_update: RollingUpdate = Field(
        default_factory=RollingUpdate, description="The pace of a rolling update, as in a Deployment."
    )


class Disruption(Model):
    """How many pods voluntary disruptions, such as a node drain, may take away."""

    max_unavailable: CountOrPercent = Field(
        default=1,
        description=(
            "Pods that evictions may have down at the same time: a count, or a share such as 25%. It becomes the "
            "service's PodDisruptionBudget, which exists while two or more pods are wanted."
        ),
    )
