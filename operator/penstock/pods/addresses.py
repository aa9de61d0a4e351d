"""Where a service's pods are found."""

from collections.abc import Iterable

from penstock.kube.pod_access import Address
from penstock.observed.values import SeenPod


def addresses(namespace: str, pods: Iterable[SeenPod]) -> list[Address]:
    """Of those pods that have one already."""
    return [Address(namespace, pod.name, pod.ip) for pod in pods if pod.ip]
