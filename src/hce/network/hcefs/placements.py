"""What this node knows of where ciphertexts lie: durable tables beside the packs.

    blobs       ciphertext CID + placement CID -> size, k, n, shard CIDs
    shards      CID of an own shard + ciphertext CID + placement CID -> nothing
    manifests   placement CID -> nothing: entered
    awaited     placement CID -> nothing: named by a final block, not seen yet
    marks       "seen" -> height up to which final blocks were looked through

A ciphertext may stand in several placements: whoever knows its name can write a manifest that lies about its shards. So each is kept
beside the others, none replaces another, and the reader takes the first that gives bytes of the right name.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, Self

from msgspec import Struct

from hce.foundation.codec.dagcbor import decode_as, encode
from hce.foundation.erasure.placement import place
from hce.foundation.store.kv import DEFAULT_MAP_BYTES, Commit, KeyValueStore, ReadTxn, commit_durably
from hce.foundation.types.scalars import Cid
from hce.network.hcefs.manifest import Placed

_BLOBS, _SHARDS, _MANIFESTS, _AWAITED, _MARKS = "blobs", "shards", "manifests", "awaited", "marks"
TABLES = (_BLOBS, _SHARDS, _MANIFESTS, _AWAITED, _MARKS)
CID_BYTES = 36
MAX_PLACEMENTS = 8
"""Placements of one ciphertext that a read tries."""
_SEEN = b"seen"


class _Row(Struct, frozen=True, array_like=True):
    size_bytes: int
    k: int
    n: int
    shards: list[Cid]


class OwnShard(NamedTuple):
    """A shard this node should hold."""

    position: bytes
    """Where a walk goes on."""
    placed: Placed
    number: int


class Placements:
    """Tables of one node. Open it with `Placements.open`; one process, any thread."""

    def __init__(self, store: KeyValueStore, chain: bytes, node: int) -> None:
        self._store = store
        self._chain = chain
        self._node = node

    @classmethod
    def open(
        cls, path: Path, *, chain: bytes, node: int, map_size: int = DEFAULT_MAP_BYTES, commit: Commit = commit_durably
    ) -> Self:
        return cls(KeyValueStore.open(path, tables=TABLES, map_size=map_size, commit=commit), chain, node)

    def close(self) -> None:
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def enter(self, placement: bytes, placed: Sequence[Placed]) -> None:
        """Remember a manifest that lies in the packs; durable on return. Entering it again changes nothing."""
        if self.knows(placement):
            return
        with self._store.write() as batch:
            for one in placed:
                batch.put(_BLOBS, one.ciphertext + placement, encode(_Row(one.size_bytes, one.k, one.n, one.shards)))
                number = one.shard_at(self._node)
                if number is not None:
                    batch.put(_SHARDS, one.shards[number] + one.ciphertext + placement, b"")
            batch.put(_MANIFESTS, placement, b"")
            batch.delete(_AWAITED, placement)

    def knows(self, placement: bytes) -> bool:
        """Whether the manifest was entered."""
        with self._store.read() as snapshot:
            return snapshot.get(_MANIFESTS, placement) is not None

    def wants(self, placement: bytes) -> bool:
        """Whether a manifest of that name should lie here: entered, or named by a final block."""
        with self._store.read() as snapshot:
            return snapshot.get(_MANIFESTS, placement) is not None or snapshot.get(_AWAITED, placement) is not None

    def find(self, ciphertext: bytes) -> list[Placed]:
        """Placements of a ciphertext, at most MAX_PLACEMENTS."""
        with self._store.read() as snapshot:
            rows = snapshot.scan(_BLOBS, ciphertext, limit=MAX_PLACEMENTS)
            return [self._placed(ciphertext, raw) for _, raw in rows]

    def find_own(self, shard: bytes) -> list[Placed]:
        """Placements that give this node that shard, at most MAX_PLACEMENTS."""
        with self._store.read() as snapshot:
            keys = [key for key, _ in snapshot.scan(_SHARDS, shard, limit=MAX_PLACEMENTS)]
            return [own.placed for own in self._owned(snapshot, keys)]

    def own_shards(self, after: bytes, limit: int) -> list[OwnShard]:
        """The next shards this node should hold, in a fixed order, after a position (empty at the start)."""
        with self._store.read() as snapshot:
            keys = [key for key, _ in snapshot.scan(_SHARDS, start=_behind(after), limit=limit)]
            return self._owned(snapshot, keys)

    def own_shards_of(self, placement: bytes, placed: Iterable[Placed]) -> list[OwnShard]:
        """Those of one manifest."""
        return [
            OwnShard(one.shards[number] + one.ciphertext + placement, one, number)
            for one in placed
            if (number := one.shard_at(self._node)) is not None
        ]

    def manifests(self, after: bytes, limit: int) -> list[bytes]:
        """The next entered placement CIDs after one (empty at the start)."""
        return self._names(_MANIFESTS, after, limit)

    def expect(self, height: int, placements: Iterable[bytes]) -> None:
        """Final blocks up to `height` were looked through and name these placements; the unknown ones are awaited."""
        with self._store.write() as batch:
            for placement in placements:
                if batch.get(_MANIFESTS, placement) is None:
                    batch.put(_AWAITED, placement, b"")
            batch.put(_MARKS, _SEEN, encode(height))

    def awaited(self, after: bytes, limit: int) -> list[bytes]:
        """The next placements after one (empty at the start) that final blocks name and whose manifest this node has not seen."""
        return self._names(_AWAITED, after, limit)

    @property
    def seen_height(self) -> int:
        """Final blocks up to here were looked through."""
        with self._store.read() as snapshot:
            raw = snapshot.get(_MARKS, _SEEN)
        return 0 if raw is None else decode_as(int, raw)

    def look_again(self) -> None:
        """All final blocks are to be looked through once more: something they name may be lost."""
        with self._store.write() as batch:
            batch.delete(_MARKS, _SEEN)

    def _names(self, table: str, after: bytes, limit: int) -> list[bytes]:
        with self._store.read() as snapshot:
            return [key for key, _ in snapshot.scan(table, start=_behind(after), limit=limit)]

    def _owned(self, snapshot: ReadTxn, keys: list[bytes]) -> list[OwnShard]:
        found = []
        for key in keys:
            ciphertext = key[CID_BYTES : 2 * CID_BYTES]
            raw = snapshot.get(_BLOBS, key[CID_BYTES:])
            placed = None if raw is None else self._placed(ciphertext, raw)
            number = None if placed is None else placed.shard_at(self._node)
            if placed is not None and number is not None:
                found.append(OwnShard(key, placed, number))
        return found

    def _placed(self, ciphertext: bytes, raw: bytes) -> Placed:
        row = decode_as(_Row, raw)
        nodes = place(self._chain, ciphertext, row.k, len(row.shards) - row.k, row.n)
        return Placed(ciphertext, row.size_bytes, row.k, row.n, row.shards, nodes)


def _behind(position: bytes) -> bytes | None:
    """The first key after a position."""
    return position + b"\x00" if position else None
