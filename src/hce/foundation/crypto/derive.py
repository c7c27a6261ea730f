"""HKDF-SHA256 (RFC 5869): one secret in, many independent secrets out."""

from __future__ import annotations

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from hce.foundation.codec.dagcbor import encode
from hce.foundation.crypto.secret import SecretBytes

SEED_BYTES = 32


def hkdf(secret: bytes | SecretBytes, info: bytes, length: int = 32, salt: bytes = b"") -> bytes:
    """`length` bytes (at most 8,160) bound to `info`; an empty salt means 32 zero bytes, as in the RFC."""
    material = secret.reveal() if isinstance(secret, SecretBytes) else secret
    return HKDF(algorithm=SHA256(), length=length, salt=salt or None, info=info).derive(material)


def derive_seed(root: SecretBytes, use: str, *path: int | bytes) -> SecretBytes:
    """32-byte seed = HKDF(root, info = DAG-CBOR(["hce/derive/1", use, *path])): the words alone find every key again."""
    return SecretBytes(hkdf(root, encode(["hce/derive/1", use, *path]), SEED_BYTES))
