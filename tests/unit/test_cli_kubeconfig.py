"""How a command finds the cluster and its credentials: from files, from plugins or from a pod's ServiceAccount."""

import asyncio
import base64
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes.aio import client, config
from penstock.cli import kubeconfig
from penstock.cli.kubeconfig import Access, Unusable

SERVER = "https://10.0.0.1:6443"
PLUGIN = {"apiVersion": "client.authentication.k8s.io/v1", "command": "./plugin", "interactiveMode": "Never"}


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def content(
    user: dict[str, Any] | None = None, cluster: dict[str, Any] | None = None, **context: str
) -> dict[str, Any]:
    chosen = {"cluster": "c", **({} if user is None else {"user": "u"}), **context}
    return {
        "current-context": "x",
        "contexts": [{"name": "x", "context": chosen}],
        "clusters": [{"name": "c", "cluster": {"server": SERVER, **(cluster or {})}}],
        "users": [] if user is None else [{"name": "u", "user": user}],
    }


def written(folder: Path, found: dict[str, Any], name: str = "config") -> str:
    path = folder / name
    path.write_text(yaml.safe_dump(found))
    return str(path)


def loaded(folder: Path, user: dict[str, Any] | None = None, cluster: dict[str, Any] | None = None) -> Access:
    return kubeconfig.load(written(folder, content(user, cluster)), None)


def plugin(folder: Path, program: str) -> None:
    """A credential plugin beside the kubeconfig, written in Python."""
    path = folder / "plugin"
    path.write_text(f"#!{sys.executable}\n{program}")
    path.chmod(0o755)


def printed(status: dict[str, Any], version: str = PLUGIN["apiVersion"]) -> str:
    """A program that prints an ExecCredential."""
    return f"print({json.dumps({'apiVersion': version, 'kind': 'ExecCredential', 'status': status})!r})"


@pytest.mark.parametrize(
    ("user", "header"),
    [
        ({"token": "t0"}, "Bearer t0"),
        ({"tokenFile": "token"}, "Bearer t1"),
        ({"token": "t0", "tokenFile": "token"}, "Bearer t1"),
        ({"username": "ann", "password": "pw"}, f"Basic {encoded('ann:pw')}"),
        ({}, None),
        (None, None),
    ],
    ids=["a token", "a file with one", "the file comes first", "a password", "nothing", "no user"],
)
def test_what_the_user_shows(tmp_path: Path, user: dict[str, Any] | None, header: str | None) -> None:
    (tmp_path / "token").write_text("t1\n")
    assert loaded(tmp_path, user).headers.get("Authorization") == header


@pytest.mark.parametrize("is_inline", [True, False], ids=["inline", "in files"])
def test_certificates_stand_inline_or_in_files_beside_the_kubeconfig(tmp_path: Path, is_inline: bool) -> None:
    for name in ("ca", "cert", "key"):
        (tmp_path / name).write_text(name.upper())
    names = {"certificate-authority": "ca", "client-certificate": "cert", "client-key": "key"}
    entries = {f"{key}-data": encoded(name.upper()) for key, name in names.items()} if is_inline else names
    authority = {key: value for key, value in entries.items() if key.startswith("certificate-authority")}
    user = {key: value for key, value in entries.items() if key not in authority}
    found = loaded(tmp_path, user, authority)
    assert (found.authority, found.certificate, found.key) == (b"CA", b"CERT", b"KEY")


def test_what_else_a_cluster_may_ask_for(tmp_path: Path) -> None:
    cluster = {"insecure-skip-tls-verify": True, "tls-server-name": "kubernetes", "proxy-url": "http://proxy:3128"}
    found = loaded(tmp_path, None, cluster)
    assert (found.is_verified, found.server_name, found.proxy) == (False, "kubernetes", "http://proxy:3128")


