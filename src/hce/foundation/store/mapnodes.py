"""The authenticated map of `foundation/proofs/authmap.py` kept in tables: one batch for each block, proofs out of a snapshot.

Three tables for each map, so that several maps live in one environment:

    <name>.state    key -> value
    <name>.buckets  bucket number, 2 bytes -> leaves and their tree (`mapbucket.py`)
    <name>.nodes    row, 1 byte || page number, 2 bytes -> page of the upper tree

A page holds four levels of the upper tree as a heap of 32-byte hashes: place 1 is the page's top, place n has the children 2n and
2n + 1, places 16..31 are the tops of the pages (in the last row: the buckets) below; place 0 is unused. A single hash for each
stored node would cost a table access for each hash; a page costs one for four levels, and shares it inside a batch.

`compute_root` writes nothing, because a block is executed before it is voted on and most failed rounds throw the result away.
`apply` writes exactly what was computed, and only over the root it was computed from.

Cost: `python bench/authmap.py` measures it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence

from msgspec import Struct

from hce.foundation.proofs.authmap import (
    BUCKET_BITS,
    EMPTY_HASHES,
    EMPTY_ROOT,
    MapProof,
    bucket_of,
    map_proof,
    path_of,
    root_of_top,
    verify_map_proof,
)
from hce.foundation.store.errors import StoreCorrupt
from hce.foundation.store.kv import Reader, WriteTxn
from hce.foundation.store.mapbucket import HASH_BYTES, StoredBucket
from hce.foundation.types.errors import Bug
from hce.foundation.types.scalars import Digest

PAGE_LEVELS = 4
PAGE_WIDTH = 1 << PAGE_LEVELS
PAGE_ROWS = BUCKET_BITS // PAGE_LEVELS
_TOP = slice(HASH_BYTES, 2 * HASH_BYTES)

Changes = Mapping[bytes, bytes | None]
"""New values by key; None deletes."""

_sha256 = hashlib.sha256


class MapDelta(Struct, frozen=True):
    """Everything one batch writes, and the roots on both sides of it."""

    base_root: Digest
    root: Digest
    values: Changes
    buckets: Mapping[bytes, bytes]
    """Empty bytes: the bucket became empty."""
    pages: Mapping[bytes, bytes]


class MapStore:
    """One authenticated map inside of an environment. Holds names only: every call gets its snapshot or batch."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.state = f"{name}.state"
        self.buckets = f"{name}.buckets"
        self.nodes = f"{name}.nodes"

    @property
    def tables(self) -> tuple[str, ...]:
        """What `KeyValueStore.open` must be told."""
        return (self.state, self.buckets, self.nodes)

    def get(self, reader: Reader, key: bytes) -> bytes | None:
        """Value of a key, or None."""
        return reader.get(self.state, key)

    def root(self, reader: Reader) -> Digest:
        """Root of the map as stored."""
        page = reader.get(self.nodes, _page_key(0, 0))
        return EMPTY_ROOT if page is None else root_of_top(page[_TOP])

    def compute_root(self, reader: Reader, changes: Changes) -> tuple[Digest, MapDelta]:
        """The root after `changes` (None deletes) and what must be written to get there. Writes nothing."""
        base_root = self.root(reader)
        buckets, tops = self._changed_buckets(reader, changes)
        pages = self._changed_pages(reader, tops)
        root = root_of_top(pages[_page_key(0, 0)][_TOP]) if pages else base_root
        return root, MapDelta(base_root, root, dict(changes), buckets, pages)

    def apply(self, txn: WriteTxn, delta: MapDelta) -> None:
        """Write a delta; `Bug` when the map is not the one it was computed from."""
        if self.root(txn) != delta.base_root:
            raise Bug("a map delta was computed from another root")
        for table, entries in ((self.state, delta.values), (self.buckets, delta.buckets), (self.nodes, delta.pages)):
            for key, value in entries.items():
                if value is None or (table == self.buckets and not value):
                    txn.delete(table, key)
                else:
                    txn.put(table, key, value)

    def update(self, txn: WriteTxn, changes: Changes) -> Digest:
        """Compute and write in one step: the new root."""
        root, delta = self.compute_root(txn, changes)
        self.apply(txn, delta)
        return root

    def prove(self, reader: Reader, key: bytes) -> tuple[bytes | None, MapProof]:
        """The value (None when absent) and its proof under `root`. `StoreCorrupt` when the tables do not agree with each other."""
        path = path_of(key)
        bucket = bucket_of(path)
        leaves = StoredBucket(reader.get(self.buckets, _bucket_key(bucket)) or b"").leaves()
        value = self.get(reader, key)
        proof = map_proof(path, leaves, self._siblings(reader, bucket))
        if not verify_map_proof(self.root(reader), key, value, proof):
            raise StoreCorrupt("the map does not prove its own value", map=self.name, bucket=bucket)
        return value, proof

    def _changed_buckets(self, reader: Reader, changes: Changes) -> tuple[dict[bytes, bytes], dict[int, Digest]]:
        """Each touched bucket once: its new bytes by key, its new hash by number."""
        by_bucket: dict[int, list[tuple[Digest, bytes | None]]] = {}
        for key, value in changes.items():
            path = path_of(key)
            by_bucket.setdefault(bucket_of(path), []).append((path, value))
        buckets: dict[bytes, bytes] = {}
        tops: dict[int, Digest] = {}
        for number in sorted(by_bucket):
            key = _bucket_key(number)
            bucket = StoredBucket(reader.get(self.buckets, key) or b"")
            for path, value in by_bucket[number]:
                if value is None:
                    bucket.remove(path)
                else:
                    bucket.put(path, _sha256(value).digest())
            tops[number] = bucket.seal()
            buckets[key] = bucket.encode()
        return buckets, tops

    def _changed_pages(self, reader: Reader, tops: Mapping[int, Digest]) -> dict[bytes, bytes]:
        """Each touched page once, from the buckets upwards; the last one is the top page."""
        pages: dict[bytes, bytes] = {}
        for row in reversed(range(PAGE_ROWS)):
            above: dict[int, Digest] = {}
            for number, places in _by_page(tops).items():
                key = _page_key(row, number)
                page = bytearray(reader.get(self.nodes, key) or _EMPTY_PAGES[row])
                _refresh_page(page, places)
                pages[key] = bytes(page)
                above[number] = bytes(page[_TOP])
            tops = above
        return pages

    def _siblings(self, reader: Reader, bucket: int) -> list[Digest]:
        siblings: list[Digest] = []
        position = bucket
        for row in reversed(range(PAGE_ROWS)):
            number, place = position >> PAGE_LEVELS, PAGE_WIDTH | position % PAGE_WIDTH
            page = reader.get(self.nodes, _page_key(row, number)) or _EMPTY_PAGES[row]
            while place > 1:
                siblings.append(page[(place ^ 1) * HASH_BYTES : ((place ^ 1) + 1) * HASH_BYTES])
                place >>= 1
            position = number
        return siblings


