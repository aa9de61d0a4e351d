"""Every way to be broken has its own reason, in the words of whoever knows best."""

import contextlib
import urllib.request
from collections.abc import Callable

import pytest

from tests.e2e import sharing, specs
from tests.e2e.service import Isvc, eventually
from tests.harness.release import Penstock


@sharing.models
def test_a_bucket_prefix_without_a_model_is_a_failed_download(
    service: Callable[[str], Isvc], model_secret: str
) -> None:
    wrong = service("nowhere")
    wrong.apply(specs.model("s3://models/no-such-model", model_secret))
    eventually(lambda: "ModelDownloadFailed" in wrong.blockers(), wrong, within=90)
    assert "no-such-model" in wrong.blockers()["ModelDownloadFailed"]
    assert wrong.condition("Ready") == ("False", "ModelDownloadFailed")
    failure = wrong.status()["modelStatus"]["lastFailureInfo"]
    assert failure["reason"] == "ModelDownloadFailed"
    assert failure["exitCode"] != 0


@sharing.models
def test_a_wrong_secret_key_is_a_failed_download_and_is_not_told(
    service: Callable[[str], Isvc], bucket: dict[str, str]
) -> None:
    wrong = service("locked")
    given = {**bucket, "AWS_SECRET_ACCESS_KEY": "not-the-key"}
    wrong.kubectl(
        "create", "secret", "generic", "wrong", *(f"--from-literal={name}={value}" for name, value in given.items())
    )
    wrong.apply(specs.model("s3://models/sentiment", "wrong"))
    eventually(lambda: "ModelDownloadFailed" in wrong.blockers(), wrong, within=90)
    assert "not-the-key" not in wrong.told()


def test_a_secret_that_does_not_exist_is_named(service: Callable[[str], Isvc]) -> None:
    wrong = service("keyless")
    wrong.apply(specs.model("s3://models/sentiment", "no-such-secret"))
    eventually(lambda: "ContainerConfigError" in wrong.blockers(), wrong, within=30)
    assert "no-such-secret" in wrong.blockers()["ContainerConfigError"]


@sharing.models
def test_a_memory_limit_that_is_too_low_is_an_oom_kill(service: Callable[[str], Isvc], model_secret: str) -> None:
    small = service("small")
    small.apply(specs.model("s3://models/smollm2-135m-instruct", model_secret, memory="300Mi"))
    eventually(lambda: "OOMKilled" in small.blockers(), small, within=120)
    assert "resources.limits.memory" in small.blockers()["OOMKilled"]
    assert small.condition("Ready") == ("False", "OOMKilled")


@pytest.mark.parametrize("image", ["127.0.0.1:5000/no-such-image:1", "not an image"], ids=["missing", "malformed"])
def test_an_image_that_cannot_be_pulled_is_named(service: Callable[[str], Isvc], image: str) -> None:
    wrong = service("imageless")
    wrong.apply(specs.own_server(image))
    eventually(lambda: "ImagePullFailed" in wrong.blockers(), wrong, within=30)
    assert image in wrong.blockers()["ImagePullFailed"]


def test_a_claim_that_does_not_exist_is_named(service: Callable[[str], Isvc], penstock: Penstock) -> None:
    del penstock
    wrong = service("claimless")
    spec = specs.model("pvc://no-such-claim/model", "unused")
    del spec["predictor"]["model"]["storage"]
    wrong.apply(spec)
    eventually(lambda: "Unschedulable" in wrong.blockers(), wrong, within=30)
    assert "no-such-claim" in wrong.blockers()["Unschedulable"]


def test_ready_turns_false_within_seconds_of_a_crash(service: Callable[[str], Isvc], penstock: Penstock) -> None:
    web = service("falling")
    web.apply(specs.own_server(penstock.operator_image))
    eventually(web.is_ready, web, within=60)
    with contextlib.suppress(OSError):  # It answers by going down.
        urllib.request.urlopen(f"{web.url()}/crash", timeout=5)
    eventually(lambda: not web.is_ready(), web, within=5)
    eventually(lambda: web.condition("Ready") == ("False", "CrashLooping"), web, within=20)
