"""A kubeconfig's `auth-provider`, asked by the official client: few have one, so that only they load the client."""

import asyncio
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from kubernetes.aio import client, config

from penstock.cli.kubeconfig import Unusable


def headers(kubeconfigs: Sequence[Path], context: str) -> Mapping[str, str]:
    """Raises Unusable."""
    return asyncio.run(_headers(os.pathsep.join(map(str, kubeconfigs)), context))


async def _headers(kubeconfigs: str, context: str) -> Mapping[str, str]:
    configuration = client.Configuration()
    try:
        # The client has no types.
        await config.load_kube_config(  # type: ignore[no-untyped-call]
            config_file=kubeconfigs, context=context, client_configuration=configuration
        )
    except config.ConfigException as error:
        raise Unusable(str(error)) from error
    token = await configuration.get_api_key_with_prefix("BearerToken")
    return {"Authorization": token} if token else {}
