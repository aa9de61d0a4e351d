"""An operator that is killed between any two of its writes: whoever comes next brings it to the same end."""

import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from penstock.kinds import DEPLOYMENT, INFERENCE_SERVICE

from tests.control_plane.audit import Audit
from tests.control_plane.gateway import Gateway
from tests.control_plane.mortal import (
    LEAVES_SOCKETS,
    Operators,
    after_every_write,
    by_chance,
    lasting,
    live_through,
    outcome,
)
from tests.control_plane.objects import Manifest, Objects, assert_condition, image
from tests.control_plane.operator_process import Installation, Operator
from tests.control_plane.waiting import eventually

pytestmark = LEAVES_SOCKETS

KILLS = 50
AT_ONCE = 6  # services that live through the scenario together
PATIENCE = 60.0


def stable(objects: Objects, name: str, tag: str, replicas: int) -> None:
    found = objects.service(name)
    assert_condition(found, "Ready", "True")
    assert_condition(found, "Progressing", "False", "Stable")
    assert_condition(found, "Stalled", "False")
    assert found["status"]["observedGeneration"] == found["metadata"]["generation"]
    assert found["status"]["replicas"] == found["status"]["readyReplicas"] == replicas
    slot = found["status"]["rollout"]["activeSlot"]
    containers = objects.get(DEPLOYMENT, f"{name}-{slot}")["spec"]["template"]["spec"]["containers"]
    assert containers[0]["image"] == f"example/server:{tag}"


def given_up(objects: Objects, name: str) -> None:
    found = objects.service(name)
    assert_condition(found, "Stalled", "True", "ProgressDeadlineExceeded")
    assert_condition(found, "Ready", "True")
    assert found["status"]["replicas"] == 3


def scenario(objects: Objects, names: list[str]) -> None:
    """Create, update, scale, break, fix: each step for all services, then wait for all."""

    def step(act: Callable[[str], object], check: Callable[[str], object]) -> None:
        for name in names:
            act(name)
        for name in names:
            eventually(lambda name=name: check(name), within=PATIENCE)  # type: ignore[misc]

    # By Auto the plans would differ: they tell how much room there was.
    patient, hasty = {"strategy": "RollingUpdate", "progressDeadlineSeconds": 600}, {"progressDeadlineSeconds": 2}
    autoscaled: dict[str, Any] = {"minReplicas": 2, "maxReplicas": 4, "scaleMetric": "concurrency"}
    three = {"spec": {"replicas": 3}}
    step(lambda name: objects.serve(name, rollout=patient, **autoscaled), lambda name: stable(objects, name, "1", 2))
    step(lambda name: objects.edit(name, predictor=image("2")), lambda name: stable(objects, name, "2", 2))
    step(
        lambda name: objects.patch(INFERENCE_SERVICE, name, three, subresource="scale"),
        lambda name: stable(objects, name, "2", 3),
    )
    step(
        lambda name: objects.edit(name, rollout=hasty, predictor=image("crash-loop")),
        lambda name: given_up(objects, name),
    )
    step(
        lambda name: objects.edit(name, rollout=patient, predictor=image("3")),
        lambda name: stable(objects, name, "3", 3),
    )


BLUE_GREEN = {"strategy": "BlueGreen", "blueGreen": {"holdSeconds": 0, "autoPromote": True}}
AT_A_GATE = {"strategy": "BlueGreen", "blueGreen": {"holdSeconds": 0, "autoPromote": False}}
# Fake pods count no requests.
UNSEEN = {"analysis": {"intervalSeconds": 1, "durationSeconds": 1, "onNoData": "Promote"}}
CANARY = {"strategy": "Canary", "canary": {"steps": [{"weight": 50, "pauseSeconds": 0}]}, **UNSEEN}
AT_A_STEP = {"strategy": "Canary", "canary": {"steps": [{"weight": 50, "pause": True}]}, **UNSEEN}


A_GATEWAY = {"gateway": {"parentRefs": [{"name": "public", "namespace": "gateways"}]}}
COMPARED = {**AT_A_GATE, "abTest": {"header": {"name": "x-arm", "value": "b"}, "durationSeconds": 1}}


