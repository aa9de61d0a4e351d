"""What a pass knows of the cluster, as small frozen values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from penstock import names
from penstock.api.v1alpha1 import InferenceService
from penstock.capacity.room import Fit, Room
from penstock.names import Slot
from penstock.observed.answers import Answers
from penstock.observed.http_route import SeenRoute


@dataclass(frozen=True, slots=True)
class SeenDeployment:
    """The Deployment of one slot."""

    revision: str
    wanted: int
    replicas: int = 0
    updated: int = 0
    ready: int = 0
    available: int = 0
    is_observed: bool = False  # the Deployment controller has acted on the spec that is there now
    creation_failure: str | None = None  # why its ReplicaSet cannot create pods, in the API server's words
    name: str = ""

    @property
    def is_complete(self) -> bool:
        """Every wanted pod is of this revision and available, and no other is left."""
        settled = self.updated == self.available == self.replicas == self.wanted
        return self.is_observed and settled

    @property
    def available_of_revision(self) -> int:
        """Available pods that can only be of the new revision: the old ones are all that is not updated."""
        return max(0, min(self.updated, self.available - (self.replicas - self.updated)))


@dataclass(frozen=True, slots=True)
class Ended:
    """How a container ended."""

    reason: str
    exit_code: int
    message: str
    at: datetime | None


@dataclass(frozen=True, slots=True)
class SeenPod:
    """One pod of the service. `waiting` and `ended` are those of one container: the model's, if it has trouble."""

    name: str
    slot: str
    revision: str
    is_ready: bool = False
    is_leaving: bool = False
    is_started: bool = False  # the startup probe has passed
    running_since: datetime | None = None
    unready_since: datetime | None = None  # of one that has been up, or found no node
    ip: str | None = None
    unschedulable: str | None = None  # the scheduler's message
    waiting: tuple[str, str] | None = None  # the kubelet's reason and message
    ended: Ended | None = None
    container: str = ""  # which one waits or has ended, if it is not the model's but a webhook's

    @property
    def could_answer(self) -> bool:
        return self.is_ready and not self.is_leaving

    @property
    def is_coming(self) -> bool:
        """It has not been up yet, and nothing is known to keep it from that."""
        return not self.is_started and self.unschedulable is None and self.waiting is None and self.ended is None

    @property
    def is_loading(self) -> bool:
        """Its server runs and has not passed its startup probe yet."""
        return self.running_since is not None and not self.is_started and not self.is_leaving


@dataclass(frozen=True, slots=True)
class SeenAutoscaler:
    """The HPA. A condition is (status, reason, message)."""

    desired: int | None
    current: str | None
    last_scale_time: datetime | None
    conditions: Mapping[str, tuple[str, str, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far loading pods have come, as their /startupz tells it."""

    bytes: int = 0
    total_bytes: int | None = None
    bytes_per_second: int | None = None
    loaded_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Activity:
    """Whether requests come to the pods of a service that may sleep, as the pods have counted them."""

    looked_at: datetime  # when all of them were asked last
    quiet_since: datetime | None = None  # by all looks since then nothing came or was under way; None: not quiet
    is_router_reached: bool = False  # a request to the Service's own address was answered by a router
    unknown: str = ""  # why the pods cannot tell


@dataclass(frozen=True, slots=True)
class Router:
    """A ready router: the name of its pod, and where that is."""

    name: str
    ip: str


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Names of the pods behind the active Service: those that get new requests, and all that are not terminating."""

    ready: frozenset[str] = frozenset()
    lasting: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Seen:
    """All that one pass over a service knows of the cluster."""

    service: InferenceService
    current: str = ""  # the revision that the spec asks for
    slots: Mapping[Slot, SeenDeployment] = field(default_factory=dict)
    selected: Slot | None = None  # the slot that the active Service was last made to pick; None before any update
    pods: tuple[SeenPod, ...] = ()
    endpoints: Endpoints = Endpoints()
    autoscaler: SeenAutoscaler | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)  # of the active Service
    templates: frozenset[str] = frozenset()  # revisions whose template is stored, or runs
    progress: Progress | None = Progress()  # None: the loading pods were asked and have not answered yet
    fit: Fit | None = None  # room for one more pod; asked for only when one waits for a node
    room: Room | None = None  # for more pods of the current revision; asked for only when a plan is to be made
    is_smoke_tested: bool = False  # there is a smoke test, and pods can be reached from here
    answers: Answers | None = None
    route: SeenRoute | None = None  # the HTTPRoute; None where there is none
    routers: tuple[Router, ...] = ()  # those that are ready
    has_router_slice: bool = False  # routers are endpoints of the active Service
    ip_family: str | None = None  # of the active Service, IPv4 or IPv6
    activity: Activity | None = None  # of one that may sleep; None: not known yet

    @property
    def active(self) -> Slot:
        """The slot that serves, or will."""
        rollout = self.service.status.rollout
        return self.selected or Slot((rollout and rollout.active_slot) or Slot.BLUE)

    @property
    def idle(self) -> Slot:
        return self.active.other

    @property
    def deployment(self) -> SeenDeployment | None:
        """That of the active slot."""
        return self.slots.get(self.active)

    @property
    def newest(self) -> Slot:
        """The slot that runs the current revision, if one of them does."""
        there = self.slots.get(self.idle)
        return self.idle if there is not None and there.revision == self.current else self.active

    @property
    def is_shared(self) -> bool:
        """The active Service was last made to select both slots."""
        return names.ANNOTATION_SHARED in self.annotations

    @property
    def selected_slots(self) -> frozenset[Slot]:
        """The slots that the active Service was last made to select."""
        return frozenset(Slot if self.is_shared else [self.active])

    @property
    def is_redirected(self) -> bool:
        """The active Service was last made to select no pods, but to lead to the routers."""
        return names.ANNOTATION_REDIRECTED in self.annotations

    @property
    def serving(self) -> tuple[SeenDeployment, ...]:
        """Those of the slots that serve."""
        return tuple(each for slot, each in self.slots.items() if slot in self.selected_slots)

    def ready(self, slot: Slot) -> tuple[SeenPod, ...]:
        """The slot's pods that could answer now."""
        return tuple(pod for pod in self.pods if pod.slot == slot and pod.could_answer)
