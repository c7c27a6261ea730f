"""Key-value tables in one LMDB environment: read snapshots and one atomic batch at a time.

A batch is collected in memory and handed to LMDB in one short transaction at the end. Holding LMDB's own write transaction open
instead would be simpler, but then a full map could not be answered by growing it and writing the batch again: the batch must be
there to be repeated. It also keeps the write lock away from slow callers, and an exception leaves nothing to clean up.

Growing the map is only legal while no transaction of this process is open. So the store grows early, when it is half full and no
snapshot is open; a batch that meets a full map under an open snapshot fails by name with nothing written.

One process owns a folder (a lock file says so): batches are read-modify-write over a snapshot, and a second writer would lose
updates without a word.

LMDB keeps no checksums, so every row ends in one over its table, key and value, and every read compares it: a damaged row is
`StoreCorrupt`, never other bytes. What a checksum of rows cannot see (a row that is missing, pages that point elsewhere) `check.py` finds
before a store is opened. A store knows whose it is: files of another node or another folder are refused by name, not read.
"""

from __future__ import annotations

import os
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, Self

import lmdb

from hce.foundation.store.blame import damage_named, open_damage_named
from hce.foundation.store.disk import PRIVATE_FILE, make_directory, sync_directory, take_ownership
from hce.foundation.store.errors import (
    DiskFull,
    KeyUnfit,
    ReadersOpen,
    StoreBusy,
    StoreCorrupt,
    StoreForeign,
    UnknownFormat,
)
from hce.foundation.types.errors import Bug

FORMAT = b"hce/kv/2"
"""Stamp of this layout, under FORMAT_KEY of the table META."""
FIRST_FORMAT = b"hce/kv/1"
"""Stamp of the layout before, whose rows carried no checksums: not damaged, and not ours to remove."""
FORMAT_KEY = b"format"
IDENTITY_KEY = b"identity"
"""Beside it: whose store this is."""
DATA_FILE = "data.mdb"
CHECK_BYTES = 4
"""CRC-32 at the end of each row: tells damage, not forgery. Whoever may write here may write anything."""
META = "meta"

MAX_KEY_BYTES = 511
"""LMDB's bound (its compile-time default)."""
DEFAULT_MAP_BYTES = 1 << 30
"""First size of the map: address space, not disk."""
DEFAULT_MAX_MAP_BYTES = 1 << 40
"""The map never grows beyond this."""
MAX_READERS = 512
"""Snapshots open at one time, over all threads."""

Commit = Callable[[Any], None]
"""Makes an LMDB transaction durable; tests stop the process before or after it."""


def commit_durably(transaction: Any) -> None:
    """LMDB flushes data and meta page before this returns (sync and metasync are on)."""
    transaction.commit()


Pairs = Iterator[tuple[bytes, bytes]]
"""(key, value), ascending by key."""


class Reader(Protocol):
    """What a reader of tables needs: a snapshot, or a batch that sees its own writes."""

    def get(self, table: str, key: bytes) -> bytes | None: ...


class ReadTxn:
    """One snapshot. Values are copies and outlive it; a scan does not."""

    def __init__(self, transaction: Any, handles: dict[str, Any]) -> None:
        self._transaction = transaction
        self._handles = handles

    def get(self, table: str, key: bytes) -> bytes | None:
        """The value, or None when absent. `StoreCorrupt` when it is not what was written."""
        row: bytes | None = self._transaction.get(_fit(key), db=self._handles[table])
        return None if row is None else value_of(table, key, row)

    def scan(self, table: str, prefix: bytes = b"", start: bytes | None = None, limit: int | None = None) -> Pairs:
        """Pairs whose key begins with `prefix`, ascending, from the first key >= start, at most `limit`."""
        return islice(self._walk(table, prefix, start), limit)

    def count(self, table: str) -> int:
        """Keys in a table."""
        entries: int = self._transaction.stat(self._handles[table])["entries"]
        return entries

    def _walk(self, table: str, prefix: bytes, start: bytes | None) -> Pairs:
        first = max(prefix, start or b"")
        with self._transaction.cursor(db=self._handles[table]) as cursor:
            found = cursor.set_range(first) if first else cursor.first()
            if not found:
                return
            for key, value in cursor.iternext():
                if not key.startswith(prefix):
                    return
                yield key, value_of(table, key, value)


