"""secp256k1 for the value chain: Ethereum addresses and recoverable signatures (libsecp256k1 through `coincurve`)."""

from __future__ import annotations

from typing import Any

from coincurve import PrivateKey, PublicKey

from hce.foundation.crypto.errors import BadEthSignature
from hce.foundation.crypto.hashing import keccak256

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
HALF_ORDER = ORDER // 2
"""Largest s that counts (EIP-2): each signature has one spelling."""


class EthSigningKey:
    """A secp256k1 private key of an account. Does not print, does not pickle."""

    __slots__ = ("_private", "address")

    def __init__(self, secret32: bytes) -> None:
        """ValueError unless 32 bytes in 1..order-1."""
        if len(secret32) != 32:
            raise ValueError("a secp256k1 secret has 32 bytes")
        self._private = PrivateKey(secret32)
        self.address = address_of(self._private.public_key.format(compressed=False))

    def sign(self, msg_hash32: bytes) -> tuple[int, int, int]:
        """(r, s, y_parity) of a 32-byte hash; deterministic (RFC 6979), low s."""
        if len(msg_hash32) != 32:
            raise ValueError("a message hash has 32 bytes")
        signature = self._private.sign_recoverable(msg_hash32, hasher=None)
        return int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big"), signature[64]

    def __repr__(self) -> str:
        return f"EthSigningKey(0x{self.address.hex()})"

    def __reduce__(self) -> Any:
        raise TypeError("private keys are not pickled")


def address_of(public_key: bytes) -> bytes:
    """Last 20 bytes of keccak256 of the curve point; takes SEC1 bytes, compressed (33) or not (65)."""
    return keccak256(PublicKey(public_key).format(compressed=False)[1:])[12:]


def recover_address(msg_hash32: bytes, r: int, s: int, y_parity: int) -> bytes:
    """The account that signed; `BadEthSignature` for values out of range, high s, or no such point."""
    if len(msg_hash32) != 32 or not (0 < r < ORDER and 0 < s <= HALF_ORDER and y_parity in (0, 1)):
        raise BadEthSignature("out of range")
    signature = r.to_bytes(32, "big") + s.to_bytes(32, "big") + bytes([y_parity])
    try:
        public = PublicKey.from_signature_and_message(signature, msg_hash32, hasher=None)
    except ValueError as error:
        raise BadEthSignature("no such point") from error
    return keccak256(public.format(compressed=False)[1:])[12:]
