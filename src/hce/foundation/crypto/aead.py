"""AES-256-GCM with a fixed nonce, for keys that are used exactly once, and the padding that hides lengths.

A KEY GIVEN TO `aead_seal` MUST NEVER SEAL A SECOND MESSAGE. The nonce is twelve zero bytes: two messages under one key reveal
their XOR and let anybody forge a third. Every key here is therefore fresh from the operating system or from HKDF over a fresh
secret and the thing it seals (a DEK, a WK, a chunk key). Whoever wants to seal twice draws a second key.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from hce.foundation.crypto.errors import SealBroken

KEY_BYTES = 32
TAG_BYTES = 16
MIN_PADDED_BYTES = 256
"""Smallest padded size: short notes and empty answers look alike."""
_NONCE = bytes(12)


def aead_seal(key32: bytes, plaintext: bytes, aad: bytes = b"") -> bytes:
    """Ciphertext || 16-byte tag. ONE MESSAGE PER KEY, EVER (see the head of this file)."""
    return _cipher(key32).encrypt(_NONCE, plaintext, aad)


def aead_open(key32: bytes, ciphertext: bytes, aad: bytes = b"") -> bytes:
    """The plaintext; `SealBroken` when key, aad or any byte differs."""
    try:
        return _cipher(key32).decrypt(_NONCE, ciphertext, aad)
    except InvalidTag as error:
        raise SealBroken("AES-256-GCM") from error


def pad(plain: bytes) -> bytes:
    """plain || 0x80 || zeros (ISO/IEC 7816-4) up to `padded_length`."""
    return plain + b"\x80" + bytes(padded_length(len(plain)) - len(plain) - 1)


def unpad(padded: bytes) -> bytes:
    """The inverse of `pad`; `SealBroken` unless `pad` would make exactly these bytes."""
    plain = padded.rstrip(b"\x00")[:-1]
    if pad(plain) != padded:
        raise SealBroken("padding")
    return plain


def padded_length(plain_length: int) -> int:
    """Padmé (Nikitin et al., PETS 2019): at most 12 % longer, leaks O(log log n) bits; never below MIN_PADDED_BYTES."""
    needed = max(plain_length + 1, MIN_PADDED_BYTES)
    exponent = needed.bit_length() - 1
    free_bits = exponent - exponent.bit_length()
    return -(-needed >> free_bits) << free_bits


def _cipher(key32: bytes) -> AESGCM:
    if len(key32) != KEY_BYTES:
        raise ValueError("an AES-256 key has 32 bytes")
    return AESGCM(key32)
