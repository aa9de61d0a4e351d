"""The engine: the only part of the server that imports torch and transformers.

Everything here that the HTTP side needs is in `engine.protocol`, which imports neither.
"""

import os

# transformers reads these once, at its first import: a model server must never look for files on a network hub.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_OFFLINE"] = "1"
os.environ["TRANSFORMERS_NO_ADVISORY_WARNINGS"] = "1"
