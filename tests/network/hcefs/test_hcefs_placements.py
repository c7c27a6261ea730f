"""Manifests that lie about shards do not hide the one that a final block named, and they go again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hce.foundation.codec.cid import cid_of_dag_cbor, cid_of_raw
from hce.foundation.codec.dagcbor import encode
from hce.network.hcefs.manifest import Dispersed, PlacedBlob, disperse, make_manifest, read_manifest
from hce.network.hcefs.placements import MAX_PLACEMENTS, Holder, Placements

CHAIN = bytes(range(16))
LIAR, AUTHOR = b"\x01" * 32, b"\x02" * 32


@pytest.fixture
def tables(tmp_path: Path) -> Iterator[Placements]:
    with Placements.open(tmp_path / "placements", chain=CHAIN, node=3, map_size=4 << 20) as opened:
        yield opened


@pytest.fixture
def true() -> Dispersed:
    return disperse(b"what the author dispersed" * 10, 9)


def enter(tables: Placements, blobs: list[PlacedBlob], org_id: bytes, height: int = 1) -> bytes:
    raw = encode(make_manifest(CHAIN, blobs, 9))
    tables.enter(cid_of_dag_cbor(raw), read_manifest(raw, CHAIN), Holder(org_id, height, len(raw)))
    return cid_of_dag_cbor(raw)


def lie(true: Dispersed, number: int, keep: tuple[int, ...] = ()) -> PlacedBlob:
    """The ciphertext with made-up shards, but for some true ones."""
    made_up = [cid_of_raw(hashlib.sha256(b"%d %d" % (number, at)).digest()) for at in range(9)]
    shards = [true.placed.shards[at] if at in keep else made_up[at] for at in range(9)]
    return PlacedBlob(true.placed.ciphertext, true.placed.size_bytes, shards)


def shards_of(found: list[Any]) -> list[list[bytes]]:
    return [placed.shards for placed in found]


def test_lies_of_any_number_come_after_what_a_final_block_named(tables: Placements, true: Dispersed) -> None:
    name = enter(tables, [true.placed], AUTHOR)
    (own,) = tables.own_shards(b"", 10)
    for number in range(5 * MAX_PLACEMENTS):
        enter(tables, [lie(true, number, keep=(own.number,))], LIAR)
    tables.expect(2, [name])
    assert shards_of(tables.find(true.placed.ciphertext))[0] == true.placed.shards
    assert shards_of(tables.find_own(true.placed.shards[own.number]))[0] == true.placed.shards
    assert len(tables.find(true.placed.ciphertext)) == MAX_PLACEMENTS
    assert len(tables.find_own(true.placed.shards[own.number])) == MAX_PLACEMENTS


def test_lies_that_are_committed_later_come_after_the_first(tables: Placements, true: Dispersed) -> None:
    tables.expect(2, [enter(tables, [true.placed], AUTHOR)])
    tables.expect(3, [enter(tables, [lie(true, number)], LIAR) for number in range(5 * MAX_PLACEMENTS)])
    assert shards_of(tables.find(true.placed.ciphertext))[0] == true.placed.shards


def test_one_that_was_named_before_it_came_stands_where_its_block_says(tables: Placements, true: Dispersed) -> None:
    raw = encode(make_manifest(CHAIN, [true.placed], 9))
    tables.expect(2, [cid_of_dag_cbor(raw)])
    tables.expect(3, [enter(tables, [lie(true, 0)], LIAR)])
    tables.enter(cid_of_dag_cbor(raw), read_manifest(raw, CHAIN))
    assert shards_of(tables.find(true.placed.ciphertext))[0] == true.placed.shards


def test_what_is_dropped_takes_nothing_along_that_others_need(tables: Placements, true: Dispersed) -> None:
    honest = enter(tables, [true.placed], AUTHOR)
    tables.expect(2, [honest])
    (own,) = tables.own_shards(b"", 10)
    shards = [honest if at == own.number else shard for at, shard in enumerate(true.placed.shards)]
    lying = enter(tables, [PlacedBlob(true.placed.ciphertext, true.placed.size_bytes, shards)], LIAR)
    assert tables.overdue(2, 10) == [lying]
    assert tables.drop(honest, 100) == []
    assert tables.drop(lying, 1) == []
    assert tables.drop(lying, 2) == [lying]
    assert shards_of(tables.find(true.placed.ciphertext)) == [true.placed.shards]
    assert tables.own_shards(b"", 10) == [own]
