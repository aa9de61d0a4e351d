"""The adapter's own certificates: an authority that clients trust, and a serving certificate that it signs. Pure.

Both live in one Secret that all replicas share. What a change of the authority must not do is to break a poll: the new
one is first only trusted, and signs the serving certificate no earlier than an hour later.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

AUTHORITY_LIFE: Final = timedelta(days=3650)
SERVING_LIFE: Final = timedelta(days=365)
# Until every client has read the new bundle.
_TRUSTED_FIRST: Final = timedelta(hours=1)
# A clock that is a little behind ours must not find the certificate to be of the future.
_CLOCK_SKEW: Final = timedelta(minutes=5)

_BUNDLE: Final = "ca.crt"
_AUTHORITY_KEY: Final = "ca.key"
_CERTIFICATE: Final = "tls.crt"
_KEY: Final = "tls.key"


@dataclass(frozen=True, slots=True)
class Certificates:
    """What the Secret holds, as PEM."""

    bundle: bytes  # the authorities that clients trust, the newest first
    authority_key: bytes = field(repr=False)  # of the newest
    certificate: bytes
    key: bytes = field(repr=False)

    @classmethod
    def of_secret(cls, data: Mapping[str, str]) -> "Certificates | None":
        """From a Secret's `data`; None if it holds no certificates that fit together."""
        try:
            found = cls(
                *(base64.b64decode(data[name], validate=True) for name in (_BUNDLE, _AUTHORITY_KEY, _CERTIFICATE, _KEY))
            )
            found._check()
        except (KeyError, ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
            return None
        return found

    def secret_data(self) -> dict[str, str]:
        fields = {
            _BUNDLE: self.bundle,
            _AUTHORITY_KEY: self.authority_key,
            _CERTIFICATE: self.certificate,
            _KEY: self.key,
        }
        return {name: base64.b64encode(pem).decode() for name, pem in fields.items()}

    def is_for(self, host: str) -> bool:
        names = _serving(self).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return host in names.get_values_for_type(x509.DNSName)

    @property
    def expires(self) -> datetime:
        return _serving(self).not_valid_after_utc

    def _check(self) -> None:
        """Raises ValueError, InvalidSignature or ExtensionNotFound unless keys and certificates fit together."""
        self.is_for("")
        authorities = _authorities(self)
        keys = _load_key(self.authority_key), _load_key(self.key)
        owners = authorities[0], _serving(self)
        for key, owner in zip(keys, owners, strict=True):
            if _public(key) != owner.public_key().public_bytes(*_SUBJECT_KEY):
                raise ValueError("a key is not that of its certificate")
        if not any(_has_signed(authority, owners[1]) for authority in authorities):
            raise ValueError("the serving certificate is signed by no authority of the bundle")


def renewed(old: Certificates | None, host: str, now: datetime) -> Certificates:
    """What the Secret should hold now: `old` itself while nothing is due, so that comparing it tells of a change."""
    if old is None or not old.is_for(host):
        return _first(host, now)
    authorities = [each for each in _authorities(old) if each.not_valid_after_utc > now]
    if not authorities:
        return _first(host, now)
    newest = authorities[0]
    if _is_due(newest, AUTHORITY_LIFE, now):
        key, authority = _authority(now)
        return replace(old, bundle=_pem(authority, *authorities), authority_key=_key_pem(key))
    leaf = _serving(old)
    is_trusted = len(authorities) == 1 or now >= newest.not_valid_before_utc + _CLOCK_SKEW + _TRUSTED_FIRST
    is_due = _is_due(leaf, SERVING_LIFE, now) or not _has_signed(newest, leaf)
    is_valid = leaf.not_valid_before_utc <= now < leaf.not_valid_after_utc
    if (is_due and is_trusted) or not is_valid:
        key, certificate = _leaf(host, newest, _load_key(old.authority_key), now)
        return replace(old, bundle=_pem(*authorities), certificate=_pem(certificate), key=_key_pem(key))
    if len(authorities) == len(_authorities(old)):
        return old
    return replace(old, bundle=_pem(*authorities))


def _first(host: str, now: datetime) -> Certificates:
    key, authority = _authority(now)
    leaf_key, leaf = _leaf(host, authority, key, now)
    return Certificates(_pem(authority), _key_pem(key), _pem(leaf), _key_pem(leaf_key))


def _is_due(certificate: x509.Certificate, life: timedelta, now: datetime) -> bool:
    """The last third of its life has begun, or it is one of the future: a clock was set back by years."""
    return now > certificate.not_valid_after_utc - life / 3 or now < certificate.not_valid_before_utc


def _authority(now: datetime) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    key = ec.generate_private_key(ec.SECP256R1())
    # Its own serial number in the name tells two authorities of one bundle apart.
    serial = x509.random_serial_number()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"penstock-metrics-adapter-ca-{serial:x}"[:64])])
    usage = x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,
        crl_sign=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    builder = _builder(name, name, key, now, AUTHORITY_LIFE).serial_number(serial)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    return key, builder.add_extension(usage, critical=True).sign(key, hashes.SHA256())


def _leaf(
    host: str, issuer: x509.Certificate, issuer_key: ec.EllipticCurvePrivateKey, now: datetime
) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host[:64])])
    short = host.removesuffix(".svc")
    hosts = x509.SubjectAlternativeName([x509.DNSName(host), x509.DNSName(short)])
    builder = _builder(name, issuer.subject, key, now, SERVING_LIFE).serial_number(x509.random_serial_number())
    builder = builder.add_extension(hosts, critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    return key, builder.sign(issuer_key, hashes.SHA256())


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime, life: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + life)
    )


def _has_signed(authority: x509.Certificate, certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _authorities(certificates: Certificates) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(certificates.bundle)


def _serving(certificates: Certificates) -> x509.Certificate:
    return x509.load_pem_x509_certificate(certificates.certificate)


def _load_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(pem, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("not a key of ours")
    return key


_SUBJECT_KEY: Final = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _public(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(*_SUBJECT_KEY)


def _pem(*certificates: x509.Certificate) -> bytes:
    return b"".join(each.public_bytes(serialization.Encoding.PEM) for each in certificates)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
