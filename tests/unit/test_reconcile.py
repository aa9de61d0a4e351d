"""The whole pass over a cluster in memory: what a real API server cannot be made to do at the right moment."""

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from penstock import errors, names
from penstock.controller import requeue
from penstock.controller.apply import Vanished
from penstock.desired import pod
from penstock.desired.installation import Installation
from penstock.kinds import (
    CONTROLLER_REVISION,
    DEPLOYMENT,
    DISRUPTION_BUDGET,
    ENDPOINT_SLICE,
    INFERENCE_SERVICE,
    NODE,
    POD,
    SERVICE,
    Manifest,
)
from penstock.observed.values import Progress
from penstock.watch.store import ObjectId

from tests.builders import DEADLINE, UID
from tests.fake_cluster import the_service
from tests.place import CHAT, Place, a_ready_pod


async def test_the_first_pass_creates_every_child_and_reports() -> None:
    place = Place()
    await place.look()
    assert [call[:2] for call in place.cluster.writes] == [
        ("apply", "ControllerRevision"),
        ("apply", "Deployment"),
        ("apply", "Service"),
        ("merge status", "InferenceService"),
    ]
    assert place.status["phase"] == "Pending"


async def test_a_second_pass_over_the_same_cluster_writes_nothing() -> None:
    place = Place()
    await place.look()
    await place.look()
    assert place.cluster.calls == []


async def test_a_service_that_is_ready_says_so_and_then_is_left_alone() -> None:
    place = Place()
    await place.look()
    place.roll_out()
    await place.look()
    assert place.condition("Ready") == ("True", "Ready")
    await place.look()
    assert place.cluster.calls == []


async def test_a_service_that_is_gone_or_going_is_left_alone() -> None:
    place = Place()
    going = {**the_service(place.cluster)["metadata"], "deletionTimestamp": "2026-01-01T12:00:00Z"}
    place.cluster.edit(INFERENCE_SERVICE, "chat", metadata=going)
    assert await place.look() is None
    place.cluster.remove(INFERENCE_SERVICE, "chat")
    assert await place.look() is None
    assert place.cluster.calls == []


def the_orphan(*, of: str, made_for: str | None) -> Manifest:
    """A Service of the name chat that nobody owns, labelled and marked as a service's child would be."""
    marks = {names.ANNOTATION_APPLIED: f"{made_for}/0123456789abcdef"} if made_for else {}
    labels = {names.LABEL_SERVICE: of}
    metadata = {"name": "chat", "namespace": "ml", "uid": "old", "labels": labels, "annotations": marks}
    return {"metadata": metadata, "spec": {}}


def the_owner(uid: str, *, api_version: str = names.API_VERSION) -> Manifest:
    return {"apiVersion": api_version, "kind": names.KIND, "name": "chat", "uid": uid, "controller": True}


