"""Certificates of links, made once at genesis, and TLS that trusts exactly those.

Who is at the other end is decided three times. OpenSSL verifies the chain, and the only roots it knows are the certificates of the
genesis, which are no authorities (CA: false): it accepts one of them and nothing they might sign. The handshake proves the private
key. After it, `NodeCertificates.index_of` compares the presented bytes with those of the genesis, so that another certificate of
the same key or of the same name is a stranger. Host names mean nothing here and are not checked.

Sessions are never resumed (no tickets): every connection proves its key afresh.
Certificates do not expire (RFC 5280, 4.1.2.5): keys rotate by the chain, and a network must not stop on a date nobody remembers.
"""

from __future__ import annotations

import datetime
import os
import ssl
import warnings
from collections.abc import Sequence

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.oid import NameOID

from hce.foundation.types.scalars import ChainId, NodeIndex, PublicKey, TimeMs
from hce.network.link.errors import CertificateMismatch, PeerUnknown

NO_EXPIRY = datetime.datetime(9999, 12, 31, 23, 59, 59, tzinfo=datetime.UTC)
BACKDATED = datetime.timedelta(days=1)
"""Clocks differ; a certificate made now is valid everywhere now."""


def make_certificate(link_seed: bytes, chain: ChainId, index: NodeIndex, made_ms: TimeMs) -> bytes:
    """DER of a self-signed Ed25519 certificate; equal arguments give equal bytes."""
    key = Ed25519PrivateKey.from_private_bytes(link_seed)
    public = key.public_key()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"hce {chain.hex()} node {index}")])
    made = datetime.datetime.fromtimestamp(made_ms // 1_000, datetime.UTC)
    identifier = x509.SubjectKeyIdentifier.from_public_key(public)
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(public)
        .serial_number(index + 1)
        .not_valid_before(made - BACKDATED)
        .not_valid_after(NO_EXPIRY)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(identifier, critical=False)
    )
    return builder.sign(key, None).public_bytes(Encoding.DER)


def link_key_of(certificate: bytes) -> PublicKey:
    """The Ed25519 public key in a certificate. ValueError when there is none, or when the library cannot or will not read it much longer
    (an unknown kind of key, another version, a serial number of 0).
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error", CryptographyDeprecationWarning)
        try:
            public = x509.load_der_x509_certificate(certificate).public_key()
        except (UnsupportedAlgorithm, x509.InvalidVersion, CryptographyDeprecationWarning) as error:
            raise ValueError("not a certificate of RFC 5280") from error
    if not isinstance(public, Ed25519PublicKey):
        raise ValueError("not an Ed25519 key")
    return public.public_bytes_raw()


def require_keys(certificates: Sequence[bytes], link_keys: Sequence[PublicKey]) -> None:
    """`CertificateMismatch` unless each certificate is for the link key that the node list names."""
    for index, (certificate, link_key) in enumerate(zip(certificates, link_keys, strict=True)):
        try:
            certified = link_key_of(certificate)
        except ValueError as error:
            raise CertificateMismatch("unreadable", index=index) from error
        if certified != link_key:
            raise CertificateMismatch("for another key", index=index)


class NodeCertificates:
    """The certificates of a genesis, in node order."""

    def __init__(self, certificates: Sequence[bytes]) -> None:
        self.all = list(certificates)
        self._index_of = {certificate: index for index, certificate in enumerate(certificates)}

    def index_of(self, presented: bytes | None) -> NodeIndex:
        """Whose certificate this is, byte for byte; `PeerUnknown`."""
        index = None if presented is None else self._index_of.get(presented)
        if index is None:
            raise PeerUnknown("not a certificate of the genesis")
        return index


def tls_contexts(certificates: NodeCertificates, index: NodeIndex, link_seed: bytes) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """(for dialing, for listening) of one node."""
    return (
        _context(ssl.PROTOCOL_TLS_CLIENT, certificates, index, link_seed),
        _context(ssl.PROTOCOL_TLS_SERVER, certificates, index, link_seed),
    )


def _context(protocol: int, certificates: NodeCertificates, index: NodeIndex, link_seed: bytes) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_STRICT
    context.load_verify_locations(cadata=b"".join(certificates.all))
    if protocol == ssl.PROTOCOL_TLS_SERVER:
        context.num_tickets = 0
    _load_own(context, certificates.all[index], link_seed)
    return context


def _load_own(context: ssl.SSLContext, certificate: bytes, link_seed: bytes) -> None:
    """`ssl` reads keys from files only; this one lies in memory and has no name."""
    key = Ed25519PrivateKey.from_private_bytes(link_seed).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    descriptor = os.memfd_create("link", os.MFD_CLOEXEC)
    try:
        with os.fdopen(descriptor, "wb", closefd=False) as file:
            file.write(ssl.DER_cert_to_PEM_cert(certificate).encode("ascii") + key)
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)
