"""RLP, the encoding of Ethereum's headers and transactions: strict, with named errors.

Own code, against the rule that a library beats it: each account is one of these and each transaction reads and writes several, and
PyPI `rlp`, which guesses types on the way, took five times as long. The tests hold the two to the same answers.
"""

from __future__ import annotations

from typing import TypeAlias

from hce.foundation.types.errors import Malformed, TooLarge

RlpItem: TypeAlias = "bytes | list[RlpItem]"

MAX_RLP_BYTES = 1024 * 1024
"""Upper bound of one encoded item; callers give smaller ones."""
MAX_RLP_DEPTH = 16
"""Lists inside one another. Ethereum needs five (block, transactions, transaction, access list, keys)."""

_STRING, _LIST = 0x80, 0xC0
"""Heads of the empty string and the empty list; both count up to 55 bytes, and from there on the bytes of a length."""
_SHORT = 55
"""Longest payload whose length is in the head itself."""
_BYTES = [bytes([value]) for value in range(256)]


class RlpMalformed(Malformed):
    """Bytes that are not the one RLP spelling of an item."""

    code = "rlp.malformed"


def rlp_encode(item: RlpItem) -> bytes:
    """The one RLP spelling of byte strings and lists of them. Integers are the caller's business (`rlp_integer`)."""
    if isinstance(item, bytes):
        return item if len(item) == 1 and item[0] < _STRING else _head(_STRING, len(item)) + item
    if not isinstance(item, list):
        raise TypeError("RLP has byte strings and lists")
    payload = b"".join([rlp_encode(one) for one in item])
    return _head(_LIST, len(payload)) + payload


def rlp_decode(raw: bytes, *, max_bytes: int = MAX_RLP_BYTES) -> RlpItem:
    """Byte strings and lists.

    `RlpMalformed` for trailing bytes, a longer spelling than needed, or lists nested deeper than MAX_RLP_DEPTH; `TooLarge` beyond
    max_bytes.
    """
    if len(raw) > max_bytes:
        raise TooLarge("RLP item", actual_bytes=len(raw), max_bytes=max_bytes)
    items = _items(raw, 0, len(raw), MAX_RLP_DEPTH)
    if len(items) != 1:
        raise RlpMalformed("not RLP")
    return items[0]


def rlp_integer(number: int) -> bytes:
    """Minimal big-endian bytes; zero is the empty string."""
    if number < 0:
        raise ValueError("RLP has no negative integers")
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


def rlp_to_integer(raw: bytes, *, max_bytes: int = 32) -> int:
    """The integer of a minimal byte string; `RlpMalformed` for a leading zero or more than max_bytes."""
    if len(raw) > max_bytes or raw[:1] == b"\x00":
        raise RlpMalformed("not a minimal integer", actual_bytes=len(raw), max_bytes=max_bytes)
    return int.from_bytes(raw, "big")


def _head(base: int, size: int) -> bytes:
    if size <= _SHORT:
        return _BYTES[base + size]
    length = rlp_integer(size)
    return _BYTES[base + _SHORT + len(length)] + length


def _items(raw: bytes, at: int, end: int, levels: int) -> list[RlpItem]:
    """What stands one after another in these bytes; lists may have so many levels."""
    found: list[RlpItem] = []
    while at < end:
        first = raw[at]
        if first < _STRING:
            found.append(_BYTES[first])
            at += 1
            continue
        base = _STRING if first < _LIST else _LIST
        size = first - base
        at += 1
        if size > _SHORT:
            start = at + size - _SHORT
            size = int.from_bytes(raw[at:start], "big")
            if start > end or raw[at] == 0 or size <= _SHORT:
                raise RlpMalformed("not RLP")
            at = start
        stop = at + size
        if stop > end:
            raise RlpMalformed("not RLP")
        if base == _LIST:
            if not levels:
                raise RlpMalformed("nested too deep", max_depth=MAX_RLP_DEPTH)
            found.append(_items(raw, at, stop, levels - 1))
        elif size == 1 and raw[at] < _STRING:
            raise RlpMalformed("not RLP")
        else:
            found.append(raw[at:stop])
        at = stop
    return found