class TestNames:
    async def test_a_name_that_is_taken_is_never_written(self) -> None:
        place = Place()
        foreign = {
            "metadata": {"name": "chat", "namespace": "ml", "labels": {}},
            "spec": {"selector": {"app": "other"}},
        }
        before = place.cluster.put(SERVICE, foreign)
        again = await place.look()
        assert place.child("Service") == before
        assert place.condition("Ready") == ("False", "NameConflict")
        assert place.condition("Stalled") == ("True", "NameConflict")
        assert (
            place.status["blockedBy"][0]["message"]
            == "Service chat exists and is not ours; rename the service, or delete that object"
        )
        assert again is not None

    async def test_it_is_taken_into_use_once_it_is_free(self) -> None:
        place = Place()
        place.cluster.put(SERVICE, {"metadata": {"name": "chat", "namespace": "ml"}, "spec": {}})
        await place.look()
        place.cluster.remove(SERVICE, "chat")
        await place.look()
        assert place.condition("Stalled") == ("False", "Reconciled")

    async def test_one_that_takes_the_name_while_we_look_is_not_adopted_either(self) -> None:
        place = Place()
        place.cluster.deliver(place.store)
        place.cluster.faults["apply", "Service"] = errors.Conflict(409, "Conflict", "somebody was here for a moment")
        foreign = {"metadata": {"name": "chat", "namespace": "ml"}, "spec": {"selector": {"app": "other"}}}
        place.cluster.after_get = lambda: place.cluster.put(SERVICE, foreign)
        with pytest.raises(Vanished):
            await place.reconcile(CHAT)
        assert place.child("Service")["spec"] == {"selector": {"app": "other"}}

    async def test_another_operators_child_is_foreign_too(self) -> None:
        place = Place()
        owner = {"apiVersion": "apps.example/v1", "kind": "Application", "name": "chat", "uid": "x", "controller": True}
        before = place.cluster.put(
            SERVICE, {"metadata": {"name": "chat", "namespace": "ml", "ownerReferences": [owner]}, "spec": {}}
        )
        await place.look()
        assert place.child("Service") == before

    @pytest.mark.parametrize("made_for", [None, UID, "an earlier life"])
    async def test_kserves_child_stays_though_its_owner_has_our_kind_and_name(self, made_for: str | None) -> None:
        place = Place()
        found = the_orphan(of="chat", made_for=made_for)
        found["metadata"]["ownerReferences"] = [the_owner("kserves", api_version="serving.kserve.io/v1beta1")]
        before = place.cluster.put(SERVICE, found)
        await place.look()
        assert place.child("Service") == before
        assert place.condition("Stalled") == ("True", "NameConflict")
        assert place.message("Stalled") == (
            "Service chat exists and belongs to InferenceService chat of serving.kserve.io/v1beta1; "
            "rename the service, or delete that owner"
        )

    async def test_a_child_of_an_earlier_life_is_deleted_by_its_uid_and_made_anew(self) -> None:
        place = Place()
        owner = the_owner("an earlier life")
        place.cluster.put(
            SERVICE,
            {"metadata": {"name": "chat", "namespace": "ml", "uid": "old", "ownerReferences": [owner]}, "spec": {}},
        )
        with pytest.raises(Vanished):
            await place.look()
        assert ("delete", "Service", "chat") in place.cluster.calls
        await place.look()
        assert place.child("Service")["metadata"]["ownerReferences"][0]["uid"] == UID

    async def test_one_that_lost_its_owner_and_is_wanted_otherwise_by_now_is_adopted_as_it_is(self) -> None:
        place = Place()
        await place.look()
        before = place.child("Deployment", "chat-blue")["metadata"]
        place.cluster.edit(DEPLOYMENT, "chat-blue", metadata={**before, "ownerReferences": []})
        place.edit(minReplicas=2)
        await place.look()
        after = place.child("Deployment", "chat-blue")
        assert after["metadata"]["uid"] == before["uid"]
        assert after["metadata"]["ownerReferences"] == before["ownerReferences"]
        assert after["spec"]["replicas"] == 2

    async def test_one_without_an_owner_that_was_made_for_an_earlier_life_is_made_anew(self) -> None:
        place = Place()
        place.cluster.put(SERVICE, the_orphan(of="chat", made_for="an earlier life"))
        with pytest.raises(Vanished):
            await place.look()
        await place.look()
        assert place.child("Service")["metadata"]["uid"] != "old"

    @pytest.mark.parametrize(("of", "made_for"), [("chat", None), ("other", "an earlier life")])
    async def test_one_without_an_owner_that_is_not_marked_as_a_child_of_this_name_is_foreign(
        self, of: str, made_for: str | None
    ) -> None:
        place = Place()
        before = place.cluster.put(SERVICE, the_orphan(of=of, made_for=made_for))
        await place.look()
        assert place.child("Service") == before
        assert place.condition("Stalled") == ("True", "NameConflict")

    async def test_a_child_that_the_watch_has_not_told_yet_is_ours_all_the_same(self) -> None:
        place = Place()
        await place.look()
        place.store.drop(ObjectId("Service", "ml", "chat"))
        await place.reconcile(CHAT)
        assert place.condition("Stalled") == ("False", "Reconciled")


