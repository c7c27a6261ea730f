"""Any k shards give the content; the arithmetic is the one of docs/formats.md, checked against GF(256) written out in Python."""

from __future__ import annotations

import hashlib
import json
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hce.foundation.erasure.code import MAX_SHARDS, decode, encode, reconstruct, shard_size
from hce.foundation.erasure.errors import ShardsUnfit, TooFewShards
from hce.foundation.types.ladder import MAX_NODES, ladder

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "hce" / "erasure.json").read_text())
CODES = sorted({tuple(ladder(n)) for n in range(1, MAX_NODES + 1)} | {(5, 4)})


def times(a: int, b: int) -> int:
    """Product in GF(2^8) modulo 0x11d."""
    product = 0
    while b:
        if b & 1:
            product ^= a
        a = a << 1 ^ (0x11D if a & 0x80 else 0)
        b >>= 1
    return product


def inverse(a: int) -> int:
    return next(b for b in range(1, 256) if times(a, b) == 1)


def shards_by_hand(data: bytes, k: int, m: int) -> list[bytes]:
    """The specification, once more."""
    if k == 1:
        return [data] * (1 + m)
    size = -(-len(data) // k)
    padded = data + bytes(k * size - len(data))
    parts = [padded[number * size : (number + 1) * size] for number in range(k)]
    parity = []
    for i in range(m):
        row = [inverse((k + i) ^ j) for j in range(k)]
        shard = bytearray(size)
        for factor, part in zip(row, parts, strict=True):
            table = bytes(times(factor, value) for value in range(256))
            for place, value in enumerate(part):
                shard[place] ^= table[value]
        parity.append(bytes(shard))
    return parts + parity


@pytest.mark.parametrize(("k", "m"), CODES)
@pytest.mark.parametrize("size", [1, 5, 6, 7, 256, 1021])
def test_shards_are_those_of_the_specification(k: int, m: int, size: int) -> None:
    data = hashlib.shake_256(b"%d" % size).digest(size)
    assert encode(data, k, m) == shards_by_hand(data, k, m)


@pytest.mark.parametrize("vector", VECTORS["codes"], ids=lambda vector: f"{vector['k']}+{vector['m']} of {vector['data'][:12]}")
def test_frozen_shards(vector: Any) -> None:
    data = bytes.fromhex(vector["data"][2:])
    assert encode(data, vector["k"], vector["m"]) == [bytes.fromhex(shard[2:]) for shard in vector["shards"]]


@pytest.mark.parametrize(("k", "m"), CODES)
def test_any_k_shards_give_the_content_and_every_other_shard(k: int, m: int) -> None:
    data = hashlib.shake_256(b"content").digest(1_000)
    shards = encode(data, k, m)
    for kept in combinations(range(k + m), k):
        held = {index: shards[index] for index in kept}
        assert decode(held, k, m, len(data)) == data
        for lost in set(range(k + m)) - set(kept):
            assert reconstruct(held, k, m, lost) == shards[lost]


@given(st.binary(min_size=1, max_size=3_000), st.sampled_from(CODES), st.randoms())
@settings(max_examples=60, deadline=None)
def test_content_of_any_size_survives_the_loss_of_any_m(data: bytes, code: tuple[int, int], random: Any) -> None:
    k, m = code
    shards = encode(data, k, m)
    assert {len(shard) for shard in shards} == {shard_size(len(data), k)}
    kept = random.sample(range(k + m), k)
    assert decode({index: shards[index] for index in kept}, k, m, len(data)) == data


def test_a_mebibyte_goes_round() -> None:
    data = hashlib.shake_256(b"large").digest((1 << 20) + 16)
    shards = encode(data, 6, 3)
    assert decode(dict(enumerate(shards[3:], 3)), 6, 3, len(data)) == data


def test_fewer_than_k_shards_are_a_named_error() -> None:
    shards = encode(b"content", 6, 3)
    with pytest.raises(TooFewShards):
        decode(dict(enumerate(shards[:5])), 6, 3, 7)
    with pytest.raises(TooFewShards):
        reconstruct(dict(enumerate(shards[:6])), 6, 3, 0)
    with pytest.raises(TooFewShards):
        reconstruct({}, 1, 2, 0)


@pytest.mark.parametrize(
    "given",
    [
        lambda shards: ({0: shards[0], 1: shards[1] + b"x"}, 2, 2, 10),
        lambda shards: ({0: shards[0], 1: b""}, 2, 2, 10),
        lambda shards: (dict(enumerate(shards)), 2, 2, 12),
        lambda shards: (dict(enumerate(shards)), 2, 2, 0),
        lambda shards: ({0: shards[0], 4: shards[1]}, 2, 2, 10),
        lambda shards: ({0: shards[0], -1: shards[1]}, 2, 2, 10),
        lambda shards: (dict(enumerate(shards)), 2, 0, 10),
        lambda shards: (dict(enumerate(shards)), 2, MAX_SHARDS - 1, 10),
    ],
)
def test_shards_that_do_not_fit_are_a_named_error(given: Any) -> None:
    with pytest.raises(ShardsUnfit):
        decode(*given(encode(b"0123456789", 2, 2)))


def test_impossible_codes_and_empty_content_are_refused() -> None:
    for k, m in ((0, 1), (1, -1), (2, 0), (30, 3)):
        with pytest.raises(ShardsUnfit):
            encode(b"content", k, m)
    with pytest.raises(ShardsUnfit):
        encode(b"", 2, 2)
    with pytest.raises(ShardsUnfit):
        reconstruct(dict(enumerate(encode(b"content", 2, 2))), 2, 2, 4)
