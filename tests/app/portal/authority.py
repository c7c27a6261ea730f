"""A certificate authority for one test: what somebody who runs a network in a house without public names would make."""

from __future__ import annotations

import base64
import hashlib
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DAY = timedelta(days=1)


class Authority:
    """`folder` gets `ca.pem`, and a certificate and key for each name asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test authority")])
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        made = self._signed(self._name, self._key, datetime.now(UTC), x509.BasicConstraints(ca=True, path_length=0), usage)
        self.file = folder / "ca.pem"
        self.file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
        self._certificate = made

    @property
    def trust(self) -> ssl.SSLContext:
        """Of a client that knows this authority and no other."""
        return ssl.create_default_context(cafile=self.file)

    def certify(self, *names: str, since: datetime | None = None, passphrase: bytes | None = None) -> tuple[Path, Path]:
        """(certificate, key), good for 30 days."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
        listed = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
        made = self._signed(subject, key, since or datetime.now(UTC), listed)
        certificate, secret = (self._folder / f"{names[0].replace('*', 'any')}.{kind}.pem" for kind in ("cert", "key"))
        certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
        locked = serialization.NoEncryption() if passphrase is None else serialization.BestAvailableEncryption(passphrase)
        secret.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked))
        return certificate, secret

    def _signed(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, since: datetime, *extensions: x509.ExtensionType
    ) -> x509.Certificate:
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(self._name).public_key(key.public_key())
        builder = builder.serial_number(x509.random_serial_number()).not_valid_before(since - DAY).not_valid_after(since + 30 * DAY)
        marks = [x509.SubjectKeyIdentifier.from_public_key(key.public_key())]
        marks = [*marks, x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())]
        for extension in (*extensions, *marks):
            builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints | x509.KeyUsage))
        return builder.sign(self._key, hashes.SHA256())


def spki_hash(certificate: Path) -> str:
    """What Chromium is told to trust in place of an authority: SHA-256 of the public key, in base64."""

    public = x509.load_pem_x509_certificate(certificate.read_bytes()).public_key()
    der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(der).digest()).decode()