class TestRaces:
    async def test_a_child_deleted_under_our_hands_is_not_made_again_by_a_blind_apply(self) -> None:
        place = Place()
        await place.look()
        place.edit(minReplicas=2)
        place.cluster.deliver(place.store)
        place.cluster.remove(DEPLOYMENT, "chat-blue")
        with pytest.raises(Vanished):
            await place.reconcile(CHAT)
        await place.reconcile(CHAT)
        assert place.child("Deployment", "chat-blue")["spec"]["replicas"] == 2

    async def test_children_that_went_with_their_service_are_not_made_again(self) -> None:
        place = Place()
        await place.look()
        await place.look()
        place.cluster.deliver(place.store)
        # The watch of the children is ahead of the one of the services.
        place.cluster.remove(DEPLOYMENT, "chat-blue")
        place.store.drop(ObjectId("Deployment", "ml", "chat-blue"))
        place.cluster.remove(INFERENCE_SERVICE, "chat")
        with pytest.raises(Vanished):
            await place.reconcile(CHAT)
        assert ObjectId("Deployment", "ml", "chat-blue") not in place.cluster.objects

    async def test_an_edit_during_the_pass_wakes_the_next_though_our_own_write_has_told_it_to_the_store(self) -> None:
        place = Place()
        place.cluster.deliver(place.store)
        place.edit(minReplicas=2)
        assert await place.reconcile(CHAT) == timedelta()
        # The watch brings nothing that the store does not know from the answer to the status write.
        assert place.store.put(INFERENCE_SERVICE, the_service(place.cluster)) == set()
        await place.reconcile(CHAT)
        assert place.child("Deployment", "chat-blue")["spec"]["replicas"] == 2

    async def test_an_edit_that_only_our_own_look_has_told_is_acted_on(self) -> None:
        place = Place()
        await place.look()
        place.cluster.deliver(place.store)
        place.store.drop(ObjectId("Deployment", "ml", "chat-blue"))
        place.edit(minReplicas=2)
        with pytest.raises(Vanished):
            await place.reconcile(CHAT)
        await place.reconcile(CHAT)
        assert place.child("Deployment", "chat-blue")["spec"]["replicas"] == 2

    async def test_a_service_deleted_during_the_pass_is_no_error(self) -> None:
        place = Place()
        place.cluster.deliver(place.store)
        place.cluster.faults["merge status", "InferenceService"] = errors.NotFound(404, "NotFound", "")
        await place.reconcile(CHAT)
        assert place.told == []

    @pytest.mark.parametrize(
        "fault",
        [errors.Unreachable("reset"), errors.ApiError(500, "InternalError", "etcd"), errors.Throttled(429, "", "", 1)],
    )
    async def test_a_pass_that_broke_off_is_finished_by_the_next(self, fault: Exception) -> None:
        place = Place()
        place.cluster.faults["apply", "Deployment"] = fault
        with pytest.raises(type(fault)):
            await place.look()
        await place.look()
        assert place.child("Deployment", "chat-blue")
        assert place.status["phase"] == "Pending"

    async def test_a_child_that_cannot_be_written_does_not_keep_ready_from_turning_false(self) -> None:
        place = Place(minReplicas=2)
        await place.look()
        place.roll_out(2)
        await place.settle()
        place.cluster.edit(DISRUPTION_BUDGET, "chat", spec={})
        place.cluster.edit(ENDPOINT_SLICE, "chat-abc", endpoints=[])
        place.cluster.faults["apply", "PodDisruptionBudget"] = errors.ApiError(500, "InternalError", "calling webhook")
        with pytest.raises(errors.ApiError):
            await place.look()
        assert place.condition("Ready")[0] == "False"