def test_of_several_files_the_first_that_says_it_is_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    second = tmp_path / "second"
    second.mkdir()
    (second / "token").write_text("of the second")
    paths = [
        written(tmp_path, {"clusters": [{"name": "c", "cluster": {"server": "https://first"}}]}, "first"),
        written(second, content({"tokenFile": "token"}, namespace="ml")),
        written(tmp_path, {**content(), "current-context": "nowhere"}, "third"),
    ]
    monkeypatch.setenv("KUBECONFIG", os.pathsep.join([str(tmp_path / "absent"), *paths]))
    found = kubeconfig.load(None, None)
    assert (found.server, found.namespace) == ("https://first", "ml")
    assert found.headers == kubeconfig.bearer("of the second")


def test_the_official_client_reads_the_same(tmp_path: Path) -> None:
    user = {"token": "t0"}
    path = written(tmp_path, content(user, {"certificate-authority-data": encoded("CA"), "tls-server-name": "name"}))
    official, found = client.Configuration(), kubeconfig.load(path, None)
    # The client has no types.
    asyncio.run(config.load_kube_config(path, client_configuration=official))  # type: ignore[no-untyped-call]
    assert official.ssl_ca_cert is not None
    assert (official.host, official.tls_server_name) == (found.server, found.server_name)
    assert Path(official.ssl_ca_cert).read_bytes() == found.authority
    assert official.api_key["BearerToken"] == found.headers["Authorization"]


def test_a_plugin_prints_a_token(tmp_path: Path) -> None:
    words = printed({"token": "X+1"}).replace("X+1", "'+ os.environ['X'] + sys.argv[1] +'")
    plugin(tmp_path, f"import os, sys\n{words}")
    user = {"exec": {**PLUGIN, "args": ["2"], "env": [{"name": "X", "value": "t"}]}}
    assert loaded(tmp_path, user).headers == kubeconfig.bearer("t2")


def test_a_plugin_prints_a_certificate(tmp_path: Path) -> None:
    plugin(tmp_path, printed({"clientCertificateData": "CERT", "clientKeyData": "KEY"}))
    found = loaded(tmp_path, {"exec": PLUGIN})
    assert (found.certificate, found.key, found.headers) == (b"CERT", b"KEY", {})


@pytest.mark.parametrize("is_wanted", [True, False])
def test_a_plugin_is_told_of_the_cluster_if_it_wants_to(tmp_path: Path, is_wanted: bool) -> None:
    keep = "import os\nopen(os.environ['KEPT'], 'w').write(os.environ['KUBERNETES_EXEC_INFO'])"
    plugin(tmp_path, f"{keep}\n{printed({'token': 't'})}")
    environment = [{"name": "KEPT", "value": str(tmp_path / "kept")}]
    user = {"exec": {**PLUGIN, "env": environment, "provideClusterInfo": is_wanted}}
    loaded(tmp_path, user, {"certificate-authority-data": encoded("CA")})
    cluster = {"server": SERVER, "certificate-authority-data": encoded("CA")}
    assert json.loads((tmp_path / "kept").read_text()) == {
        "apiVersion": PLUGIN["apiVersion"],
        "kind": "ExecCredential",
        "spec": {"interactive": False, **({"cluster": cluster} if is_wanted else {})},
    }


@pytest.mark.parametrize(
    ("program", "complaint"),
    [
        ("raise SystemExit(3)", "its credential plugin ./plugin ended with 3"),
        ("print('hello')", "its credential plugin ./plugin printed no JSON"),
        (printed({}), "its credential plugin ./plugin printed no token and no certificate with its key"),
        (printed({"clientCertificateData": "CERT"}), "printed no token and no certificate with its key"),
        (printed({"token": "t"}, "v0"), "its credential plugin ./plugin answered in v0, not in client.authentication"),
    ],
)
def test_a_plugin_that_fails_is_named(tmp_path: Path, program: str, complaint: str) -> None:
    plugin(tmp_path, program)
    with pytest.raises(Unusable) as error:
        loaded(tmp_path, {"exec": PLUGIN})
    assert str(error.value).startswith(f"the kubeconfig at {tmp_path / 'config'} cannot be used: ")
    assert complaint in str(error.value)


