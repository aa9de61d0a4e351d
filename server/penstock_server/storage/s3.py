"""An S3 bucket as a source of files: listing, ranged reads, checksums. boto3 speaks the protocol.

SourceChanged   an object is no longer the one that was listed
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import boto3
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    PartialCredentialsError,
    ReadTimeoutError,
)
from urllib3.exceptions import HTTPError

from penstock_server.storage.checksum import Checksum, from_head
from penstock_server.storage.errors import Reason, StorageError
from penstock_server.storage.selection import relative_path
from penstock_server.storage.uri import Bucket

MAX_OBJECTS = 10_000
PIECE_BYTES = 1 << 20
_CONNECT_SECONDS = 10.0
_DEFAULT_REGION = "us-east-1"
_CHANGED = frozenset({"PreconditionFailed", "412", "NoSuchKey", "404", "InvalidRange", "416"})
_KEY_ADVICE = "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the Secret that storage.secretName names"
_ADVICE = {
    "InvalidAccessKeyId": _KEY_ADVICE,
    "SignatureDoesNotMatch": _KEY_ADVICE,
    "ExpiredToken": "the session token has expired: renew AWS_SESSION_TOKEN",
    "InvalidToken": "AWS_SESSION_TOKEN does not belong to this key",
    "AccessDenied": "the credentials may not list and read this bucket",
    "403": "the credentials may not list and read this bucket",
    "NoSuchBucket": "there is no such bucket at this endpoint",
    "404": "there is no such bucket at this endpoint",
    "PermanentRedirect": "the bucket lies in another region: set AWS_REGION",
    "AuthorizationHeaderMalformed": "the bucket lies in another region: set AWS_REGION",
}


class SourceChanged(Exception):
    """An object is no longer the one that was listed."""


@dataclass(frozen=True, slots=True, order=True)
class RemoteFile:
    """One object of a listing."""

    path: str  # below the model's directory, checked not to leave it
    key: str
    size: int  # bytes
    etag: str  # opaque; with quotes, as S3 gives it


class Source:
    """The objects below one prefix. Safe to use from several threads."""

    def __init__(
        self,
        location: Bucket,
        env: Mapping[str, str],
        *,
        connections: int,
        read_seconds: float,
        check: Callable[[], None],
    ) -> None:
        """`check` runs before every request, retries included; what it raises ends the request."""
        self._bucket = location.name
        self._prefix = location.prefix
        self.address = f"s3://{location.name}/{location.prefix}"
        self._client = _client(env, connections, read_seconds)
        self._client.meta.events.register("before-send.s3", lambda **_: check())

    def close(self) -> None:
        """Give the connections back."""
        self._client.close()

    def files(self) -> list[RemoteFile]:
        """Every object below the prefix, by path; raises StorageError."""
        found: list[RemoteFile] = []
        try:
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._prefix)
            for page in pages:
                found += [self._file(entry) for entry in page.get("Contents", []) if not entry["Key"].endswith("/")]
                if len(found) > MAX_OBJECTS:
                    raise _failed(f"more than {MAX_OBJECTS} objects lie below {self.address}")
        except (BotoCoreError, ClientError) as error:
            raise self._explained(error) from None
        return sorted(found)

    def _file(self, entry: Mapping[str, Any]) -> RemoteFile:
        key, etag = entry["Key"], entry.get("ETag", "")
        if not etag.strip('"'):
            raise _failed(f"the server gives no ETag for {key!r}, so a change during the download would go unnoticed")
        return RemoteFile(relative_path(key, self._prefix), key, entry["Size"], etag)

    def pieces(self, file: RemoteFile, start: int, end: int) -> Iterator[bytes]:
        """The bytes [start, end) of `file` in pieces of at most PIECE_BYTES; raises SourceChanged or StorageError.

        Ends early, without an error, when the connection is cut: the caller asks for the rest.
        """
        try:
            answer = self._client.get_object(
                Bucket=self._bucket, Key=file.key, Range=f"bytes={start}-{end - 1}", IfMatch=file.etag
            )
        except (BotoCoreError, ClientError) as error:
            raise self._explained(error, of_file=True) from None
        body = answer["Body"]
        try:
            if answer["ETag"] != file.etag or answer["ContentLength"] != end - start:
                raise SourceChanged(file.key)
            while piece := body.read(PIECE_BYTES):
                yield piece
        except (BotoCoreError, HTTPError):
            return
        finally:
            body.close()

    def checksum(self, file: RemoteFile) -> Checksum | None:
        """The checksum of the whole object, when S3 has one that the standard library can compute."""
        try:
            head = self._client.head_object(
                Bucket=self._bucket, Key=file.key, IfMatch=file.etag, ChecksumMode="ENABLED"
            )
        except (BotoCoreError, ClientError) as error:
            raise self._explained(error, of_file=True) from None
        return from_head(head)

    def _explained(self, error: Exception, *, of_file: bool = False) -> Exception:
        """The error for the user, never with the client's own text, which may repeat a request."""
        where = self.address
        if isinstance(error, ClientError):
            code = str(error.response.get("Error", {}).get("Code", "unknown"))
            if of_file and code in _CHANGED:
                return SourceChanged(code)
            return _failed(f"{where}: S3 answered {code}; {_ADVICE.get(code, 'the download can be tried again')}")
        if isinstance(error, NoCredentialsError | PartialCredentialsError):
            return _failed(f"{where}: no complete credentials; {_KEY_ADVICE}, or set AWS_NO_SIGN_REQUEST=true")
        if isinstance(error, ReadTimeoutError):
            return StorageError(Reason.MODEL_DOWNLOAD_STALLED, f"{where}: the endpoint does not answer")
        return _failed(f"{where}: the endpoint cannot be used ({type(error).__name__}); check AWS_ENDPOINT_URL")


def _client(env: Mapping[str, str], connections: int, read_seconds: float) -> Any:
    anonymous = env.get("AWS_NO_SIGN_REQUEST", "").lower() in {"1", "true", "yes"}
    config = Config(
        connect_timeout=min(_CONNECT_SECONDS, read_seconds),
        read_timeout=read_seconds,
        max_pool_connections=connections,
        retries={"mode": "standard", "total_max_attempts": 5},
        # Checksums of a whole object cannot hold for its ranges; they are compared once the file is complete.
        response_checksum_validation="when_required",
        **({"signature_version": UNSIGNED} if anonymous else {}),
    )
    try:
        return boto3.session.Session().client(
            "s3",
            config=config,
            endpoint_url=env.get("AWS_ENDPOINT_URL_S3") or env.get("AWS_ENDPOINT_URL"),
            region_name=env.get("AWS_REGION") or env.get("AWS_DEFAULT_REGION") or _DEFAULT_REGION,
            aws_access_key_id=env.get("AWS_ACCESS_KEY_ID"),
            aws_secret_access_key=env.get("AWS_SECRET_ACCESS_KEY"),
            aws_session_token=env.get("AWS_SESSION_TOKEN"),
        )
    except (BotoCoreError, ValueError) as error:
        raise _failed(f"the S3 client cannot be set up ({type(error).__name__}); check AWS_ENDPOINT_URL") from None


def _failed(message: str) -> StorageError:
    return StorageError(Reason.MODEL_DOWNLOAD_FAILED, message)
