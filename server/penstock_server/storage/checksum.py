"""Checksums of whole objects, in the forms that S3 reports and the standard library computes."""

import base64
import hashlib
import re
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

_MD5 = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Checksum:
    """What S3 knows about an object's whole content."""

    algorithm: str  # crc32 | sha256 | sha1 | md5
    value: str  # base64

    def matches(self, pieces: Iterable[bytes]) -> bool:
        """Whether the content, given in order, has this checksum."""
        computed = _crc32(pieces) if self.algorithm == "crc32" else _digest(self.algorithm, pieces)
        return base64.b64encode(computed).decode() == self.value


def from_head(head: Mapping[str, Any]) -> Checksum | None:
    """The checksum in a HeadObject answer; None where S3 has none of the whole content, or only CRC-64 or CRC-32C.

    A multipart upload's ETag ("…-13") and composite checksums are made from parts whose sizes S3 does not report.
    """
    if head.get("ChecksumType", "FULL_OBJECT") == "FULL_OBJECT":
        for algorithm in ("CRC32", "SHA256", "SHA1"):
            value = head.get(f"Checksum{algorithm}")
            if value and "-" not in value:
                return Checksum(algorithm.lower(), value)
    etag = head["ETag"].strip('"')
    # The ETag of an object that is encrypted with a KMS or customer key looks like an MD5, but is none.
    has_own_key = str(head.get("ServerSideEncryption", "")).startswith("aws:kms") or "SSECustomerAlgorithm" in head
    if not _MD5.fullmatch(etag) or has_own_key:
        return None
    return Checksum("md5", base64.b64encode(bytes.fromhex(etag)).decode())


def _digest(algorithm: str, pieces: Iterable[bytes]) -> bytes:
    digest = hashlib.new(algorithm, usedforsecurity=False)
    for piece in pieces:
        digest.update(piece)
    return digest.digest()


def _crc32(pieces: Iterable[bytes]) -> bytes:
    value = 0
    for piece in pieces:
        value = zlib.crc32(piece, value)
    return value.to_bytes(4, "big")
