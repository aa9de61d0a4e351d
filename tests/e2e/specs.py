"""Specs of services that the tests apply: real models, and a small server of the user's own."""

from typing import Any

Spec = dict[str, Any]

# Answers every request with its version, at once, and counts those that are POSTed; when it is told to leave, it asks
# its clients to for half a second. With `exit` as version it crashes when it starts, and after a request for /crash it
# crashes for ever: the mark in the pod's own volume outlives the container.
SERVER = """
import http.server, os, pathlib, signal, sys, threading
version, mark, leaving = os.environ["VERSION"], pathlib.Path("/state/crashed"), threading.Event()
hits = 0
if version == "exit" or mark.exists():
    sys.exit("refusing to start")
def leave(*_):
    leaving.set()
    threading.Timer(0.5, os._exit, [0]).start()
signal.signal(signal.SIGTERM, leave)
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        global hits
        hits += 1
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.do_GET()
    def do_GET(self):
        if self.path == "/crash":
            mark.touch()
            os._exit(3)
        body = f"# TYPE hits_total counter\\nhits_total {hits}\\n" if self.path == "/metrics" else version
        body = body.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close" if leaving.is_set() else "keep-alive")
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass
http.server.ThreadingHTTPServer.request_queue_size = 128
http.server.ThreadingHTTPServer(("", 8080), Handler).serve_forever()
"""


def model(uri: str, secret: str, *, memory: str = "3Gi", **predictor: Any) -> Spec:
    """A model from the bucket on the CPU; `predictor` adds fields beside `model`."""
    resources = {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": memory}}
    return {
        "predictor": {
            "timeout": 30,
            "model": {"storageUri": uri, "storage": {"secretName": secret}, "resources": resources},
            **predictor,
        }
    }


def own_server(image: str, *, version: str = "1", gpus: int = 0, **predictor: Any) -> Spec:
    """A container of the user's own that is up in a second, and down in three: two of them it goes on accepting."""
    container: Spec = {
        "name": "web",
        "image": image,
        "command": ["python", "-c", SERVER],
        "env": [{"name": "VERSION", "value": version}],
        "ports": [{"name": "http", "containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 1},
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "128Mi"}},
        "volumeMounts": [{"name": "state", "mountPath": "/state"}],
    }
    volumes = [{"name": "state", "emptyDir": {}}]
    if gpus:
        container["resources"]["limits"]["nvidia.com/gpu"] = gpus
    common = {"timeout": 5, "terminationGracePeriodSeconds": 4, "volumes": volumes}
    return {"predictor": {**common, "containers": [container], **predictor}}


def versioned(spec: Spec, version: str) -> Spec:
    """A spec of `model` whose answers tell the version where they tell the model's name, and whose pods are others."""
    spec["predictor"]["model"]["name"] = version
    return spec


def blue_green(*, hold: int, **options: Any) -> Spec:
    """`spec.rollout`; the options are fields of `blueGreen`."""
    return {"strategy": "BlueGreen", "blueGreen": {"holdSeconds": hold, **options}}
