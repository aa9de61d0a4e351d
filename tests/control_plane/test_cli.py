"""The commands beside kubectl, against a real API server. No operator runs: the tests say what it would have said."""

import argparse
import json
import os
import pty
import secrets
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from aiohttp import web
from penstock.cli import main
from penstock.kinds import INFERENCE_SERVICE, VERTICAL_AUTOSCALER

from tests.control_plane.fault_proxy import FaultProxy
from tests.control_plane.objects import MODEL, TOLERATION, Manifest, Objects
from tests.control_plane.operator_process import Installation
from tests.control_plane.waiting import eventually
from tests.harness import ports
from tests.harness.cluster import Cluster

ACTION = "penstock.dev/action"
SERVICE_LABEL = "serving.penstock.dev/inferenceservice"
TIME = "2026-01-01T12:00:00Z"
PENSTOCK = [sys.executable, "-m", "penstock.cli.main"]


@dataclass(frozen=True)
class Said:
    """What a command left behind."""

    status: int
    out: str
    error: str

    @property
    def data(self) -> Any:
        return json.loads(self.out)


class Cli:
    """The commands in this process, for the services of one namespace."""

    def __init__(self, capsys: pytest.CaptureFixture[str], kubeconfig: Path, namespace: str) -> None:
        self._capsys = capsys
        self._where = [f"--kubeconfig={kubeconfig}", f"--namespace={namespace}"]

    def __call__(self, *arguments: str) -> Said:
        self._capsys.readouterr()
        try:
            status = main.main([*arguments, *self._where])
        except SystemExit as end:
            status = int(end.code or 0)
        said = self._capsys.readouterr()
        return Said(status, said.out, said.err)

    @contextmanager
    def beside(self, *arguments: str, **rest: Any) -> "Iterator[subprocess.Popen[str]]":
        """The same as a process, beside which a test can do something."""
        command = [*PENSTOCK, *arguments, *self._where]
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, text=True, **rest) as process:
            yield process
            process.kill()


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], control_plane: Cluster, installation: Installation) -> Cli:
    return Cli(capsys, control_plane.kubeconfig, installation.namespace)


@pytest.fixture
def admin(control_plane: Cluster, installation: Installation) -> Iterator[Installation]:
    """One who may do everything: the API server tells others only that they may not."""
    user = f"{installation.namespace}:{installation.release}"
    name = f"{installation.release}-admin"
    control_plane.kubectl(
        "create", "clusterrolebinding", name, "--clusterrole=cluster-admin", f"--serviceaccount={user}"
    )
    yield installation
    control_plane.kubectl("delete", "clusterrolebinding", name)


@pytest.fixture
def proxy(control_plane: Cluster) -> Iterator[FaultProxy]:
    found = FaultProxy(control_plane)
    found.start()
    yield found
    found.stop()


def report(objects: Objects, name: str, **rollout: Any) -> Manifest:
    """The status that an operator would write."""
    found = objects.service(name)
    ready = {
        "type": "Ready",
        "status": "True",
        "reason": "Ready",
        "message": "the model answers",
        "lastTransitionTime": TIME,
    }
    generation = found["metadata"]["generation"]
    status = {"observedGeneration": generation, "phase": "Ready", "conditions": [ready], "rollout": rollout}
    return objects.patch(INFERENCE_SERVICE, name, {"status": status}, subresource="status")


def answer(objects: Objects, name: str, result: str, message: str) -> None:
    """What an operator says to the action that is asked for."""

    def asked() -> str:
        return str(objects.service(name)["metadata"]["annotations"][ACTION])

    verb, _, action_id = eventually(asked).partition(":")
    report(
        objects, name, phase="Stable", lastAction={"verb": verb, "id": action_id, "result": result, "message": message}
    )


def slot(objects: Objects, name: str, slot: str, revision: str) -> None:
    """The Deployment of a slot, whose pod becomes ready on a fake node."""
    selector = {SERVICE_LABEL: name, "serving.penstock.dev/slot": slot}
    labels = {**selector, "serving.penstock.dev/revision": revision}
    spec = {"containers": [{"name": "model", "image": MODEL["image"]}], "tolerations": [TOLERATION]}
    objects.create(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": f"{name}-{slot}", "labels": labels},
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": selector},
                "template": {"metadata": {"labels": labels}, "spec": spec},
            },
        }
    )


