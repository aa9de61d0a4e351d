"""CustomResourceDefinitions: applied, and waited for until the API server serves what they define."""

import time

from tests.harness.handle import Cluster, KubectlError

_SECONDS = 60.0
_PAUSE_SECONDS = 0.1


def wait_until_established(cluster: Cluster, *named: str) -> None:
    """`named` as kubectl takes it: crd/NAME, or --filename=FILE. Raises KubectlError after a minute.

    One that was created this moment has null for conditions, at which `kubectl wait` gives up at once.
    """
    deadline = time.monotonic() + _SECONDS
    while True:
        try:
            cluster.kubectl("wait", "--for=condition=Established", f"--timeout={_SECONDS:g}s", *named)
        except KubectlError as error:
            if "accessor error" not in str(error) or time.monotonic() > deadline:
                raise
        else:
            return
        time.sleep(_PAUSE_SECONDS)