def test_a_plugin_that_is_not_there_is_told_with_the_way_to_install_it(tmp_path: Path) -> None:
    user = {"exec": {**PLUGIN, "command": "no-such-plugin", "installHint": "Install it\nwith care."}}
    with pytest.raises(Unusable, match=r"no-such-plugin is not installed: Install it with care\."):
        loaded(tmp_path, user)


def test_an_auth_provider_is_left_to_the_official_client(tmp_path: Path) -> None:
    claims = base64.urlsafe_b64encode(json.dumps({"exp": int(time.time()) + 3600}).encode()).decode().rstrip("=")
    provider = {"name": "oidc", "config": {"id-token": f"e30.{claims}.c2ln"}}
    found = loaded(tmp_path, {"auth-provider": provider})
    assert found.headers == {"Authorization": f"Bearer e30.{claims}.c2ln"}


@pytest.mark.parametrize(
    ("found", "complaint"),
    [
        ({**content(), "current-context": ""}, "it has no current-context"),
        ({**content(), "contexts": None}, "it has no context x"),
        ({**content(), "clusters": []}, "it has no cluster c"),
        ({**content({}), "users": []}, "it has no user u"),
        (content({"as": "ann"}), "it asks to act as ann, which penstock cannot"),
        (content({"tokenFile": "absent"}), "No such file"),
        (content(None, {"certificate-authority-data": "%"}), "base64"),
        ({**content(), "clusters": [{"name": "c", "cluster": {}}]}, "it has no server"),
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, found: dict[str, Any], complaint: str) -> None:
    path = written(tmp_path, found)
    with pytest.raises(Unusable) as error:
        kubeconfig.load(path, None)
    assert str(error.value).startswith(f"the kubeconfig at {path} cannot be used: ")
    assert complaint in str(error.value)


def test_in_a_pod_it_is_the_service_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token").write_text("t\n")
    (tmp_path / "ca.crt").write_text("CA")
    monkeypatch.setattr(kubeconfig, "_ACCOUNT", tmp_path)
    environ = {"KUBECONFIG": "/absent", "KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"}
    found = kubeconfig.load(None, None, environ)
    assert found == Access("https://[fd00::1]:443", authority=b"CA", headers=kubeconfig.bearer("t"))


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("/absent", None), "there is no kubeconfig at /absent"),
        ((None, "other"), "there is no kubeconfig at /nowhere"),
        ((None, None), "there is no kubeconfig at /nowhere, and this is no pod"),
    ],
)
def test_without_a_kubeconfig(words: tuple[str | None, str | None], complaint: str) -> None:
    with pytest.raises(Unusable) as error:
        kubeconfig.load(*words, {"KUBECONFIG": "/nowhere"})
    assert str(error.value) == complaint


@pytest.mark.parametrize("word", ["false", "true", 1])
def test_only_true_or_false_says_whether_a_server_is_verified(tmp_path: Path, word: object) -> None:
    with pytest.raises(Unusable, match="insecure-skip-tls-verify must be true or false"):
        loaded(tmp_path, cluster={"insecure-skip-tls-verify": word})


@pytest.mark.parametrize("token", ["SECRET\nSECRET", "SECRÉT"])
def test_a_token_that_cannot_be_sent_is_not_shown(tmp_path: Path, token: str) -> None:
    with pytest.raises(Unusable, match="its token is not one line of ASCII") as raised:
        loaded(tmp_path, {"token": token})
    assert "SECR" not in str(raised.value)


def test_a_namespace_that_looks_like_a_number_is_a_name(tmp_path: Path) -> None:
    found = content()
    found["contexts"][0]["context"]["namespace"] = 5
    assert kubeconfig.load(written(tmp_path, found), None).namespace == "5"