def _bucket_key(number: int) -> bytes:
    return number.to_bytes(2, "big")


def _page_key(row: int, number: int) -> bytes:
    return bytes((row, number >> 8, number & 255))


def _by_page(tops: Mapping[int, Digest]) -> dict[int, list[tuple[int, Digest]]]:
    """Hashes by the page that holds them: page number -> (place in the page, hash)."""
    pages: dict[int, list[tuple[int, Digest]]] = {}
    for number, top in tops.items():
        pages.setdefault(number >> PAGE_LEVELS, []).append((PAGE_WIDTH | number % PAGE_WIDTH, top))
    return pages


def _refresh_page(page: bytearray, places: Sequence[tuple[int, Digest]]) -> None:
    """Set the bottom places and compute again only what stands above them."""
    for place, top in places:
        page[place * HASH_BYTES : (place + 1) * HASH_BYTES] = top
    if len(places) == 1:  # most pages of the last row: no set of places on the way up
        above: Collection[int] = (places[0][0] >> 1,)
    else:
        above = {place >> 1 for place, _ in places}
    for _ in range(PAGE_LEVELS):
        for place in above:
            at = place * HASH_BYTES
            page[at : at + HASH_BYTES] = _sha256(b"\x01" + page[2 * at : 2 * at + 2 * HASH_BYTES]).digest()
        above = (place >> 1,) if len(above) == 1 else {place >> 1 for place in above}


def _empty_page(row: int) -> bytes:
    bottom_height = (PAGE_ROWS - 1 - row) * PAGE_LEVELS
    tops = (EMPTY_HASHES[bottom_height + PAGE_LEVELS + 1 - place.bit_length()] for place in range(1, 2 * PAGE_WIDTH))
    return bytes(HASH_BYTES) + b"".join(tops)


_EMPTY_PAGES = tuple(_empty_page(row) for row in range(PAGE_ROWS))
"""A page of each row when nothing is below it."""
