"""Envoy for bench.router: one listener, one pod, nothing else switched on."""

import json
import re
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil


def version(program: Path) -> str:
    told = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"/(\d+\.\d+\.\d+)/", told)
    return found[1] if found else told.strip()


@contextmanager
def running(program: Path, port: int, pod_port: int) -> Iterator[psutil.Popen]:
    """With one worker, as the router has one thread."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as config:
        json.dump(_config(port, pod_port), config)
        config.flush()
        started = psutil.Popen([program, "-c", config.name, "--concurrency", "1", "--log-level", "error"])
        try:
            yield started
        finally:
            started.terminate()
            started.wait()


def _config(port: int, pod_port: int) -> dict[str, Any]:
    filters = "type.googleapis.com/envoy.extensions.filters"
    proxy = {
        "@type": f"{filters}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "bench",
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "pod", "timeout": "0s"}}],
                }
            ]
        },
        "http_filters": [
            {"name": "envoy.filters.http.router", "typed_config": {"@type": f"{filters}.http.router.v3.Router"}}
        ],
    }
    listener = {
        "address": _address(port),
        "filter_chains": [
            {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": proxy}]}
        ],
    }
    endpoint = {"endpoint": {"address": _address(pod_port)}}
    cluster = {
        "name": "pod",
        "type": "STATIC",
        "load_assignment": {"cluster_name": "pod", "endpoints": [{"lb_endpoints": [endpoint]}]},
    }
    return {"static_resources": {"listeners": [listener], "clusters": [cluster]}}


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}