def store(objects: Objects, name: str, revision: str, number: int, image: str) -> None:
    """The ControllerRevision of a revision."""
    container = {"name": "model", "image": image, "args": ["--model=s3://models/smollm2"]}
    objects.create(
        {
            "apiVersion": "apps/v1",
            "kind": "ControllerRevision",
            "metadata": {"name": f"{name}-{revision}", "labels": {SERVICE_LABEL: name}},
            "revision": number,
            "data": {"template": {"metadata": {"labels": {}}, "spec": {"containers": [container]}}},
        }
    )


def test_status_shows_the_rollout_and_the_pods_of_its_slots(cli: Cli, objects: Objects, name: str) -> None:
    objects.serve(name)
    slot(objects, name, "blue", "aaa")
    rollout = {"phase": "Stable", "activeSlot": "blue", "stableRevision": "aaa", "currentRevision": "aaa"}
    report(objects, name, **rollout, message="revision aaa serves")

    def assert_shown() -> None:
        said = cli("status", name)
        assert said.status == 0
        lines = said.out.splitlines()
        assert lines[0] == f"{objects.namespace}/{name}  Ready"
        assert [line.split() for line in lines if line.startswith(("Rollout", "Revisions", "Slots"))] == [
            ["Rollout", "Stable"],
            ["Revisions", "stable", "aaa,", "wanted", "aaa"],
            ["Slots", "blue", "active", "aaa", "1/1", "ready"],
        ]
        assert "\x1b" not in said.out

    eventually(assert_shown)
    shown = cli("status", name, "-o", "json").data
    assert shown["slots"] == {"blue": {"role": "active", "revision": "aaa", "ready": 1, "wanted": 1}}
    assert shown["status"]["rollout"] == {**rollout, "message": "revision aaa serves"}