class WriteTxn:
    """One batch: reads see its own writes over the snapshot it began with."""

    def __init__(self, snapshot: ReadTxn, tables: tuple[str, ...]) -> None:
        self._snapshot = snapshot
        self.changes: dict[str, dict[bytes, bytes | None]] = {table: {} for table in tables}
        """What the batch writes, by table; None deletes."""

    def get(self, table: str, key: bytes) -> bytes | None:
        """The value as this batch leaves it, or None when absent."""
        changed = self.changes[table]
        return changed[key] if key in changed else self._snapshot.get(table, key)

    def put(self, table: str, key: bytes, value: bytes) -> None:
        self.changes[table][_fit(key)] = bytes(value)

    def delete(self, table: str, key: bytes) -> None:
        """Deleting an absent key changes nothing."""
        self.changes[table][_fit(key)] = None

    def scan(self, table: str, prefix: bytes = b"", start: bytes | None = None, limit: int | None = None) -> Pairs:
        """As `ReadTxn.scan`, this batch's changes up to now included."""
        return islice(self._merge(table, prefix, start), limit)

    def _merge(self, table: str, prefix: bytes, start: bytes | None) -> Pairs:
        first = max(prefix, start or b"")
        changed = self.changes[table]
        mine = sorted((key for key in changed if key >= first and key.startswith(prefix)), reverse=True)
        for key, value in self._snapshot.scan(table, prefix, start):
            while mine and mine[-1] < key:
                yield from _present(mine[-1], changed[mine.pop()])
            if mine and mine[-1] == key:
                yield from _present(key, changed[mine.pop()])
            else:
                yield key, value
        while mine:
            yield from _present(mine[-1], changed[mine.pop()])


class KeyValueStore:
    """Named tables in one folder. Open it with `KeyValueStore.open`."""

    def __init__(self, name: str, environment: Any, owner: int, handles: dict[str, Any], max_map_size: int, commit: Commit) -> None:
        self._name = name
        """Of the folder, for errors."""
        self._environment = environment
        self._owner = owner
        self._handles = handles
        self._tables = tuple(handles)
        self._max_map_size = max_map_size
        self._commit = commit
        self._gate = threading.Lock()
        """Guards `_open_readers` against growth of the map."""
        self._open_readers = 0
        self.damaged = False
        """Whether damage was met since the store was opened."""
        self._writing = threading.RLock()
        self._batch_open = False

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        tables: tuple[str, ...],
        identity: bytes = b"",
        map_size: int = DEFAULT_MAP_BYTES,
        max_map_size: int = DEFAULT_MAX_MAP_BYTES,
        commit: Commit = commit_durably,
    ) -> Self:
        """Open or create the store in `path`. `StoreBusy`, `UnknownFormat`, `StoreForeign` or `StoreCorrupt` say why it cannot be.

        `identity` says whose store this is, in any bytes; one that was made under another is refused.
        """
        make_directory(path)
        owner = _lock_folder(path)
        try:
            environment = _open_environment(path, map_size, len(tables) + 1)
            try:
                with damage_named(path.name):
                    _check_format(environment, path.name, identity)
                    handles = {table: environment.open_db(table.encode()) for table in tables}
                sync_directory(path)
            except BaseException:
                environment.close()
                raise
        except BaseException:
            os.close(owner)
            raise
        return cls(path.name, environment, owner, handles, max_map_size, commit)

    def close(self) -> None:
        """Close the files. A second call does nothing."""
        self._environment.close()
        if self._owner >= 0:
            os.close(self._owner)
            self._owner = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def read(self) -> Iterator[ReadTxn]:
        """A snapshot. Close it soon: pages it can see are not reused, and the map cannot grow."""
        with self._gate:
            self._open_readers += 1
        try:
            with damage_named(self._name), self._environment.begin() as transaction:
                yield ReadTxn(transaction, self._handles)
        except StoreCorrupt:
            self.damaged = True
            raise
        finally:
            with self._gate:
                self._open_readers -= 1

    @contextmanager
    def write(self) -> Iterator[WriteTxn]:
        """One batch: durable when the block ends without error, nothing written when it raises. Other threads wait their turn."""
        with self._writing:
            if self._batch_open:
                raise Bug("a batch inside of a batch")
            self._batch_open = True
            try:
                with self.read() as snapshot:
                    batch = WriteTxn(snapshot, self._tables)
                    yield batch
                self._write(batch.changes)
            finally:
                self._batch_open = False

    @property
    def open_readers(self) -> int:
        """Snapshots open now; one that stays is a leak."""
        return self._open_readers

    @property
    def map_size(self) -> int:
        """Bytes the map may take before it grows."""
        size: int = self._environment.info()["map_size"]
        return size

    def _write(self, changes: dict[str, dict[bytes, bytes | None]]) -> None:
        if not any(changes.values()):
            return
        self._grow_early()
        while not self._try_write(changes):
            self._grow()

    def _try_write(self, changes: dict[str, dict[bytes, bytes | None]]) -> bool:
        """Write the batch; False when the map is too small for it."""
        transaction = self._environment.begin(write=True)
        try:
            with damage_named(self._name):
                for table, changed in changes.items():
                    _put_sorted(transaction, table, self._handles[table], changed)
                self._commit(transaction)
        except lmdb.MapFullError:
            transaction.abort()
            return False
        except StoreCorrupt:
            self.damaged = True
            transaction.abort()
            raise
        except BaseException:
            transaction.abort()
            raise
        return True

    def _grow_early(self) -> None:
        used = (self._environment.info()["last_pgno"] + 1) * self._environment.stat()["psize"]
        if used * 2 > self.map_size and self.map_size < self._max_map_size and not self._open_readers:
            self._grow()

    def _grow(self) -> None:
        """Double the map, at most to its bound."""
        with self._gate:
            if self._open_readers:
                raise ReadersOpen(open_readers=self._open_readers)
            size = self.map_size
            if size >= self._max_map_size:
                raise DiskFull("the store has its greatest size", max_map_bytes=self._max_map_size)
            self._environment.set_mapsize(min(size * 2, self._max_map_size))


