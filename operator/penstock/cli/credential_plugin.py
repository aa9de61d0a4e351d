"""A kubeconfig's credential plugin: a program that prints a token or a certificate, as those of the clouds do.

https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins
"""

import base64
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from penstock.cli.kubeconfig import Access, Unusable, bearer


def authenticated(access: Access, plugin: Mapping[str, Any], folder: Path) -> Access:
    """The access with what the plugin prints. Raises Unusable."""
    credentials = _run(access, plugin, folder)
    token, certificate, key = (credentials.get(name) for name in ("token", "clientCertificateData", "clientKeyData"))
    if not token and not (certificate and key):
        raise Unusable(f"its credential plugin {plugin['command']} printed no token and no certificate with its key")
    return replace(
        access,
        headers=bearer(token) if token else {},
        certificate=certificate.encode() if certificate else None,
        key=key.encode() if key else None,
    )


def _run(access: Access, plugin: Mapping[str, Any], folder: Path) -> Mapping[str, Any]:
    """The `status` of the ExecCredential that it prints."""
    command = plugin["command"]
    # A path is relative to the kubeconfig; a bare name is looked for on the PATH.
    program = str(folder / command) if os.sep in command else command
    is_interactive = plugin.get("interactiveMode") != "Never" and sys.stdin.isatty()
    environment = {each["name"]: each["value"] for each in plugin.get("env") or []}
    info = json.dumps(_info(access, plugin, is_interactive=is_interactive))
    try:
        # What it says to the user, such as where to log in, goes straight to stderr.
        found = subprocess.run(
            [program, *(plugin.get("args") or [])],
            env={**os.environ, **environment, "KUBERNETES_EXEC_INFO": info},
            stdin=None if is_interactive else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            check=True,
        )
        printed = json.loads(found.stdout)
    except FileNotFoundError as error:
        hint = " ".join(["", *(plugin.get("installHint") or "").split()])
        raise Unusable(f"its credential plugin {command} is not installed{hint and ':'}{hint}") from error
    except subprocess.CalledProcessError as error:
        raise Unusable(f"its credential plugin {command} ended with {error.returncode}") from error
    except ValueError as error:
        raise Unusable(f"its credential plugin {command} printed no JSON") from error
    version = printed.get("apiVersion")
    if version != plugin["apiVersion"]:
        raise Unusable(f"its credential plugin {command} answered in {version}, not in {plugin['apiVersion']}")
    return printed.get("status") or {}


def _info(access: Access, plugin: Mapping[str, Any], *, is_interactive: bool) -> Mapping[str, Any]:
    spec: dict[str, Any] = {"interactive": is_interactive}
    if plugin.get("provideClusterInfo"):
        known = {
            "server": access.server,
            "certificate-authority-data": base64.b64encode(access.authority or b"").decode(),
            "insecure-skip-tls-verify": not access.is_verified,
            "tls-server-name": access.server_name,
            "proxy-url": access.proxy,
        }
        spec["cluster"] = {name: value for name, value in known.items() if value}
    return {"apiVersion": plugin["apiVersion"], "kind": "ExecCredential", "spec": spec}
