"""Sealing to a public key: HPKE base mode (RFC 9180), KEM X-Wing (0x647a), HKDF-SHA256 (0x0001), AES-256-GCM (0x0002).

X-Wing (draft-connolly-cfrg-xwing-kem) is ML-KEM-768 and X25519 together: a sealed message stays closed as long as either holds.

`cryptography` gives the one-shot HPKE of the RFC with `info` but no `aad`. The two are bound at once: the HPKE info is
DAG-CBOR(["hce/seal/1", info, aad]) and the HPKE aad is empty, so that nothing can move between them. A second implementation
does the same (tests/js).
"""

from __future__ import annotations

import hashlib
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, MLKEM768X25519PrivateKey, MLKEM768X25519PublicKey, Suite

from hce.foundation.codec.dagcbor import encode
from hce.foundation.crypto.errors import BadSealKey, SealBroken

PUBLIC_BYTES = 1216
"""ML-KEM-768 encapsulation key (1,184) || X25519 public key (32)."""
OVERHEAD_BYTES = 1136
"""ML-KEM-768 ciphertext (1,088) || X25519 ephemeral key (32) || GCM tag (16)."""
MAX_INFO_BYTES = 8192
"""Most that info and aad take together, encoded: the bound of `@hpke/core`, so that the browser opens whatever is sealed here."""
_MLKEM_PUBLIC_BYTES = 1184
_SUITE = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


class OpeningKey:
    """An X-Wing private key. Does not print, does not pickle."""

    __slots__ = ("_private", "public")

    def __init__(self, seed32: bytes) -> None:
        """From the 32-byte X-Wing decapsulation key: SHAKE256(seed, 96) = ML-KEM seed (d || z, 64) || X25519 key (32)."""
        if len(seed32) != 32:
            raise ValueError("an X-Wing seed has 32 bytes")
        expanded = hashlib.shake_256(seed32).digest(96)
        mlkem = MLKEM768PrivateKey.from_seed_bytes(expanded[:64])
        x25519 = X25519PrivateKey.from_private_bytes(expanded[64:])
        self._private = MLKEM768X25519PrivateKey(mlkem, x25519)
        self.public: bytes = mlkem.public_key().public_bytes_raw() + x25519.public_key().public_bytes_raw()

    @classmethod
    def from_seed(cls, seed32: bytes) -> OpeningKey:
        return cls(seed32)

    def open(self, info: bytes, sealed: bytes, aad: bytes = b"") -> bytes:
        """The plaintext; `SealBroken` for anything that was not sealed to this key with this info and aad."""
        bound_info = _bound_info(info, aad)
        try:
            return _SUITE.decrypt(sealed, self._private, bound_info)
        except (InvalidTag, ValueError) as error:
            raise SealBroken("HPKE X-Wing") from error

    def __repr__(self) -> str:
        return f"OpeningKey({self.public.hex()[:8]}…)"

    def __reduce__(self) -> Any:
        raise TypeError("private keys are not pickled")


def seal(public: bytes, info: bytes, plaintext: bytes, aad: bytes = b"") -> bytes:
    """enc (1,120) || ciphertext: OVERHEAD_BYTES longer than the plaintext; `BadSealKey` when nobody can seal to this key."""
    if len(public) != PUBLIC_BYTES:
        raise BadSealKey("length", actual_bytes=len(public), expected_bytes=PUBLIC_BYTES)
    bound_info = _bound_info(info, aad)
    try:
        mlkem = MLKEM768PublicKey.from_public_bytes(public[:_MLKEM_PUBLIC_BYTES])
        x25519 = X25519PublicKey.from_public_bytes(public[_MLKEM_PUBLIC_BYTES:])
        return _SUITE.encrypt(plaintext, MLKEM768X25519PublicKey(mlkem, x25519), bound_info)
    except ValueError as error:
        raise BadSealKey("not an X-Wing key") from error


def _bound_info(info: bytes, aad: bytes) -> bytes:
    bound = encode(["hce/seal/1", info, aad])
    if len(bound) > MAX_INFO_BYTES:
        raise ValueError(f"info and aad take {len(bound)} bytes, at most {MAX_INFO_BYTES}")
    return bound
