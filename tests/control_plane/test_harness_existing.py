"""The harness with a cluster that somebody else runs: here the one that this tier runs on."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.harness import cluster as clusters
from tests.harness import tools
from tests.harness.cluster import CannotRunHere, Cluster, HarnessError


@pytest.fixture(autouse=True)
def own_cache(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Another machine, as far as the harness can tell, with the same programs."""
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "tools").symlink_to(tools.cache_dir() / "tools")
    monkeypatch.delenv("PENSTOCK_CLUSTER_COPY", raising=False)
    monkeypatch.setenv("PENSTOCK_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    yield
    clusters.down("control-plane")


def test_it_is_used_and_never_stopped(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig))
    found = clusters.up("control-plane", "existing")
    assert (found.provider, found.api_url) == ("existing", cluster.api_url)
    assert clusters.running("control-plane") == found
    clusters.down("control-plane")
    assert clusters.status()["control-plane"] == "not running"
    assert not found.kubeconfig.exists()
    assert cluster.kubectl("get", "--raw", "/readyz") == "ok"


def test_the_context_of_the_start_stays_whatever_is_chosen_later_and_wherever_we_stand(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """KUBECONFIG is a list here, of relative paths, and the certificates have relative paths too."""
    with_paths(yaml.safe_load(cluster.kubeconfig.read_text()), Path("ours"))
    cluster.kubectl("config", "set-cluster", "production", "--server=https://production", "--kubeconfig=theirs")
    cluster.kubectl("config", "set-context", "production", "--cluster=production", "--kubeconfig=theirs")
    monkeypatch.setenv("KUBECONFIG", "theirs:ours")
    found = clusters.up("control-plane", "existing")
    cluster.kubectl("config", "use-context", "production", "--kubeconfig=theirs")
    monkeypatch.chdir("/")
    assert found.kubectl("get", "--raw", "/readyz") == "ok"
    assert "production" not in found.kubeconfig.read_text()


@pytest.mark.parametrize("kubeconfig", ["nowhere", "empty"])
def test_a_kubeconfig_that_names_no_cluster_is_told_by_its_name(
    kubeconfig: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").touch()
    monkeypatch.setenv("KUBECONFIG", kubeconfig)
    with pytest.raises(HarnessError, match=kubeconfig):
        clusters.up("control-plane", "existing")


def test_without_the_variable_no_cluster_is_guessed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBECONFIG", raising=False)
    with pytest.raises(CannotRunHere, match="needs KUBECONFIG"):
        clusters.up("control-plane", "existing")


def with_paths(kubeconfig: dict[str, list[dict[str, dict[str, str]]]], target: Path) -> None:
    """Writes the kubeconfig with each certificate and key in a file beside it."""
    for entry in [each["cluster"] for each in kubeconfig["clusters"]] + [each["user"] for each in kubeconfig["users"]]:
        for name in [name for name in entry if name.endswith("-data")]:
            field = name.removesuffix("-data")
            target.with_name(field).write_bytes(base64.b64decode(entry.pop(name)))
            entry[field] = field
    target.write_text(json.dumps(kubeconfig))
