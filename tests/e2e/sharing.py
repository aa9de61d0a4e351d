"""One node cluster for tests that run side by side, in several processes."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.harness.lock import exclusive, shared
from tests.harness.tools import cache_dir

# The node has two GPUs: tests that count on them take turns.
gpus = pytest.mark.xdist_group("gpus")
# A model takes all cores while it loads and answers: two such tests at a time would only slow each other down.
models = pytest.mark.xdist_group("models")

_held = False


@contextmanager
def alone() -> Iterator[None]:
    """Every other test is over, and none begins. A test whose fixture has this already may ask for it again."""
    global _held  # noqa: PLW0603 - as the lock, it belongs to the process.
    if _held:
        yield
        return
    with exclusive(_lock()):
        _held = True
        try:
            yield
        finally:
            _held = False


@contextmanager
def beside_others() -> Iterator[None]:
    """Others do the same, and nobody is `alone`."""
    with shared(_lock()):
        yield


def _lock() -> Path:
    return cache_dir() / "clusters" / "node-tests.lock"