class TestDrift:
    async def test_an_edit_of_ours_is_undone_and_an_addition_of_others_stays(self) -> None:
        place = Place()
        await place.look()
        live = place.child("Service")
        spec = {**live["spec"], "sessionAffinity": "None", "selector": {"app": "hijacked"}}
        place.cluster.edit(SERVICE, "chat", spec=spec)
        await place.look()
        assert [call for call in place.cluster.writes if call[0] == "apply"] == [("apply", "Service", "chat")]
        mended = place.child("Service")["spec"]
        assert mended["selector"][names.LABEL_SERVICE] == "chat"
        assert mended["sessionAffinity"] == "None"

    async def test_a_port_whose_number_was_changed_is_put_back(self) -> None:
        # Verified on a real API server: theirs and ours would both be named http, and the apply is refused.
        place = Place()
        await place.look()
        live = place.child("Service")
        wanted = live["spec"]["ports"]
        place.cluster.edit(SERVICE, "chat", spec={**live["spec"], "ports": [{**wanted[0], "port": 81}]})
        place.cluster.faults["apply", "Service"] = errors.Rejected(422, "Invalid", 'Duplicate value: "http"')
        await place.look()
        assert place.cluster.writes[:2] == [("merge", "Service", "chat"), ("apply", "Service", "chat")]
        assert place.child("Service")["spec"]["ports"] == wanted
        assert place.condition("Stalled") == ("False", "Reconciled")

    async def test_what_is_no_longer_wanted_is_deleted(self) -> None:
        place = Place(minReplicas=2)
        await place.look()
        assert place.child("PodDisruptionBudget")
        place.edit(minReplicas=1)
        await place.look()
        assert ("delete", "PodDisruptionBudget", "chat") in place.cluster.writes

    async def test_a_spec_that_is_refused_leaves_what_runs_alone(self) -> None:
        place = Place()
        await place.look()
        place.roll_out()
        await place.settle()
        before = place.child("Deployment", "chat-blue")
        place.edit(nodeSelector={"zone": "a"})
        place.cluster.faults["apply", "Deployment"] = errors.Rejected(422, "Invalid", "spec.template: no such field")
        await place.look()
        assert place.child("Deployment", "chat-blue") == before
        assert place.condition("Ready") == ("True", "Ready")
        assert place.condition("Stalled") == ("True", "InvalidSpec")

    async def test_a_quota_that_refuses_a_child_is_told_as_such(self) -> None:
        place = Place()
        place.cluster.faults["apply", "Service"] = errors.QuotaExceeded(403, "Forbidden", "exceeded quota: services")
        await place.look()
        assert place.condition("Stalled") == ("True", "QuotaExceeded")

    async def test_what_stood_still_because_it_was_refused_goes_on_by_itself(self) -> None:
        place = Place()
        refusal = errors.QuotaExceeded(403, "Forbidden", "exceeded quota: services")
        place.cluster.faults["apply", "Service"] = refusal
        assert await place.look() == requeue.REFUSED_AGAIN_AFTER
        # Decided while it stood still: only the next pass is free to take a step.
        assert await place.look() == timedelta()
        assert place.condition("Stalled")[0] == "False"
        assert await place.look() == DEADLINE


class TestPaused:
    async def test_no_child_is_written_and_the_status_still_is(self) -> None:
        place = Place(annotations={names.ANNOTATION_PAUSED: "hands off"}, maxReplicas=3)
        await place.look()
        assert place.cluster.writes == [("merge status", "InferenceService", "chat")]
        assert place.condition("Reconciling") == ("False", "PausedByUser")

    async def test_an_edit_of_a_child_is_left_alone(self) -> None:
        place = Place()
        await place.look()
        service = the_service(place.cluster)
        paused = {**service["metadata"], "annotations": {names.ANNOTATION_PAUSED: ""}}
        place.cluster.edit(INFERENCE_SERVICE, "chat", metadata=paused)
        place.cluster.edit(SERVICE, "chat", spec={})
        await place.settle()
        assert place.child("Service")["spec"] == {}


class TestSeeding:
    async def test_an_autoscaled_service_is_seeded_once(self) -> None:
        place = Place(maxReplicas=3)
        await place.look()
        assert place.cluster.writes[-1] == ("merge scale", "InferenceService", "chat")
        assert the_service(place.cluster)["spec"]["replicas"] == 1
        await place.look()
        assert ("merge scale", "InferenceService", "chat") not in place.cluster.writes
        await place.look()
        assert place.cluster.calls == []

    async def test_a_pass_before_the_watch_has_told_of_the_seed_writes_nothing(self) -> None:
        place = Place(maxReplicas=3)
        await place.look()
        place.cluster.calls.clear()
        await place.reconcile(CHAT)
        assert place.cluster.writes == []

    async def test_an_autoscalers_own_write_is_never_overwritten(self) -> None:
        place = Place(maxReplicas=3)
        place.cluster.deliver(place.store)
        service = the_service(place.cluster)
        place.cluster.edit(INFERENCE_SERVICE, "chat", spec={**service["spec"], "replicas": 3})
        with pytest.raises(errors.Conflict):
            await place.reconcile(CHAT)
        assert the_service(place.cluster)["spec"]["replicas"] == 3

    async def test_fixed_and_suspended_services_are_not_seeded(self) -> None:
        for place in (Place(minReplicas=2), Place(maxReplicas=3, suspend=True)):
            await place.settle()
            assert "replicas" not in the_service(place.cluster)["spec"]


