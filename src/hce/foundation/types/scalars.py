"""Scalars with their bounds, checked once by `msgspec.convert` where bytes enter.

Integers stay inside 53 bits so that JavaScript reads them exactly; larger amounts travel as `AmountBytes`.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

MAX_SAFE_INT = 2**53 - 1

Bytes16 = Annotated[bytes, Meta(min_length=16, max_length=16)]
Bytes20 = Annotated[bytes, Meta(min_length=20, max_length=20)]
Bytes32 = Annotated[bytes, Meta(min_length=32, max_length=32)]
Bytes64 = Annotated[bytes, Meta(min_length=64, max_length=64)]

ChainId = Bytes16
"""Names one HCE network for ever: 16 random bytes drawn at the first genesis."""
Address = Bytes20
"""Account on the value chain, as in Ethereum."""
Digest = Bytes32
"""SHA-256."""
Cid = Annotated[bytes, Meta(min_length=36, max_length=36)]
"""CIDv1 in binary: 01, codec (71 dag-cbor or 55 raw), 12 20, SHA-256."""
PublicKey = Bytes32
"""Ed25519 public key."""
Signature = Bytes64
"""Ed25519 signature."""
SealKey = Annotated[bytes, Meta(min_length=1216, max_length=1216)]
"""X-Wing (MLKEM768-X25519) public key."""

Height = Annotated[int, Meta(ge=0, le=MAX_SAFE_INT)]
Epoch = Annotated[int, Meta(ge=0, le=MAX_SAFE_INT)]
Round = Annotated[int, Meta(ge=0, le=2**31)]
Turn = Annotated[int, Meta(ge=0, le=MAX_SAFE_INT)]
Slot = Annotated[int, Meta(ge=0, le=255)]
NodeIndex = Annotated[int, Meta(ge=0, le=255)]
TimeMs = Annotated[int, Meta(ge=0, le=MAX_SAFE_INT)]
"""Unix time in milliseconds."""
Steps = Annotated[int, Meta(ge=0, le=MAX_SAFE_INT)]
"""The deterministic meter: 1 step = 1 microsecond on the reference core."""
AmountBytes = Annotated[bytes, Meta(max_length=32)]
"""Minimal big-endian bytes of an amount in aHCE (1 HCET = 10^18 aHCE); zero is the empty string."""
IsoDate = Annotated[str, Meta(pattern=r"\A[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])\Z")]
"""A day, YYYY-MM-DD in ASCII digits: sorts as text. Every month may have 31 days here; who writes a record checks the calendar."""


def amount_to_bytes(amount: int) -> bytes:
    """Minimal big-endian bytes of a non-negative amount below 2^256."""
    if not 0 <= amount < 1 << 256:
        raise ValueError("amount out of range")
    return amount.to_bytes((amount.bit_length() + 7) // 8, "big")


def amount_from_bytes(raw: bytes) -> int:
    """The amount; a leading zero byte is refused, so that each amount has one spelling."""
    if len(raw) > 32 or raw[:1] == b"\x00":
        raise ValueError("amount is not minimal")
    return int.from_bytes(raw, "big")
