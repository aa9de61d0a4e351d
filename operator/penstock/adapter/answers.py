"""The documents of custom.metrics.k8s.io, as its two versions spell them. Pure.

The types: https://github.com/kubernetes/metrics/tree/master/pkg/apis/custom_metrics.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from penstock import names
from penstock.adapter.window import Reading
from penstock.pod_metrics import METRICS

GROUP: Final = "custom.metrics.k8s.io"
VERSIONS: Final = ("v1beta2", "v1beta1")
PODS: Final = "pods"
SERVICES: Final = f"{names.PLURAL}.{names.GROUP}"

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Value:
    """A metric of one object."""

    kind: str
    api_version: str
    namespace: str
    name: str
    reading: Reading


def resource_list(version: str) -> Document:
    """What discovery answers for one version."""
    resources = [
        {
            "name": f"{resource}/{metric}",
            "singularName": "",
            "namespaced": True,
            "kind": "MetricValueList",
            "verbs": ["get"],
        }
        for resource in (PODS, SERVICES)
        for metric in METRICS
    ]
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": f"{GROUP}/{version}", "resources": resources}


def open_api(version: str) -> Document:
    """No types of our own: the API server asks for them all the same, and would log each time that there are none."""
    if version == "v3":
        return {"paths": {}}
    return {"swagger": "2.0", "info": {"title": GROUP, "version": VERSIONS[0]}, "paths": {}}


def metric_values(version: str, metric: str, values: Iterable[Value], at: datetime) -> Document:
    items = [_item(version, metric, value, at) for value in values]
    return {"kind": "MetricValueList", "apiVersion": f"{GROUP}/{version}", "metadata": {}, "items": items}


def status(code: int, reason: str, message: str) -> Document:
    """A failure as the API server's own clients expect it."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": code,
    }


def quantity(value: float) -> str:
    """In thousandths, as an integer: what every reader of quantities takes."""
    return f"{round(value * 1000)}m"


def _item(version: str, metric: str, value: Value, at: datetime) -> Document:
    described = {
        "kind": value.kind,
        "apiVersion": value.api_version,
        "namespace": value.namespace,
        "name": value.name,
    }
    seconds = round(value.reading.seconds)
    common = {"describedObject": described, "timestamp": at.strftime("%Y-%m-%dT%H:%M:%SZ")}
    if version == "v1beta1":
        return {**common, "metricName": metric, "window": seconds, "value": quantity(value.reading.value)}
    return {
        **common,
        "metric": {"name": metric, "selector": None},
        "windowSeconds": seconds,
        "value": quantity(value.reading.value),
    }
