"""What this node knows of where ciphertexts lie: durable tables beside the packs.

    blobs       ciphertext CID + placement CID -> size, k, n, shard CIDs
    shards      CID of an own shard + ciphertext CID + placement CID -> nothing
    manifests   placement CID -> nothing: entered
    awaited     placement CID -> height of the final block that names it: not seen yet
    held        placement CID -> organisation, height, bytes, ciphertext CIDs: entered, not named by a final block yet
    due         height + placement CID of those -> nothing
    owing       organisation -> bytes of those
    named       "c" + ciphertext CID, or "s" + CID of an own shard, + height + ciphertext CID + placement CID -> nothing:
                named by the final block of that height
    marks       "seen" -> height up to which final blocks were looked through

A ciphertext may stand in several placements: whoever knows its name can write a manifest that lies about its shards. So each is kept
beside the others, none replaces another, and the reader takes the first that gives bytes of the right name. Those of final blocks are
tried first, the oldest before all: nobody but its author knows a ciphertext's name before its record is final. The others cost
nothing but a signature, so their bytes are counted for each organisation and they are dropped when no block named them in time.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple, Self

from msgspec import Struct

from hce.foundation.codec.dagcbor import decode_as, encode
from hce.foundation.erasure.placement import place
from hce.foundation.store.kv import DEFAULT_MAP_BYTES, Commit, KeyValueStore, Reader, ReadTxn, WriteTxn, commit_durably
from hce.foundation.types.errors import Corrupt
from hce.foundation.types.scalars import Cid
from hce.network.hcefs.manifest import Placed

_BLOBS, _SHARDS, _MANIFESTS, _AWAITED, _MARKS = "blobs", "shards", "manifests", "awaited", "marks"
_HELD, _DUE, _OWING, _NAMED = "held", "due", "owing", "named"
TABLES = (_BLOBS, _SHARDS, _MANIFESTS, _AWAITED, _HELD, _DUE, _OWING, _NAMED, _MARKS)
CID_BYTES = 36
MAX_PLACEMENTS = 8
"""Placements of one ciphertext that a read tries."""
_SEEN = b"seen"
_HEIGHT_BYTES = 8
_OF_CIPHERTEXT, _OF_SHARD = b"c", b"s"

log = logging.getLogger("hce.hcefs")


class _Row(Struct, frozen=True, array_like=True):
    size_bytes: int
    k: int
    n: int
    shards: list[Cid]


class Holder(NamedTuple):
    """For whom a manifest is kept that no final block names yet."""

    org_id: bytes
    height: int
    """Of the newest final block when it came."""
    size_bytes: int
    """What it counts for."""


class _Held(Struct, frozen=True, array_like=True):
    org_id: bytes
    height: int
    size_bytes: int
    ciphertexts: list[Cid]


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
        """Tables that are damaged or another node's are made anew: all they hold follows from final blocks and from the packs.

        What was not named by a final block yet is forgotten with them; when it is, it is awaited like what was missed.
        """
        identity = b"placements" + chain + bytes([node])
        opened = partial(KeyValueStore.open, path, tables=TABLES, identity=identity, map_size=map_size, commit=commit)
        try:
            return cls(opened(), chain, node)
        except Corrupt as error:
            log.error("the tables of placements are made anew: %s", error.code)
            shutil.rmtree(path)
            return cls(opened(), chain, node)

    @property
    def damaged(self) -> bool:
        """Whether damage was met since the tables were opened."""
        return self._store.damaged

    def close(self) -> None:
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def enter(self, placement: bytes, placed: Sequence[Placed], holder: Holder | None = None) -> None:
        """`enter_all` of one."""
        self.enter_all([(placement, placed, holder)])

    def enter_all(self, manifests: Iterable[tuple[bytes, Sequence[Placed], Holder | None]]) -> None:
        """Remember manifests that lie in the packs; durable on return. Entering one again changes nothing.

        With a holder it may be dropped unless a final block names it; entering it again begins that time anew.
        """
        with self._store.write() as batch:
            for placement, placed, holder in manifests:
                self._enter(batch, placement, placed, holder)

    def _enter(self, batch: WriteTxn, placement: bytes, placed: Sequence[Placed], holder: Holder | None) -> None:
        held = _held(batch, placement)
        if held is None and batch.get(_MANIFESTS, placement) is not None:
            return
        for one in placed:
            batch.put(_BLOBS, one.ciphertext + placement, encode(_Row(one.size_bytes, one.k, one.n, one.shards)))
            number = one.shard_at(self._node)
            if number is not None:
                batch.put(_SHARDS, one.shards[number] + one.ciphertext + placement, b"")
        batch.put(_MANIFESTS, placement, b"")
        if held is not None:
            _release(batch, placement, held)
        named_at = batch.get(_AWAITED, placement)
        ciphertexts = [one.ciphertext for one in placed]
        if named_at is not None or holder is None:
            batch.delete(_AWAITED, placement)
            self._name(batch, placement, ciphertexts, named_at or bytes(_HEIGHT_BYTES))
        else:
            _hold(batch, placement, _Held(*holder, ciphertexts))

    def is_named(self, placement: bytes) -> bool:
        """Whether a final block that was looked through names it."""
        with self._store.read() as snapshot:
            entered = snapshot.get(_MANIFESTS, placement) is not None and snapshot.get(_HELD, placement) is None
            return entered or snapshot.get(_AWAITED, placement) is not None

    def held_bytes(self, org_id: bytes, without: bytes | None = None) -> int:
        """Bytes kept for an organisation that no final block names, not counting one placement (None: all)."""
        with self._store.read() as snapshot:
            held = None if without is None else _held(snapshot, without)
            return _owing(snapshot, org_id) - (held.size_bytes if held is not None and held.org_id == org_id else 0)

    def overdue(self, height: int, limit: int) -> list[bytes]:
        """Manifests that came below that height and that no final block names, oldest first."""
        with self._store.read() as snapshot:
            keys = [key for key, _ in snapshot.scan(_DUE, limit=limit)]
        return [key[_HEIGHT_BYTES:] for key in keys if int.from_bytes(key[:_HEIGHT_BYTES], "big") < height]

    def drop(self, placement: bytes, height: int) -> list[bytes]:
        """Forget a manifest that is `overdue`; names in the packs that nothing here needs any more."""
        with self._store.write() as batch:
            held = _held(batch, placement)
            if held is None or held.height >= height:
                return []
            freed = {placement}
            for ciphertext in held.ciphertexts:
                shard = self._own_shard(batch.get(_BLOBS, ciphertext + placement), ciphertext)
                if shard is not None:
                    batch.delete(_SHARDS, shard + ciphertext + placement)
                    freed.add(shard)
                batch.delete(_BLOBS, ciphertext + placement)
            batch.delete(_MANIFESTS, placement)
            _release(batch, placement, held)
            return [
                cid for cid in freed if not any(True for _ in batch.scan(_SHARDS, cid, limit=1)) and not _is_entered(batch, cid)
            ]

    def knows(self, placement: bytes) -> bool:
        """Whether the manifest was entered."""
        with self._store.read() as snapshot:
            return snapshot.get(_MANIFESTS, placement) is not None

    def wants(self, placement: bytes) -> bool:
        """Whether a manifest of that name should lie here: entered, or named by a final block."""
        with self._store.read() as snapshot:
            return snapshot.get(_MANIFESTS, placement) is not None or snapshot.get(_AWAITED, placement) is not None

    def find(self, ciphertext: bytes) -> list[Placed]:
        """Placements of a ciphertext, at most MAX_PLACEMENTS: those that final blocks named, oldest first, before the others."""
        with self._store.read() as snapshot:
            keys = self._first_keys(snapshot, _OF_CIPHERTEXT, ciphertext, _BLOBS, 0)
            rows = [snapshot.get(_BLOBS, key) for key in keys]
            return [self._placed(ciphertext, raw) for raw in rows if raw is not None]

    def find_own(self, shard: bytes) -> list[Placed]:
        """Placements that give this node that shard, at most MAX_PLACEMENTS, in the order of `find`."""
        with self._store.read() as snapshot:
            keys = self._first_keys(snapshot, _OF_SHARD, shard, _SHARDS, CID_BYTES)
            return [own.placed for own in self._owned(snapshot, [shard + key for key in keys])]

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
                at, held = height.to_bytes(_HEIGHT_BYTES, "big"), _held(batch, placement)
                if batch.get(_MANIFESTS, placement) is None:
                    batch.put(_AWAITED, placement, at)
                elif held is not None:
                    _release(batch, placement, held)
                    self._name(batch, placement, held.ciphertexts, at)
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

    def _name(self, batch: WriteTxn, placement: bytes, ciphertexts: Iterable[bytes], height: bytes) -> None:
        for ciphertext in ciphertexts:
            blob = ciphertext + placement
            batch.put(_NAMED, _OF_CIPHERTEXT + ciphertext + height + blob, b"")
            shard = self._own_shard(batch.get(_BLOBS, blob), ciphertext)
            if shard is not None:
                batch.put(_NAMED, _OF_SHARD + shard + height + blob, b"")

    def _own_shard(self, raw: bytes | None, ciphertext: bytes) -> bytes | None:
        """CID of the shard that a row of `blobs` gives this node."""
        placed = None if raw is None else self._placed(ciphertext, raw)
        number = None if placed is None else placed.shard_at(self._node)
        return None if placed is None or number is None else placed.shards[number]

    @staticmethod
    def _first_keys(snapshot: ReadTxn, kind: bytes, cid: bytes, table: str, skip: int) -> list[bytes]:
        """Ciphertext CID + placement CID of the placements to try, from those named first; of a table's keys, what follows `skip` bytes."""
        at = len(kind) + CID_BYTES + _HEIGHT_BYTES
        named = [key[at:] for key, _ in snapshot.scan(_NAMED, kind + cid, limit=MAX_PLACEMENTS)]
        all_ = [key[skip:] for key, _ in snapshot.scan(table, cid, limit=2 * MAX_PLACEMENTS)]
        return list(dict.fromkeys([*named, *all_]))[:MAX_PLACEMENTS]

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


