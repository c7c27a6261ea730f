"""ristretto255 (RFC 9496) through `rbcl` (libsodium), with every input checked before libsodium sees it.

`rbcl` checks no lengths when installed as a package, so a short buffer would be read beyond its end; and the libsodium inside 1.1.2
ignores bit 255 of a point, which RFC 9496 refuses (found by comparing with @noble/curves). So nothing else in HCE calls it.
Points are 32 canonical bytes and never the identity; scalars are 32 little-endian bytes below the group order. Operations on secret
scalars run in constant time (libsodium); `Scalar` values do not hide themselves when printed, so keep them in local variables.
"""

from __future__ import annotations

import hashlib
from typing import Any, NewType

from hce.foundation.codec.dagcbor import encode
from hce.foundation.crypto.errors import BadPoint
from hce.foundation.crypto.sodium import rbcl

Point = NewType("Point", bytes)
Scalar = NewType("Scalar", bytes)

ORDER = 2**252 + 27742317777372353535851937790883648493
"""The prime order of the group (RFC 9496, section 4.4)."""
FIELD_PRIME = 2**255 - 19
POINT_BYTES = 32
_IDENTITY = bytes(POINT_BYTES)


def read_point(raw: bytes) -> Point:
    """A point from outside; `BadPoint` unless canonical and not the identity."""
    point = canonical_point(raw)
    if not rbcl.crypto_core_ristretto255_is_valid_point(point):
        raise BadPoint("not a ristretto255 point")
    return point


def canonical_point(raw: bytes) -> Point:
    """As `read_point` for bytes that go into `plus` next, which finds out itself whether they are a point."""
    if len(raw) != POINT_BYTES or raw == _IDENTITY or int.from_bytes(raw, "little") >= FIELD_PRIME:
        raise BadPoint("not a ristretto255 point")
    return Point(raw)


def read_scalar(raw: bytes) -> Scalar:
    """A scalar from outside; `BadPoint` unless 32 bytes below the group order."""
    if len(raw) != 32 or int.from_bytes(raw, "little") >= ORDER:
        raise BadPoint("not a reduced scalar")
    return Scalar(raw)


def scalar_of(number: int) -> Scalar:
    """A public number modulo the group order."""
    return Scalar((number % ORDER).to_bytes(32, "little"))


def hash_to_scalar(domain: str, *parts: Any) -> Scalar:
    """SHA-512(DAG-CBOR([domain, *parts])), read little-endian, modulo the group order."""
    return Scalar(rbcl.crypto_core_ristretto255_scalar_reduce(_wide_hash(domain, parts)))


def hash_to_point(domain: str, *parts: Any) -> Point:
    """RFC 9496 element derivation from SHA-512(DAG-CBOR([domain, *parts])): nobody knows its discrete logarithm."""
    return read_point(rbcl.crypto_core_ristretto255_from_hash(_wide_hash(domain, parts)))


def base_times(scalar: Scalar) -> Point:
    """g^scalar; `BadPoint` when the scalar is zero."""
    return _not_identity(rbcl.crypto_scalarmult_ristretto255_base_allow_scalar_zero(scalar))


def times(point: Point, scalar: Scalar) -> Point:
    """point^scalar; `BadPoint` when the scalar is zero."""
    return _not_identity(rbcl.crypto_scalarmult_ristretto255_allow_scalar_zero(scalar, point))


def plus(left: Point, right: Point) -> Point:
    """The group operation; `BadPoint` when the result is the identity, or a side is no point (libsodium then writes no result)."""
    return _not_identity(rbcl.crypto_core_ristretto255_add(left, right))


def minus(left: Point, right: Point) -> Point:
    """left divided by right; `BadPoint` when they are equal."""
    return _not_identity(rbcl.crypto_core_ristretto255_sub(left, right))


def scalar_plus(left: Scalar, right: Scalar) -> Scalar:
    return Scalar(rbcl.crypto_core_ristretto255_scalar_add(left, right))


def scalar_times(left: Scalar, right: Scalar) -> Scalar:
    return Scalar(rbcl.crypto_core_ristretto255_scalar_mul(left, right))


def _wide_hash(domain: str, parts: tuple[Any, ...]) -> bytes:
    return hashlib.sha512(encode([domain, *parts])).digest()


def _not_identity(raw: bytes) -> Point:
    if raw == _IDENTITY:
        raise BadPoint("the identity")
    return Point(raw)
