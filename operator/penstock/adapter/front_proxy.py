"""Who is asking: the API server's aggregation layer vouches for the user, by a client certificate and headers. Pure.

https://kubernetes.io/docs/tasks/extend-kubernetes/configure-aggregation-layer/: what it vouches with stands in the
ConfigMap kube-system/extension-apiserver-authentication, and changes when the cluster's certificates are rotated.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote

CONFIG_NAMESPACE: Final = "kube-system"
CONFIG_NAME: Final = "extension-apiserver-authentication"


class NotConfigured(Exception):
    """The cluster's API server has no aggregation layer, or its ConfigMap says nothing usable."""


@dataclass(frozen=True, slots=True)
class User:
    """Whom the front proxy vouches for."""

    name: str
    groups: tuple[str, ...] = ()
    extra: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def review(self, attributes: Mapping[str, str]) -> dict[str, Any]:
        """The spec of a SubjectAccessReview about these resource attributes."""
        return {
            "user": self.name,
            "groups": list(self.groups),
            "extra": {key: list(values) for key, values in self.extra},
            "resourceAttributes": dict(attributes),
        }


@dataclass(frozen=True, slots=True)
class FrontProxy:
    """How the aggregation layer identifies itself and the user; header names in lower case."""

    client_ca: str  # PEM
    allowed_names: frozenset[str]  # common names of its certificate; none: any that the authority has signed
    user_headers: tuple[str, ...]
    group_headers: tuple[str, ...]
    extra_prefixes: tuple[str, ...]

    @classmethod
    def of_config_map(cls, data: Mapping[str, str]) -> "FrontProxy":
        """Raises NotConfigured."""
        ca = data.get("requestheader-client-ca-file", "")
        if "BEGIN CERTIFICATE" not in ca or not ca.isascii():
            raise NotConfigured(
                f"the ConfigMap {CONFIG_NAMESPACE}/{CONFIG_NAME} names no requestheader-client-ca-file: start the API "
                "server with --requestheader-client-ca-file and --proxy-client-cert-file"
            )
        return cls(
            ca,
            frozenset(_names(data, "requestheader-allowed-names")),
            tuple(_lower(data, "requestheader-username-headers")) or ("x-remote-user",),
            tuple(_lower(data, "requestheader-group-headers")) or ("x-remote-group",),
            tuple(_lower(data, "requestheader-extra-headers-prefix")) or ("x-remote-extra-",),
        )

    def user(self, common_name: str | None, headers: Iterable[tuple[str, str]]) -> User | None:
        """The user of a request; None unless its certificate, verified already, is one of an allowed name.

        `common_name` is None without a client certificate.
        """
        if common_name is None or (self.allowed_names and common_name not in self.allowed_names):
            return None
        pairs = [(name.lower(), value) for name, value in headers]
        name = next((value for header in self.user_headers for key, value in pairs if key == header and value), None)
        if name is None:
            return None
        groups = tuple(value for key, value in pairs if key in self.group_headers)
        return User(name, groups, self._extra(pairs))

    def _extra(self, pairs: Iterable[tuple[str, str]]) -> tuple[tuple[str, tuple[str, ...]], ...]:
        found: dict[str, list[str]] = {}
        for key, value in pairs:
            for prefix in self.extra_prefixes:
                if key.startswith(prefix):
                    found.setdefault(unquote(key.removeprefix(prefix)), []).append(value)
        return tuple((key, tuple(values)) for key, values in sorted(found.items()))


def _names(data: Mapping[str, str], key: str) -> list[str]:
    text = data.get(key) or "[]"
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise NotConfigured(f"{key} in the ConfigMap {CONFIG_NAMESPACE}/{CONFIG_NAME} is no list of strings: {text}")
    return found


def _lower(data: Mapping[str, str], key: str) -> list[str]:
    return [name.lower() for name in _names(data, key)]