class TestRollouts:
    async def ready(self) -> Place:
        place = Place()
        await place.look()
        place.roll_out()
        await place.settle()
        return place

    async def test_an_update_that_fails_goes_back_to_the_stored_template(self) -> None:
        place = await self.ready()
        stable, template = place.template_revision, place.child("Deployment", "chat-blue")["spec"]["template"]
        place.edit(nodeSelector={"zone": "nowhere"})
        again = await place.look()
        assert place.template_revision != stable
        assert again == DEADLINE
        place.now += DEADLINE
        await place.settle()
        assert place.child("Deployment", "chat-blue")["spec"]["template"] == template
        assert place.status["rollout"]["phase"] == "Aborting"
        place.roll_out()
        await place.settle()
        assert place.status["rollout"]["phase"] == "RolledBack"
        assert [transition.reason for transition in place.told] == ["RolloutStarted", "ProgressDeadlineExceeded"]

    async def test_a_plan_beyond_its_bound_is_written_cut(self) -> None:
        place = await self.ready()
        for number in range(99):
            taint = {"key": f"example.com/{'reserved' * 6}-{number}", "effect": "NoSchedule"}
            status = {"conditions": [{"type": "Ready", "status": "True"}], "allocatable": {"nvidia.com/gpu": "1"}}
            place.cluster.put(NODE, {"metadata": {"name": f"n{number}"}, "spec": {"taints": [taint]}, "status": status})
        place.edit(model={"storageUri": "s3://models/other", "resources": {"limits": {"nvidia.com/gpu": 1}}})
        await place.look()
        plan = place.status["rollout"]["plan"]
        assert plan.startswith("BlueGreen: ")
        assert len(plan) == 1024
        await place.look()
        assert place.cluster.writes == []

    async def test_a_status_wiped_after_a_rollback_does_not_try_it_again(self) -> None:
        place = await self.ready()
        stable = place.template_revision
        place.edit(nodeSelector={"zone": "nowhere"})
        await place.look()
        place.now += DEADLINE
        await place.settle()
        place.cluster.edit(INFERENCE_SERVICE, "chat", status={})
        await place.settle()
        assert place.template_revision == stable
        assert place.status["rollout"]["phase"] == "RolledBack"

    async def test_an_operator_with_another_server_image_restarts_nothing(self) -> None:
        place = await self.ready()
        before = place.child("Deployment", "chat-blue")
        place.reconcile._installation = Installation("penstock-server:2")
        await place.settle()
        assert place.child("Deployment", "chat-blue") == before

    async def test_a_template_of_a_version_that_did_not_name_the_models_container_stays_as_it_is(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def older(*args: Any, **rest: Any) -> Manifest:
            found = pod.template(*args, **rest)
            return {**found, "metadata": {"labels": found["metadata"]["labels"]}}

        with monkeypatch.context() as patched:
            patched.setattr("penstock.controller.gather.pod", SimpleNamespace(**vars(pod) | {"template": older}))
            place = await self.ready()
        before = place.child("Deployment", "chat-blue")
        assert "annotations" not in before["spec"]["template"]["metadata"]
        await place.settle()
        assert place.child("Deployment", "chat-blue") == before

    async def test_a_stored_template_that_was_deleted_is_stored_again_as_it_runs(self) -> None:
        place = await self.ready()
        before = place.child("Deployment", "chat-blue")["spec"]["template"]
        place.cluster.remove(CONTROLLER_REVISION, f"chat-{place.template_revision}")
        place.reconcile._installation = Installation("penstock-server:2")
        await place.settle()
        assert place.child("ControllerRevision", f"chat-{place.template_revision}")
        assert place.child("Deployment", "chat-blue")["spec"]["template"] == before

    @pytest.mark.parametrize("label", [names.LABEL_REVISION, names.LABEL_MANAGED_BY])
    async def test_a_stored_template_that_loses_a_label_gets_it_back_and_stays_as_it_is(self, label: str) -> None:
        place = await self.ready()
        name = f"chat-{place.template_revision}"
        stored = place.child("ControllerRevision", name)
        deployment = place.child("Deployment", "chat-blue")
        # What the API server adds to a template is in the Deployment, and not in what was stored.
        template = deployment["spec"]["template"]
        full = {**template, "spec": {**template["spec"], "dnsPolicy": "ClusterFirst"}}
        place.cluster.edit(DEPLOYMENT, "chat-blue", spec={**deployment["spec"], "template": full})
        labels = {key: value for key, value in stored["metadata"]["labels"].items() if key != label}
        place.cluster.edit(CONTROLLER_REVISION, name, metadata={**stored["metadata"], "labels": labels})
        place.cluster.deliver(place.store)
        if label == names.LABEL_MANAGED_BY:  # It is what the watch selects by.
            place.store.drop(ObjectId("ControllerRevision", "ml", name))
        await place.reconcile(CHAT)
        assert place.child("ControllerRevision", name)["metadata"]["labels"] == stored["metadata"]["labels"]
        assert place.child("ControllerRevision", name)["data"] == stored["data"]
        assert place.condition("Stalled") == ("False", "Reconciled")

    async def test_only_so_many_old_revisions_are_kept(self) -> None:
        place = await self.ready()
        for zone in "abcdefgh":
            place.edit(nodeSelector={"zone": zone})
            await place.look()
            place.roll_out()
            await place.settle()
        kept = [obj for identity, obj in place.cluster.objects.items() if identity.kind == "ControllerRevision"]
        assert sorted(obj["revision"] for obj in kept) == [4, 5, 6, 7, 8, 9]

    async def test_a_revision_that_the_spec_asks_for_again_is_the_newest_of_the_history(self) -> None:
        place = await self.ready()
        first = place.template_revision
        spec = the_service(place.cluster)["spec"]
        place.cluster.edit(INFERENCE_SERVICE, "chat", spec={**spec, "rollout": {"revisionHistoryLimit": 1}})
        for selector in ({"zone": "a"}, {"zone": "b"}, {}, {"zone": "c"}):
            place.edit(nodeSelector=selector)
            await place.look()
            place.roll_out()
            await place.settle()
        kept = [obj for identity, obj in place.cluster.objects.items() if identity.kind == "ControllerRevision"]
        numbers = {obj["metadata"]["name"].removeprefix("chat-"): obj["revision"] for obj in kept}
        assert numbers == {first: 4, place.template_revision: 5}

    async def test_the_number_of_a_stored_revision_that_somebody_edits_is_put_right(self) -> None:
        place = await self.ready()
        place.edit(nodeSelector={"zone": "a"})
        await place.look()
        place.roll_out()
        await place.settle()
        place.cluster.edit(CONTROLLER_REVISION, f"chat-{place.template_revision}", revision=1)
        await place.settle()
        assert place.child("ControllerRevision", f"chat-{place.template_revision}")["revision"] == 2

    async def test_only_the_pods_of_the_revision_are_asked_for_their_progress(self) -> None:
        place = await self.ready()
        place.edit(nodeSelector={"zone": "a"})
        await place.look()
        for name, revision, ip in (("old", "v0", "10.0.0.1"), ("new", place.template_revision, "10.0.0.2")):
            labels = {names.LABEL_SERVICE: "chat", names.LABEL_SLOT: "blue", names.LABEL_REVISION: revision}
            pod = a_ready_pod(name, labels)
            pod["status"]["containerStatuses"][0]["started"] = False
            pod["status"] |= {"podIP": ip, "conditions": []}
            place.cluster.put(POD, pod)
        place.answer, place.can_reach_pods = Progress(bytes=7, total_bytes=9), True
        await place.look()
        assert place.asked[-1] == ["10.0.0.2"]
        assert place.status["download"] == {"bytes": 7, "totalBytes": 9}


async def test_a_spec_that_makes_no_sense_to_this_version_is_told_and_nothing_is_touched() -> None:
    place = Place()
    await place.look()
    place.roll_out()
    await place.settle()
    before = place.child("Deployment", "chat-blue")
    place.edit(minReplicas="as many as it takes")
    assert await place.look() is not None
    assert place.condition("Stalled") == ("True", "InvalidSpec")
    assert place.condition("Ready") == ("True", "Ready")
    stalled = next(each for each in place.status["conditions"] if each["type"] == "Stalled")
    assert "minReplicas" in stalled["message"]
    # What stands in a spec may be a secret: the field is named, its value is not repeated.
    assert "as many as it takes" not in stalled["message"]
    assert place.child("Deployment", "chat-blue") == before
    await place.look()
    assert place.cluster.calls == []
    place.edit(minReplicas=1)
    await place.look()
    assert place.condition("Stalled") == ("False", "Reconciled")
