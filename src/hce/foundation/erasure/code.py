"""Systematic Reed-Solomon with a Cauchy matrix over GF(256): any k of k + m shards give the content (`docs/formats.md`, Shards).

The content is filled up with zeros to k equal parts: shards 0 to k - 1. Parity shard k + i is the sum over j of inv((k + i) xor j)
times part j, byte by byte, in GF(2^8) modulo x^8 + x^4 + x^3 + x^2 + 1 (0x11d). With k = 1 every shard is the content itself.

ISA-L does the arithmetic through pyeclib. Its library puts 80 bytes before every fragment (sizes, versions, a checksum of those):
they depend on k, m, size and index alone, name library versions, and are no part of our format. They are cut off after encoding and
put back before decoding, taken from an encoding of zeros of that size.

The code corrects losses, not lies: whoever calls has checked each shard against its name, and checks the content against its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from pyeclib.ec_iface import ECDriver

from hce.foundation.erasure.errors import ShardsUnfit, TooFewShards
from hce.foundation.types.errors import Bug

MAX_SHARDS = 32
"""k + m of one content; a placement manifest names no more."""
_HEADER_BYTES = 80
"""Of liberasurecode, before each fragment."""
_REMEMBERED_SIZES = 256
"""Padded contents come in few sizes; each remembered one costs 80 bytes a shard."""


def encode(data: bytes, k: int, m: int) -> list[bytes]:
    """k + m shards of `shard_size(len(data), k)` bytes each; `ShardsUnfit` for empty data or an impossible code."""
    _check_code(k, m)
    size = shard_size(len(data), k)
    if k == 1:
        return [data] * (1 + m)
    return [fragment[_HEADER_BYTES:] for fragment in _fragments(data.ljust(k * size, b"\x00"), k, m)]


def decode(shards: Mapping[int, bytes], k: int, m: int, size: int) -> bytes:
    """The content of `size` bytes from any k shards by index. `TooFewShards`, `ShardsUnfit`."""
    chosen = _chosen(shards, k, m, shard_size(size, k))
    if list(chosen) == list(range(k)):
        return b"".join(chosen.values())[:size]
    if k == 1:
        return next(iter(chosen.values()))
    whole: bytes = _driver(k, m).decode(_with_headers(chosen, k, m))
    return whole[:size]


def reconstruct(shards: Mapping[int, bytes], k: int, m: int, index: int) -> bytes:
    """Shard `index` from any k others. `TooFewShards`, `ShardsUnfit`."""
    if not 0 <= index < k + m:
        raise ShardsUnfit("no such shard", index=index, k=k, m=m)
    size = len(next(iter(shards.values()), b""))
    chosen = _chosen({other: shard for other, shard in shards.items() if other != index}, k, m, size)
    if k == 1:
        return next(iter(chosen.values()))
    (fragment,) = _driver(k, m).reconstruct(_with_headers(chosen, k, m), [index])
    return bytes(fragment[_HEADER_BYTES:])


def shard_size(size: int, k: int) -> int:
    """Bytes of each shard of a content of `size` bytes."""
    if size < 1:
        raise ShardsUnfit("no content", size=size)
    return -(-size // k)


def _chosen(shards: Mapping[int, bytes], k: int, m: int, size: int) -> dict[int, bytes]:
    """The k lowest shards, in order: those of the content itself come first and cost nothing."""
    _check_code(k, m)
    if any(not 0 <= index < k + m for index in shards):
        raise ShardsUnfit("no such shard", indices=sorted(shards), k=k, m=m)
    if len(shards) < k:
        raise TooFewShards(expected=k, actual=len(shards))
    chosen = {index: shards[index] for index in sorted(shards)[:k]}
    if any(len(shard) != size for shard in chosen.values()):
        raise ShardsUnfit("size", expected_bytes=size, actual_bytes=[len(shard) for shard in chosen.values()])
    return chosen


def _check_code(k: int, m: int) -> None:
    if k < 1 or m < 0 or k + m > MAX_SHARDS or (k > 1 and m == 0):
        raise ShardsUnfit("no such code", k=k, m=m, max_shards=MAX_SHARDS)


def _with_headers(shards: Mapping[int, bytes], k: int, m: int) -> list[bytes]:
    headers = _headers(k, m, len(next(iter(shards.values()))))
    return [headers[index] + shard for index, shard in shards.items()]


@lru_cache(maxsize=_REMEMBERED_SIZES)
def _headers(k: int, m: int, size: int) -> list[bytes]:
    return [fragment[:_HEADER_BYTES] for fragment in _fragments(bytes(k * size), k, m)]


def _fragments(data: bytes, k: int, m: int) -> list[bytes]:
    fragments: list[bytes] = _driver(k, m).encode(data)
    if any(len(fragment) != _HEADER_BYTES + len(data) // k for fragment in fragments):
        raise Bug("the erasure library lays out fragments in another way")
    return fragments


@lru_cache(maxsize=MAX_SHARDS)
def _driver(k: int, m: int) -> Any:
    return ECDriver(k=k, m=m, ec_type="isa_l_rs_cauchy")
