"""Block store: opaque blobs (ciphertext, shards) under their CIDs, appended to large files.

    pack-00000000.hcp   records, at most `max_pack_bytes` each file
    record              magic "hceP" | length u32 | CID 36 | CRC-32 of the header so far | payload
    index/              LMDB: CID -> place; pack -> indexed end; dead place -> length

Appending beats one file for each blob (no inode, one flush for a batch), and beats blobs in LMDB (no copy of pages, no growth).

`put_many` appends, flushes the packs (and the directory when one is new), then commits the index. The caller is told after that, so
whatever lies behind the indexed end of a pack was promised to nobody: opening takes over whole records there and cuts the rest.

The index is derived: one that is damaged, lost, or not this folder's is made anew from the packs, where each record says its name.
Then forgotten blobs are known again; they are what their names say, and whoever forgot them forgets them again or leaves them.

The CID is the checksum: verified when bytes come in and on every read, never optional.

`delete` only forgets: the bytes stay in the pack as dead space until packs are compacted, which this version does not do.
`dead_bytes` tells how much. Erasing what the bytes mean is the work of keys, not of this store.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import struct
import threading
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple, Self

from hce.foundation.codec.cid import cid_of_raw, is_named
from hce.foundation.store.disk import PRIVATE_FILE, Sync, is_full, make_directory, sync_directory, write_all
from hce.foundation.store.errors import BlobCorrupt, BlobNotFound, BlobTooLarge, CidMismatch, DiskFull, WriteFailed
from hce.foundation.store.kv import DEFAULT_MAP_BYTES, Commit, KeyValueStore, WriteTxn, commit_durably
from hce.foundation.types.errors import Corrupt
from hce.foundation.types.scalars import Cid

log = logging.getLogger("hce.store")

MAGIC = b"hceP"
_HEADER = struct.Struct(">4sI36s")
_CHECK = struct.Struct(">I")
HEADER_BYTES = _HEADER.size + _CHECK.size
DEFAULT_MAX_BLOB_BYTES = 4 * 1024 * 1024
DEFAULT_MAX_PACK_BYTES = 64 * 1024 * 1024
"""A pack takes no more records once the next would pass this; one larger record gets a pack of its own."""

_NAME = re.compile(r"pack-(\d{8})\.hcp")
_LIVE, _ENDS, _DEAD = "live", "ends", "dead"


class _Place(NamedTuple):
    """Where a record begins, and the length of its payload."""

    pack: int
    offset: int
    length: int

    @property
    def end(self) -> int:
        return self.offset + HEADER_BYTES + self.length


_PLACE = struct.Struct(">IQI")
_PACK = struct.Struct(">I")
_END = struct.Struct(">Q")
_DEAD_KEY = struct.Struct(">IQ")


class PackStore:
    """Blobs by CID in one folder, one writer. Open it with `PackStore.open`."""

    def __init__(self, folder: Path, index: KeyValueStore, max_blob_bytes: int, max_pack_bytes: int, sync: Sync) -> None:
        self._folder = folder
        self._index = index
        self._max_blob_bytes = max_blob_bytes
        self._max_pack_bytes = max_pack_bytes
        self._sync = sync
        self._pack = 0
        self._end = 0
        self._failed = False
        self._writing = threading.Lock()

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        max_blob_bytes: int = DEFAULT_MAX_BLOB_BYTES,
        max_pack_bytes: int = DEFAULT_MAX_PACK_BYTES,
        identity: bytes = b"packs",
        map_size: int = DEFAULT_MAP_BYTES,
        sync: Sync = os.fsync,
        commit: Commit = commit_durably,
    ) -> Self:
        """Open or create the store in `path`, torn tails cut. `identity`: whose index it is.

        Cost: reads what was appended after the last index commit; every pack, when the index has to be made anew.
        """
        make_directory(path, sync)
        tables = partial(
            KeyValueStore.open, path / "index", tables=(_LIVE, _ENDS, _DEAD), identity=identity, map_size=map_size, commit=commit
        )
        try:
            return cls._open(path, tables(), max_blob_bytes, max_pack_bytes, sync)
        except Corrupt as error:
            log.error("the index of the packs is made anew: %s", error.code)
            shutil.rmtree(path / "index")
            return cls._open(path, tables(), max_blob_bytes, max_pack_bytes, sync)

    @classmethod
    def _open(cls, path: Path, index: KeyValueStore, max_blob_bytes: int, max_pack_bytes: int, sync: Sync) -> Self:
        store = cls(path, index, max_blob_bytes, max_pack_bytes, sync)
        try:
            store._recover()
        except BaseException:
            store.close()
            raise
        return store

    def close(self) -> None:
        """Close the index. A second call does nothing."""
        self._index.close()

    @property
    def damaged(self) -> bool:
        """Whether the index met damage since it was opened: opened again, it is made anew."""
        return self._index.damaged

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def put(self, cid: Cid, blob: bytes) -> None:
        """`put_many` of one."""
        self.put_many([(cid, blob)])

    def put_many(self, blobs: Sequence[tuple[Cid, bytes]]) -> None:
        """Keep all blobs, durable on return; known ones are skipped. One flush for each touched pack.

        An error keeps none of them. A crash may keep some: each is whole and checked, or absent.
        """
        for cid, blob in blobs:
            self._check_blob(cid, blob)
        with self._writing:
            if self._failed:
                raise WriteFailed("an earlier flush of this block store failed; open it again")
            known = self.known([cid for cid, _ in blobs])
            fresh = {cid: blob for cid, blob in blobs if cid not in known}
            if not fresh:
                return
            try:
                places = self._append(fresh)
            except OSError as error:
                raise (DiskFull() if is_full(error) else WriteFailed()) from error
            with self._index.write() as txn:
                _enter(txn, places)
            # Last, so that a failure above leaves the end where it was: the next records overwrite what it left behind.
            last = max(places.values())
            self._pack, self._end = last.pack, last.end

    def get(self, cid: Cid) -> bytes:
        """The blob, checked against its CID; `BlobNotFound`, or `BlobCorrupt` when the disk gave other bytes."""
        place = self._place(cid)
        if place is None:
            raise BlobNotFound(cid=cid)
        try:
            with self._opened(place.pack) as descriptor:
                record = os.pread(descriptor, HEADER_BYTES + place.length, place.offset)
        except OSError as error:
            raise BlobCorrupt("its pack cannot be read", cid=cid, pack=place.pack) from error
        header, blob = record[:HEADER_BYTES], record[HEADER_BYTES:]
        if header != _header(cid, place.length) or not is_named(cid, blob):
            raise BlobCorrupt(cid=cid, pack=place.pack, offset=place.offset)
        return blob

    def has(self, cid: Cid) -> bool:
        """Whether the index knows the blob. Does not look at the bytes: `get` does."""
        return self._place(cid) is not None

    def known(self, cids: Sequence[Cid]) -> set[Cid]:
        """Those of the names that `has` is true of."""
        with self._index.read() as txn:
            return {cid for cid in cids if txn.get(_LIVE, cid) is not None}

    def delete(self, cid: Cid) -> None:
        """Forget a blob; its bytes become dead space. `BlobNotFound` when there is none."""
        place = self._place(cid)
        if place is None:
            raise BlobNotFound(cid=cid)
        with self._index.write() as txn:
            txn.delete(_LIVE, cid)
            txn.put(_DEAD, _DEAD_KEY.pack(place.pack, place.offset), _END.pack(place.length))

    def find_again(self) -> int:
        """Looks through all packs for whole copies of blobs whose place in the index is bad; how many were found.

        A pack that was put back from earlier holds blobs where they were then. Cost: reads and hashes every pack.
        """
        found: dict[Cid, _Place] = {}
        for pack in self._packs_on_disk():
            elsewhere = {cid: (self._place(cid), place) for cid, place in self._adopt_all(pack).items()}
            found |= {cid: place for cid, (known, place) in elsewhere.items() if known is not None and known != place}
        with self._writing, self._index.write() as txn:
            lost = [cid for cid in found if not self._is_whole(cid)]
            for cid in lost:
                txn.put(_LIVE, cid, _PLACE.pack(*found[cid]))
        return len(lost)

    def _is_whole(self, cid: Cid) -> bool:
        try:
            self.get(cid)
        except (BlobCorrupt, BlobNotFound):
            return False
        return True

    def dead_bytes(self) -> int:
        """Payload bytes that are forgotten and still on disk."""
        with self._index.read() as txn:
            return sum(_END.unpack(length)[0] for _, length in txn.scan(_DEAD))

    def _check_blob(self, cid: Cid, blob: bytes) -> None:
        if len(blob) > self._max_blob_bytes:
            raise BlobTooLarge(actual_bytes=len(blob), max_bytes=self._max_blob_bytes)
        if not is_named(cid, blob):
            raise CidMismatch(expected=cid, actual=cid_of_raw(blob))

    def _place(self, cid: Cid) -> _Place | None:
        with self._index.read() as txn:
            raw = txn.get(_LIVE, cid)
        return None if raw is None else _Place(*_PLACE.unpack(raw))

    def _append(self, blobs: dict[Cid, bytes]) -> dict[Cid, _Place]:
        """Write and flush the records behind the indexed ends; where they went."""
        places = _plan(blobs, self._pack, self._end, self._max_pack_bytes)
        fresh = False
        for pack in sorted({place.pack for place in places.values()}):
            ours = {cid: place for cid, place in places.items() if place.pack == pack}  # one behind the other
            with self._opened(pack, os.O_RDWR | os.O_CREAT) as descriptor:
                fresh |= os.fstat(descriptor).st_size == 0  # also one that was deleted while it was in use
                records = b"".join(_header(cid, place.length) + blobs[cid] for cid, place in ours.items())
                write_all(descriptor, records, min(place.offset for place in ours.values()))
                self._flush(descriptor)
        if fresh:
            sync_directory(self._folder, self._flush)
        return places

    def _flush(self, descriptor: int) -> None:
        try:
            self._sync(descriptor)
        except OSError as error:
            self._failed = True
            raise WriteFailed("flush of a pack") from error

    @contextmanager
    def _opened(self, pack: int, flags: int = os.O_RDONLY) -> Iterator[int]:
        """A pack's file, opened for each use: a node has more packs than a process may hold open."""
        descriptor = os.open(self._folder / _name(pack), flags | os.O_CLOEXEC, PRIVATE_FILE)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _recover(self) -> None:
        """Take over whole records behind the indexed ends, cut what follows them, and stand at the end of the last pack."""
        with self._index.read() as txn:
            ends = {_PACK.unpack(pack)[0]: _END.unpack(end)[0] for pack, end in txn.scan(_ENDS)}
        on_disk = self._packs_on_disk()
        with self._index.write() as txn:
            for pack in sorted(on_disk):
                if ends:
                    _enter(txn, self._adopt_tail(pack, ends.get(pack, 0)))
                else:
                    _enter(txn, self._adopt_all(pack))
                    txn.put(_ENDS, _PACK.pack(pack), _END.pack(self._size(pack)))
        last = max(on_disk | ends.keys(), default=0)
        size = self._size(last) if last in on_disk else 0
        damaged = size < ends.get(last, 0)  # a pack that lost indexed bytes gets no new ones; `get` names each blob it lost
        self._pack, self._end = (last + 1, 0) if damaged else (last, size)

    def _packs_on_disk(self) -> set[int]:
        return {int(match[1]) for entry in self._folder.iterdir() if (match := _NAME.fullmatch(entry.name))}

    def _adopt_all(self, pack: int) -> dict[Cid, _Place]:
        """Every whole record of a pack nobody knows the ends of, past damage too: nothing is cut. The last copy of a name wins."""
        with self._opened(pack) as descriptor:
            return {
                cid: _Place(pack, offset - HEADER_BYTES, length)
                for cid, offset, length in walk_pack(self._folder / _name(pack))
                if length <= self._max_blob_bytes and is_named(cid, os.pread(descriptor, length, offset))
            }

    def _adopt_tail(self, pack: int, start: int) -> dict[Cid, _Place]:
        places: dict[Cid, _Place] = {}
        end, size = start, self._size(pack)
        if size <= start:
            return places
        with self._opened(pack, os.O_RDWR) as descriptor:
            while (found := _record_at(descriptor, end, self._max_blob_bytes)) is not None:
                cid, length = found
                places[cid] = _Place(pack, end, length)
                end += HEADER_BYTES + length
            os.ftruncate(descriptor, end)
            self._flush(descriptor)
        return places

    def _size(self, pack: int) -> int:
        with self._opened(pack) as descriptor:
            return os.fstat(descriptor).st_size


