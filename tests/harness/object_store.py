"""An S3 server on the node, for models that pods download: versitygw, which checks signatures as S3 does."""

import json
import os
import secrets
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError

from tests.harness import network, tools
from tests.harness.handle import Cluster
from tests.harness.processes import Processes
from tests.harness.progress import HarnessError, tail

PORT = 7070
PROCESS = "object-store"


@dataclass(frozen=True)
class ObjectStore:
    """Where the server is, for pods and for this machine, and its only credentials."""

    access_key: str
    secret_key: str = field(repr=False)
    endpoint: str = f"http://{network.NODE_IP}:{PORT}"

    def client(self) -> Any:
        """A boto3 client of it."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name="us-east-1",
            config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1}),
        )

    def has(self, folder: Path, *, bucket: str, prefix: str) -> bool:
        """Whether every file below `folder` is there at its size: models never change under one name and size."""
        client = self.client()
        if bucket not in {each["Name"] for each in client.list_buckets()["Buckets"]}:
            return False
        listed = client.list_objects_v2(Bucket=bucket, Prefix=f"{prefix}/").get("Contents", [])
        stored = {each["Key"]: each["Size"] for each in listed}
        files = [path for path in folder.rglob("*") if path.is_file()]
        return all(stored.get(f"{prefix}/{file.relative_to(folder)}") == file.stat().st_size for file in files)

    def upload(self, folder: Path, *, bucket: str, prefix: str = "") -> str:
        """Uploads every file below `folder`, making the bucket where it is missing; returns the folder's s3:// URI."""
        client = self.client()
        if bucket not in {each["Name"] for each in client.list_buckets()["Buckets"]}:
            client.create_bucket(Bucket=bucket)
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            key = "/".join(part for part in (prefix, file.relative_to(folder).as_posix()) if part)
            client.upload_file(str(file), bucket, key)
        return f"s3://{bucket}/{prefix}".rstrip("/")


def serve(cluster: Cluster, bucket: str, folders: Mapping[str, Path]) -> dict[str, str]:
    """Starts the server and puts each folder under its prefix, unless it is there already.

    Returns the variables with which a pod reads the bucket.
    """
    store = start(cluster.state)
    for prefix, folder in folders.items():
        if not store.has(folder, bucket=bucket, prefix=prefix):
            store.upload(folder, bucket=bucket, prefix=prefix)
    return {
        "AWS_ENDPOINT_URL": store.endpoint,
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": store.access_key,
        "AWS_SECRET_ACCESS_KEY": store.secret_key,
    }


def start(state: Path) -> ObjectStore:
    """Starts the server beside a running node cluster, or finds the running one; its objects go with the cluster.

    Raises HarnessError when it does not answer.
    """
    store = _credentials(state)
    data = state / "object-store"
    data.mkdir(exist_ok=True)
    program = tools.ensure("versitygw")["versitygw"]
    environment = os.environ | {"ROOT_ACCESS_KEY": store.access_key, "ROOT_SECRET_KEY": store.secret_key}
    processes = Processes(state)
    processes.start(PROCESS, [program, f"{network.NODE_IP}:{PORT}", data], env=environment)
    _wait_until_it_answers(processes, store)
    return store


def stop(state: Path) -> None:
    """Stops the server; its objects stay until the cluster goes."""
    Processes(state).stop(PROCESS)


def _credentials(state: Path) -> ObjectStore:
    file = state / "object-store.json"
    if not file.exists():
        file.touch(mode=0o600)
        file.write_text(json.dumps(asdict(ObjectStore(secrets.token_hex(8), secrets.token_urlsafe(24)))))
    return ObjectStore(**json.loads(file.read_text()))


def _wait_until_it_answers(processes: Processes, store: ObjectStore) -> None:
    client = store.client()
    deadline = time.monotonic() + 30
    while processes.is_running(PROCESS) and time.monotonic() < deadline:
        try:
            client.list_buckets()
        except BotoCoreError:
            time.sleep(0.05)
        else:
            return
    raise HarnessError(f"the S3 server does not answer; the end of its log:\n{tail(processes.log(PROCESS))}")
