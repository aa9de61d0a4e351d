"""The engine: the only part of the server that imports torch and transformers.

Everything here that the HTTP side needs is in `engine.protocol`, which imports neither.
"""

import os

# transformers reads these once, at its first import: a model server must never look for files on a network hub.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_OFFLINE"] = "1"
os.environ["TRANSFORMERS_NO_ADVISORY_WARNINGS"] = "1"
# OpenMP reads this when torch is imported. Threads that spin while they wait for each other burn a container's CPU
# limit and everybody's cores: a decode step on two busy cores took five times as long as with threads that sleep.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
