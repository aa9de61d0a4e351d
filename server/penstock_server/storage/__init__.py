"""Model sources: `fetch` turns a storageUri into a local directory."""

from penstock_server.storage.errors import Progress, Reason, StorageError
from penstock_server.storage.fetch import fetch

__all__ = ["Progress", "Reason", "StorageError", "fetch"]