def two_slots(objects: Objects, name: str, *, straight: Manifest, waiting: Manifest, networking: Manifest) -> None:
    """A first deployment, an update, a revision that never comes up, one that is aborted, and one more."""

    def phase(expected: str) -> None:
        found = objects.service(name).get("status", {})
        current = found.get("observedGeneration") == objects.service(name)["metadata"]["generation"]
        assert (current, found.get("rollout", {}).get("phase")) == (True, expected), found.get("rollout")

    def step(expected: str, tag: str, rollout: Manifest, deadline: int = 600) -> None:
        objects.edit(name, predictor=image(tag), rollout={**rollout, "progressDeadlineSeconds": deadline})
        eventually(lambda: phase(expected), within=PATIENCE)

    rollout = {field: value for field, value in straight.items() if value is not None}
    objects.serve(name, rollout=rollout, minReplicas=2, networking=networking)
    eventually(lambda: phase("Stable"), within=PATIENCE)
    step("Stable", "2", straight)
    step("RolledBack", "crash-loop", straight, deadline=2)
    step("Waiting", "3", waiting)
    objects.annotate(name, action="abort:once")
    eventually(lambda: phase("RolledBack"), within=PATIENCE)
    step("Stable", "4", straight)


async def test_fifty_kills_change_nothing_about_the_outcome(
    own_installation: Installation, own_objects: Objects
) -> None:
    operators = Operators(own_installation)
    untouched = await live_through(operators, lambda: scenario(own_objects, ["calm"]), lasting)
    expected = outcome(own_objects, "calm")
    assert untouched == 0

    seed, kills, number = random.SystemRandom().randint(0, 2**32), 0, 0
    print(f"seed {seed}")
    chance = random.Random(seed)
    while kills < KILLS:
        names = [f"killed-{number + offset}" for offset in range(AT_ONCE)]
        number += AT_ONCE
        kills += await live_through(operators, partial(scenario, own_objects, names), partial(by_chance, chance))
        for name in names:
            assert outcome(own_objects, name) == expected
    print(f"{kills} kills, {number} services")


@pytest.mark.parametrize(
    ("straight", "waiting", "networking"),
    [
        pytest.param(BLUE_GREEN, AT_A_GATE, {}, id="BlueGreen"),
        pytest.param(CANARY, AT_A_STEP, {}, id="Canary"),
        pytest.param(CANARY, AT_A_STEP, A_GATEWAY, id="Canary behind a gateway"),
        pytest.param({**BLUE_GREEN, "abTest": None}, COMPARED, A_GATEWAY, id="an A/B test"),
    ],
)
async def test_a_kill_after_every_single_write_of_a_rollout_changes_nothing_about_its_end(
    own_installation: Installation, own_objects: Objects, straight: Manifest, waiting: Manifest, networking: Manifest
) -> None:
    operators = Operators(own_installation)
    rollouts = partial(two_slots, own_objects, straight=straight, waiting=waiting, networking=networking)
    gateway = Gateway(own_objects).start()
    try:
        assert await live_through(operators, partial(rollouts, "calm"), lasting) == 0
        kills = await live_through(operators, partial(rollouts, "killed"), after_every_write)
    finally:
        gateway.stop()
    print(f"{kills} kills")
    assert kills > 30
    assert outcome(own_objects, "killed") == outcome(own_objects, "calm")
    assert gateway.led_nowhere == []


@pytest.fixture
def mortal(own_installation: Installation, tmp_path: Path) -> Operator:
    # One name for all lives: the next one need not wait for the lease of the one before.
    return Operator(own_installation, tmp_path, {"PENSTOCK_LEASE_IDENTITY": "phoenix"})


def test_a_real_process_that_is_killed_in_every_step_is_carried_on(
    own_objects: Objects, own_installation: Installation, mortal: Operator, audit: Audit, name: str
) -> None:
    def writes() -> int:
        return sum(r.is_write and r.resource != "leases" for r in audit.requests(own_installation.user))

    def killed(act: Callable[[], object]) -> None:
        """Kill it as soon as it has begun to react, and start it again."""
        mortal.start().wait_until_leading()
        before = writes()
        act()
        eventually(lambda: assert_more(writes(), before))
        mortal.kill()

    killed(lambda: own_objects.serve(name, minReplicas=2, maxReplicas=4, rollout={"progressDeadlineSeconds": 600}))
    killed(lambda: own_objects.edit(name, predictor=image("2")))
    killed(lambda: own_objects.edit(name, predictor=image("crash-loop"), rollout={"progressDeadlineSeconds": 2}))
    killed(lambda: own_objects.edit(name, predictor=image("3"), rollout={"progressDeadlineSeconds": 600}))
    mortal.start().wait_until_leading()
    eventually(lambda: stable(own_objects, name, "3", 2))
    mortal.end()


def assert_more(count: int, before: int) -> None:
    assert count > before
