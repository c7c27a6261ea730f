"""RLP, the encoding of Ethereum's headers and transactions, through PyPI `rlp`: strict, with named errors."""

from __future__ import annotations

from typing import TypeAlias

import rlp
from rlp.codec import encode_raw
from rlp.exceptions import RLPException

from hce.foundation.types.errors import Malformed, TooLarge

RlpItem: TypeAlias = "bytes | list[RlpItem]"

MAX_RLP_BYTES = 1024 * 1024
"""Upper bound of one encoded item; callers give smaller ones."""
MAX_RLP_DEPTH = 16
"""Lists inside one another. Ethereum needs five (block, transactions, transaction, access list, keys)."""


class RlpMalformed(Malformed):
    """Bytes that are not the one RLP spelling of an item."""

    code = "rlp.malformed"


def rlp_encode(item: RlpItem) -> bytes:
    """The one RLP spelling of byte strings and lists of them. Integers are the caller's business (`rlp_integer`)."""
    return bytes(encode_raw(item))


def rlp_decode(raw: bytes, *, max_bytes: int = MAX_RLP_BYTES) -> RlpItem:
    """Byte strings and lists.

    `RlpMalformed` for trailing bytes, a longer spelling than needed, or lists nested deeper than MAX_RLP_DEPTH; `TooLarge` beyond
    max_bytes.
    """
    if len(raw) > max_bytes:
        raise TooLarge("RLP item", actual_bytes=len(raw), max_bytes=max_bytes)
    try:
        item: RlpItem = rlp.decode(raw, strict=True)
    except (RLPException, RecursionError) as error:
        raise RlpMalformed("not RLP") from error
    _refuse_depth(item)
    return item


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


def _refuse_depth(item: RlpItem) -> None:
    """Level by level; the limit of `rlp` itself is Python's recursion limit, which differs from process to process."""
    lists = [item] if isinstance(item, list) else []
    for _ in range(MAX_RLP_DEPTH):
        lists = [inner for outer in lists for inner in outer if isinstance(inner, list)]
    if lists:
        raise RlpMalformed("nested too deep", max_depth=MAX_RLP_DEPTH)