def test_a_watch_tells_each_change_and_ends_with_the_rollout(cli: Cli, objects: Objects, name: str) -> None:
    objects.serve(name)
    report(objects, name, phase="Preparing", strategy="BlueGreen", message="0 of 2 pods are available")
    with cli.beside("status", name, "--watch", stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline().rstrip().endswith("Z  Preparing  0 of 2 pods are available")
        report(objects, name, phase="Testing", message="2 pods still have to pass")
        assert process.stdout.readline().rstrip().endswith("Z  Testing  2 pods still have to pass")
        report(objects, name, phase="Stable", message="revision bbb serves")
        assert process.stdout.readline().rstrip().endswith("Z  Stable  revision bbb serves")
        assert process.wait(timeout=20) == 0


def test_a_watch_of_what_was_rolled_back_ends_with_one(cli: Cli, objects: Objects, name: str) -> None:
    objects.serve(name)
    report(objects, name, phase="RolledBack", message="revision bbb failed its smoke test")
    said = cli("status", name, "--watch", "-o", "json")
    assert (said.status, said.data["status"]["rollout"]["phase"]) == (1, "RolledBack")


@pytest.mark.parametrize(
    ("environment", "is_coloured"), [({"NO_COLOR": ""}, True), ({"NO_COLOR": "1"}, False)], ids=["coloured", "plain"]
)
def test_a_terminal_is_drawn_anew(
    cli: Cli, objects: Objects, name: str, environment: dict[str, str], is_coloured: bool
) -> None:
    objects.serve(name)
    report(objects, name, phase="Stable")
    shown = on_a_terminal(cli, ["status", name, "--watch"], environment)
    assert shown.startswith(f"\x1b[H\x1b[J{objects.namespace}/{name}")
    assert ("\x1b[32mReady\x1b[0m" in shown) is is_coloured


def on_a_terminal(cli: Cli, arguments: Sequence[str], environment: dict[str, str]) -> str:
    """What a command that ends by itself writes to its terminal."""
    ours, theirs = pty.openpty()
    shown = b""
    with cli.beside(*arguments, stdout=theirs, env={**os.environ, **environment}):
        os.close(theirs)
        # Linux tells the end of a terminal by an error.
        with suppress(OSError):
            while chunk := os.read(ours, 4096):
                shown += chunk
    os.close(ours)
    return shown.decode()


def test_history_lists_what_is_stored_and_diff_compares_it(cli: Cli, objects: Objects, name: str) -> None:
    objects.serve(name)
    store(objects, name, "bbb", 2, "example/server:2")
    store(objects, name, "aaa", 1, "example/server:1")
    report(objects, name, phase="Stable", stableRevision="bbb", currentRevision="bbb")

    said = cli("history", name)
    rows = [line.split() for line in said.out.splitlines()]
    assert rows[0] == ["NUMBER", "REVISION", "AGE", "IS", "IMAGE", "MODEL"]
    assert [row[:2] + row[3:] for row in rows[1:]] == [
        ["1", "aaa", "-", "example/server:1", "s3://models/smollm2"],
        ["2", "bbb", "stable,", "wanted", "example/server:2", "s3://models/smollm2"],
    ]
    assert [entry["revision"] for entry in cli("history", name, "-o", "json").data] == ["aaa", "bbb"]

    changed = [line for line in cli("diff", name, "aaa", "bbb").out.splitlines() if line[0] in "+-"]
    assert changed == [
        "--- revision aaa (1)",
        "+++ revision bbb (2)",
        "-    image: example/server:1",
        "+    image: example/server:2",
    ]
    assert cli("diff", name, "aaa", "aaa").out == "the two templates are the same\n"
    assert set(cli("diff", name, "aaa", "bbb", "-o", "json").data) == {"aaa", "bbb"}


def test_diff_names_the_revisions_that_there_are(cli: Cli, objects: Objects, name: str) -> None:
    objects.serve(name)
    assert cli("diff", name, "aaa", "bbb").error == f"error: {name} has no revision aaa; it has none yet\n"
    store(objects, name, "aaa", 1, "example/server:1")
    said = cli("diff", name, "aaa", "bbb")
    assert (said.status, said.error) == (1, f"error: {name} has no revision bbb; it has aaa\n")


def test_a_service_without_revisions_has_no_history_yet(cli: Cli, objects: Objects, name: str) -> None:
    objects.serve(name)
    assert cli("history", name).out == "no revision is stored yet\n"


def test_explain_says_what_is_in_the_way_and_what_to_do(cli: Cli, objects: Objects, name: str) -> None:
    objects.serve(name)
    report(objects, name, phase="RolledBack", failedRevision="bbb", stableRevision="aaa", message="bbb was given up")
    said = cli("explain", name)
    assert said.status == 0
    verdict, what, way_out = said.out.splitlines()
    assert verdict.startswith(f"{objects.namespace}/{name} is Ready, for ")
    assert what == "- the rollout is RolledBack: bbb was given up"
    assert f"`penstock retry {name} -n {objects.namespace}` tries revision bbb again" in way_out
    assert set(cli("explain", name, "-o", "json").data) == {"verdict", "findings"}


def test_explain_has_what_a_vertical_autoscaler_recommends(cli: Cli, objects: Objects, name: str) -> None:
    objects.serve(name, autoscaling={"vertical": {"mode": "Off"}}, model={"resources": {"requests": {"cpu": "2"}}})
    report(objects, name, phase="Stable")
    assert "vertical" not in cli("explain", name).out
    recommended = {"containerName": "model", "target": {"cpu": "900m", "memory": "3Gi"}}
    objects.create(
        {
            "apiVersion": VERTICAL_AUTOSCALER.api_version,
            "kind": VERTICAL_AUTOSCALER.name,
            "metadata": {"name": name, "namespace": objects.namespace},
            "spec": {"targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}},
        }
    )
    status = {"status": {"recommendation": {"containerRecommendations": [recommended]}}}
    objects.patch(VERTICAL_AUTOSCALER, name, status, subresource="status")
    said = "recommends cpu 900m, memory 3Gi for container model, which requests cpu 2 (mode Off: changes nothing)"
    assert f"- vertical autoscaler: {said}" in cli("explain", name).out


def test_restart_asks_for_a_new_revision_of_the_same_spec(cli: Cli, objects: Objects, name: str) -> None:
    before = objects.serve(name)
    said = cli("restart", name)
    after = objects.service(name)
    assert said.status == 0
    assert after["metadata"]["annotations"]["penstock.dev/restarted-at"].endswith("Z")
    assert after["spec"] == before["spec"]


@pytest.mark.parametrize(
    ("words", "verb"),
    [
        (["promote"], "promote"),
        (["promote", "--full"], "promote-full"),
        (["abort"], "abort"),
        (["retry"], "retry"),
        (["rollback"], "rollback"),
        (["rollback", "--to=aaa"], "rollback=aaa"),
        (["pause"], "pause"),
        (["resume"], "resume"),
    ],
    ids=" ".join,
)
def test_an_action_is_written_under_an_id_of_its_own(
    cli: Cli, objects: Objects, name: str, words: list[str], verb: str
) -> None:
    objects.serve(name)
    asked = []
    for _ in range(2):
        said = cli(*words, name, "--no-wait")
        assert said.status == 0
        asked.append(objects.service(name)["metadata"]["annotations"][ACTION].partition(":"))
    assert [word for word, _, _ in asked] == [verb, verb]
    assert asked[0] != asked[1]


@pytest.mark.parametrize(("result", "status"), [("Done", 0), ("Refused", 1)])
def test_an_answered_action_tells_the_answer(cli: Cli, objects: Objects, name: str, result: str, status: int) -> None:
    objects.serve(name)
    with cli.beside("abort", name, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        answer(objects, name, result, "so be it")
        told = process.communicate(timeout=20)
    assert process.returncode == status
    assert told == (("so be it\n", "") if result == "Done" else ("", "refused: so be it\n"))


def test_an_answer_is_data_for_programs(cli: Cli, objects: Objects, name: str) -> None:
    objects.serve(name)
    with cli.beside("promote", name, "--full", "--output=json", stdout=subprocess.PIPE) as process:
        answer(objects, name, "Done", "so be it")
        told, _ = process.communicate(timeout=20)
    found = json.loads(told)
    assert (found["verb"], found["result"], found["message"]) == ("promote-full", "Done", "so be it")


def test_an_action_that_nobody_answers_asks_for_the_operator(cli: Cli, objects: Objects, name: str) -> None:
    objects.serve(name)
    said = cli("pause", name, "--timeout=0.5")
    assert said.status == 1
    assert said.error.startswith("error: no operator answered within 0.5 s: is it running, and does it serve namespace")


def test_an_action_whose_place_another_takes_says_so(cli: Cli, objects: Objects, name: str) -> None:
    objects.serve(name)
    with cli.beside("pause", name, stderr=subprocess.PIPE) as process:
        eventually(lambda: objects.service(name)["metadata"]["annotations"][ACTION])
        objects.annotate(name, action="abort:by-another")
        _, error = process.communicate(timeout=20)
    assert process.returncode == 1
    assert error.startswith("error: abort:by-another was asked for before pause:")


COMMANDS = [
    ["status"],
    ["explain"],
    ["history"],
    ["diff", "aaa", "bbb"],
    ["restart"],
    ["promote"],
    ["abort"],
    ["retry"],
    ["rollback"],
    ["pause"],
    ["resume"],
]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_service_that_is_not_there_is_named(cli: Cli, words: list[str], installation: Installation) -> None:
    command, *revisions = words
    said = cli(command, "nobody", *revisions)
    expected = f"error: there is no InferenceService nobody in namespace {installation.namespace}\n"
    assert (said.status, said.out, said.error) == (1, "", expected)


def test_without_the_right_the_api_servers_words_are_told(
    capsys: pytest.CaptureFixture[str], installation: Installation, objects: Objects, name: str
) -> None:
    """The operator itself may read services, and must not write their annotations."""
    objects.serve(name)
    cli = Cli(capsys, installation.kubeconfig, installation.namespace)
    assert cli("status", name).status == 0
    said = cli("abort", name)
    assert said.status == 1
    assert said.error.startswith("error: no right to do this: inferenceservices.serving.penstock.dev")
    assert "cannot patch resource" in said.error
    assert len(said.error.splitlines()) == 1


def test_credentials_that_are_not_accepted_are_told(
    capsys: pytest.CaptureFixture[str], installation: Installation, tmp_path: Path
) -> None:
    config = yaml.safe_load(installation.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": "out-of-date"}
    said = Cli(capsys, kubeconfig(tmp_path, config), installation.namespace)("status", "chat")
    assert said.status == 1
    assert said.error == "error: the cluster does not accept the kubeconfig's credentials (401 Unauthorized)\n"


def test_a_cluster_that_does_not_answer_is_named(
    capsys: pytest.CaptureFixture[str], control_plane: Cluster, tmp_path: Path
) -> None:
    url = f"https://127.0.0.1:{ports.free(1)[0]}"
    config = yaml.safe_load(control_plane.kubeconfig.read_text())
    config["clusters"][0]["cluster"]["server"] = url
    said = Cli(capsys, kubeconfig(tmp_path, config), "default")("status", "chat")
    assert said.status == 1
    assert said.error.startswith(f"error: the cluster at {url} does not answer: ")
    assert len(said.error.splitlines()) == 1


def test_a_cluster_without_the_crd_is_told_apart_from_one_without_the_service(
    capsys: pytest.CaptureFixture[str], admin: Installation, proxy: FaultProxy
) -> None:
    async def as_if_not_installed(request: web.Request) -> web.StreamResponse | None:
        """The API server's own answer for a kind that it does not have."""
        path = request.raw_path.replace("serving.penstock.dev", "not-installed.penstock.dev")
        if path == request.raw_path:
            return None
        headers = {"Authorization": request.headers["Authorization"]}
        async with aiohttp.ClientSession() as session, session.get(f"{proxy.url}{path}", headers=headers) as found:
            return web.Response(status=found.status, body=await found.read(), content_type=found.content_type)

    proxy.put(as_if_not_installed)
    cli = Cli(capsys, admin.through(proxy.url).kubeconfig, admin.namespace)
    for command in ("status", "abort"):
        said = cli(command, "chat")
        assert said.status == 1
        assert said.error == "error: this cluster has no InferenceServices: install the CRD (helm chart, or crds/)\n"


def kubeconfig(folder: Path, config: Manifest) -> Path:
    path = folder / f"kubeconfig-{secrets.token_hex(3)}"
    path.write_text(yaml.safe_dump(config))
    return path


def test_the_namespace_is_that_of_the_context_unless_named(
    capsys: pytest.CaptureFixture[str], control_plane: Cluster, objects: Objects, name: str, tmp_path: Path
) -> None:
    objects.serve(name)
    config = yaml.safe_load(control_plane.kubeconfig.read_text())
    (admin,) = config["contexts"]
    here = {"name": "here", "context": {**admin["context"], "namespace": objects.namespace}}
    path = kubeconfig(tmp_path, {**config, "contexts": [admin, here]})

    assert main.main(["status", name, f"--kubeconfig={path}", "--context=here"]) == 0
    assert main.main(["status", name, f"--kubeconfig={path}", f"-n={objects.namespace}"]) == 0
    capsys.readouterr()
    assert main.main(["status", name, f"--kubeconfig={path}"]) == 1
    assert capsys.readouterr().err == f"error: there is no InferenceService {name} in namespace default\n"


@pytest.mark.parametrize("content", [None, "words", "a: [", "{}"], ids=["none", "no map", "no YAML", "empty"])
def test_a_kubeconfig_that_cannot_be_used_is_told_in_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, content: str | None
) -> None:
    path = tmp_path / "config"
    if content is not None:
        path.write_text(content)
    assert main.main(["status", "chat", f"--kubeconfig={path}"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert str(path) in line


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["dance", "chat"],
        ["status"],
        ["diff", "chat", "aaa"],
        ["rollback", "chat", "--to=a:b"],
        ["abort", "chat", "--timeout=0"],
        ["abort", "chat", "--timeout=soon"],
        ["status", "chat", "-o", "yaml"],
    ],
    ids=" ".join,
)
def test_a_wrong_call_ends_with_two(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main.main(words)
    assert end.value.code == 2
    assert "usage: penstock" in capsys.readouterr().err


def commands() -> dict[str, argparse.ArgumentParser]:
    (found,) = (each for each in main._parser("run")._actions if isinstance(each, argparse._SubParsersAction))
    return dict(found.choices)


@pytest.mark.parametrize("command", commands())
def test_the_example_in_a_commands_help_can_be_given(command: str) -> None:
    title, example = commands()[command].format_help().rstrip().splitlines()[-2:]
    assert title == "example:"
    program, *words = example.split()
    assert program == "penstock"
    assert main._parser(command).parse_args(words).command == command


def test_every_command_is_tested_for_what_is_not_there() -> None:
    assert {words[0] for words in COMMANDS} == set(commands()) - {"run", "metrics-adapter", "router"}


def test_kubectl_finds_it_as_a_plugin(control_plane: Cluster) -> None:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    found = subprocess.run(
        [control_plane.kubectl_path, "penstock", "status", "--help"],
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.startswith("usage: kubectl penstock status")
    assert found.stdout.rstrip().endswith("kubectl penstock status chat -n ml --watch")
