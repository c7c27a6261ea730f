"""Domain-separated hashes and commitments (`docs/formats.md`, section Hashes)."""

from __future__ import annotations

import hashlib
from typing import Any

from Crypto.Hash import keccak

from hce.foundation.codec.dagcbor import encode

SALT_BYTES = 32


def digest(domain: str, *parts: Any) -> bytes:
    """SHA-256(DAG-CBOR([domain, *parts])): no two domains share an input."""
    return hashlib.sha256(encode([domain, *parts])).digest()


def commitment(domain: str, body: Any, salt: bytes) -> bytes:
    """SHA-256(DAG-CBOR([domain, DAG-CBOR(body), salt])): hides the body behind a 256-bit salt, binds to every byte of it."""
    if len(salt) != SALT_BYTES:
        raise ValueError("a salt has 32 bytes")
    return digest(domain, encode(body), salt)


def keccak256(data: bytes) -> bytes:
    """Keccak-256 as Ethereum uses it (the padding before FIPS 202: not SHA3-256). Only for the value chain."""
    return keccak.new(data=data, digest_bits=256).digest()