def _is_entered(tables: Reader, placement: bytes) -> bool:
    return tables.get(_MANIFESTS, placement) is not None


def _held(tables: Reader, placement: bytes) -> _Held | None:
    raw = tables.get(_HELD, placement)
    return None if raw is None else decode_as(_Held, raw)


def _hold(batch: WriteTxn, placement: bytes, held: _Held) -> None:
    batch.put(_HELD, placement, encode(held))
    batch.put(_DUE, held.height.to_bytes(_HEIGHT_BYTES, "big") + placement, b"")
    _owe(batch, held.org_id, held.size_bytes)


def _release(batch: WriteTxn, placement: bytes, held: _Held) -> None:
    batch.delete(_HELD, placement)
    batch.delete(_DUE, held.height.to_bytes(_HEIGHT_BYTES, "big") + placement)
    _owe(batch, held.org_id, -held.size_bytes)


def _owe(batch: WriteTxn, org_id: bytes, size: int) -> None:
    owing = _owing(batch, org_id) + size
    if owing:
        batch.put(_OWING, org_id, encode(owing))
    else:
        batch.delete(_OWING, org_id)


def _owing(tables: Reader, org_id: bytes) -> int:
    raw = tables.get(_OWING, org_id)
    return 0 if raw is None else decode_as(int, raw)


def _behind(position: bytes) -> bytes | None:
    """The first key after a position."""
    return position + b"\x00" if position else None