def copy_store(source: Path, target: Path) -> None:
    """Copies one snapshot of a store into the folder `target`, also while its owner writes; free pages stay behind.

    `StoreCorrupt`, `DiskFull`.
    """
    make_directory(target)
    with (
        damage_named(source.name),
        lmdb.open(str(source), readonly=True, create=False, map_size=DEFAULT_MAX_MAP_BYTES) as environment,
    ):
        environment.copy(str(target), compact=True)


def value_of(table: str, key: bytes, row: bytes) -> bytes:
    """The value of a row as it lies on disk; `StoreCorrupt` when its checksum does not fit."""
    value = row[:-CHECK_BYTES]
    if row[-CHECK_BYTES:] != _check(table, key, value):
        raise StoreCorrupt("a row is not what was written", table=table)
    return value


def row_of(table: str, key: bytes, value: bytes) -> bytes:
    """What lies on disk for a value."""
    return value + _check(table, key, value)


def _check(table: str, key: bytes, value: bytes) -> bytes:
    return zlib.crc32(value, zlib.crc32(key, zlib.crc32(table.encode()))).to_bytes(CHECK_BYTES, "big")


def _fit(key: bytes) -> bytes:
    if not 0 < len(key) <= MAX_KEY_BYTES:
        raise KeyUnfit(actual_bytes=len(key), max_bytes=MAX_KEY_BYTES)
    return key


def _present(key: bytes, value: bytes | None) -> Pairs:
    if value is not None:
        yield key, value


def _put_sorted(transaction: Any, table: str, handle: Any, changed: dict[bytes, bytes | None]) -> None:
    """Ascending order touches each page once."""
    for key in sorted(changed):
        value = changed[key]
        if value is None:
            transaction.delete(key, db=handle)
        else:
            transaction.put(key, row_of(table, key, value), db=handle)


def _lock_folder(path: Path) -> int:
    descriptor = os.open(path / "owner.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE_FILE)
    try:
        take_ownership(descriptor, path.name)
    except StoreBusy:
        os.close(descriptor)
        raise
    return descriptor


def _open_environment(path: Path, map_size: int, max_tables: int) -> Any:
    with open_damage_named(path.name, map_size):
        environment = lmdb.open(str(path), map_size=map_size, max_dbs=max_tables, max_readers=MAX_READERS, mode=PRIVATE_FILE)
    environment.reader_check()  # slots of a killed process would pin old pages for ever
    return environment


def _check_format(environment: Any, folder: str, identity: bytes) -> None:
    """Stamp a new store; refuse one with another stamp or none. A stamp that is not what was written is damage."""
    new = environment.stat()["entries"] == 0
    meta = environment.open_db(META.encode())
    with environment.begin(write=new) as transaction:
        if new:
            for key, value in ((FORMAT_KEY, FORMAT), (IDENTITY_KEY, identity)):
                transaction.put(key, row_of(META, key, value), db=meta)
            return
        stamp, owner = (transaction.get(key, db=meta) for key in (FORMAT_KEY, IDENTITY_KEY))
    actual = stamp if stamp in (None, FIRST_FORMAT) else value_of(META, FORMAT_KEY, stamp)
    if actual != FORMAT:
        raise UnknownFormat(expected=FORMAT, actual=actual)
    if owner is None or value_of(META, IDENTITY_KEY, owner) != identity:
        raise StoreForeign(folder=folder)