class PackRecord(NamedTuple):
    """A record as it lies in a pack file; its payload may be damaged."""

    cid: Cid
    offset: int
    """Of the payload."""
    length: int


def walk_pack(path: Path) -> Iterator[PackRecord]:
    """The records of one pack file, past damage and holes too; reads and hashes the whole file.

    A record that is not what its name says is no reason to skip what lies in it: another record may have been written over its end,
    as when somebody put a longer file in the place of this one while it was in use.
    """
    content = path.read_bytes()
    offset = content.find(MAGIC)
    while offset >= 0:
        header = content[offset : offset + HEADER_BYTES]
        start = offset + 1
        if len(header) == HEADER_BYTES:
            _, length, cid = _HEADER.unpack(header[: _HEADER.size])
            if header == _header(cid, length):
                start = offset + HEADER_BYTES
                yield PackRecord(cid, start, length)
                if is_named(cid, content[start : start + length]):
                    start += length
        offset = content.find(MAGIC, start)


def _name(pack: int) -> str:
    return f"pack-{pack:08d}.hcp"


def _plan(blobs: dict[Cid, bytes], pack: int, end: int, max_pack_bytes: int) -> dict[Cid, _Place]:
    """Places for the blobs from `end` of `pack` on."""
    places: dict[Cid, _Place] = {}
    for cid, blob in blobs.items():
        record_bytes = HEADER_BYTES + len(blob)
        if end and end + record_bytes > max_pack_bytes:
            pack, end = pack + 1, 0
        places[cid] = _Place(pack, end, len(blob))
        end += record_bytes
    return places


def _record_at(descriptor: int, offset: int, max_blob_bytes: int) -> tuple[Cid, int] | None:
    """CID and payload length of a whole record, None when there is none."""
    header = os.pread(descriptor, HEADER_BYTES, offset)
    if len(header) < HEADER_BYTES:
        return None
    _, length, cid = _HEADER.unpack(header[: _HEADER.size])
    if length > max_blob_bytes or header != _header(cid, length):
        return None
    return (cid, length) if is_named(cid, os.pread(descriptor, length, offset + HEADER_BYTES)) else None


def _enter(txn: WriteTxn, places: dict[Cid, _Place]) -> None:
    """Index records and move the indexed ends behind them. Places of one pack come in ascending order."""
    for cid, place in places.items():
        txn.put(_LIVE, cid, _PLACE.pack(*place))
        txn.put(_ENDS, _PACK.pack(place.pack), _END.pack(place.end))


def _header(cid: Cid, length: int) -> bytes:
    fields = _HEADER.pack(MAGIC, length, cid)
    return fields + _CHECK.pack(zlib.crc32(fields))
