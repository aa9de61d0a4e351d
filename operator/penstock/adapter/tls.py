"""The TLS side of the adapter's port."""

import ssl
import tempfile
from pathlib import Path

from penstock.adapter.certificate import Certificates


def context(certificates: Certificates, client_ca: str) -> ssl.SSLContext:
    """Serves these certificates; a client certificate is verified if one is sent, and needed nowhere here.

    Which requests need one, the API itself decides: it can answer with a reason.
    """
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.verify_mode = ssl.CERT_OPTIONAL
    # As Go does: what the cluster names as its authority is trusted, also where another one has signed that.
    made.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    made.load_verify_locations(cadata=client_ca)
    load(made, certificates)
    return made


def load(made: ssl.SSLContext, certificates: Certificates) -> None:
    """Serve these from the next handshake on. Connections that are open go on with theirs."""
    # The ssl module reads a key only from a file: one that nobody else can open, for as long as it takes.
    with tempfile.TemporaryDirectory() as folder:
        chain, key = Path(folder, "tls.crt"), Path(folder, "tls.key")
        chain.write_bytes(certificates.certificate)
        key.touch(mode=0o600)
        key.write_bytes(certificates.key)
        made.load_cert_chain(chain, key)
