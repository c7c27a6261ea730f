"""The rows of a damaged key-value store that can still be read, asked of a process of its own; and a whole one copied row by row.

As with `check.py`, a damaged page may end whoever follows it. So a child reads table by table in order and hands over each row whose
checksum fits; where it cannot go on it reads from the other end, and where damage ends it another child does. What neither reaches is lost.
A row that comes is one that was written: it may come twice, and it may be one that a later change replaced, if the damage hit the page
that names the newest change.

A child that somebody or the machine ended, and not what it read, has lost nothing: another one reads the same again. If that does not
help, the rows are not called lost but the salvage unfinished, and its caller leaves everything as it is.

    row on the child's standard output = key length u16 | value length u32 | key | value
    with a key length of 0 there is neither: the second number says which table begins, or _END that all were read
"""

from __future__ import annotations

import struct
import subprocess
import sys
import tempfile
from collections.abc import Generator, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import lmdb

from hce.foundation.store.blame import machine_refuses
from hce.foundation.store.check import FAULTS
from hce.foundation.store.disk import PRIVATE_FILE, sync_directory
from hce.foundation.store.errors import DiskFull, SalvageUnfinished, StoreCorrupt
from hce.foundation.store.kv import DATA_FILE, DEFAULT_MAX_MAP_BYTES, value_of

_LENGTHS = struct.Struct(">HI")
MAX_TABLES = 1_000
ROWS_AT_ONCE = 20_000
MAX_TRIES = 4
"""Children that may be ended from outside, over all tables."""
_END = 0xFFFFFFFF
_BOTH, _BACKWARD = "both", "backward"

Row = tuple[str, bytes, bytes]
"""Table, key, value."""


def readable_rows(folder: Path, tables: Sequence[str]) -> Iterator[Row]:
    """Rows of these tables, in no order that holds. Nobody may write to the store meanwhile. `SalvageUnfinished`."""
    left, directions, tries = list(tables), _BOTH, 0
    while left:
        ended = yield from _told(folder, left, directions)
        if ended.by_outside:
            tries += 1
            if tries == MAX_TRIES:
                raise SalvageUnfinished(folder=folder.name, tries=tries, returncode=ended.returncode)
            continue
        if ended.in_table is None:
            return
        # The table that ended the child is read once from its other end, then the others as before.
        read_twice = directions == _BACKWARD and ended.in_table == 0
        left, directions = (left[1:], _BOTH) if read_twice else (left[ended.in_table :], _BACKWARD)


def remake(folder: Path) -> None:
    """Puts a copy of all rows in the place of a store that is whole (`check.py`) and that nobody has open.

    Which pages are free is all that no walk over the rows sees, and LMDB's own copy believes it too. Damaged, it ends every batch, or
    whoever writes one. In a copy made row by row it is derived anew. `DiskFull`, `StoreCorrupt`.
    """
    with tempfile.TemporaryDirectory(dir=folder.parent) as fresh:
        try:
            _copy_rows(folder, Path(fresh))
        except lmdb.DiskError as error:
            raise DiskFull("no room for the copy", folder=folder.name) from error
        except lmdb.Error as error:
            raise StoreCorrupt("LMDB cannot read its files", folder=folder.name) from error
        (Path(fresh) / DATA_FILE).replace(folder / DATA_FILE)
    sync_directory(folder)


def _copy_rows(source: Path, target: Path) -> None:
    size = DEFAULT_MAX_MAP_BYTES
    with (
        lmdb.open(str(source), readonly=True, create=False, max_dbs=MAX_TABLES, map_size=size) as old,
        lmdb.open(str(target), mode=PRIVATE_FILE, max_dbs=MAX_TABLES, map_size=size) as new,
    ):
        with old.begin() as transaction:
            tables = [bytes(name) for name in transaction.cursor().iternext(values=False)]
        for table in tables:
            handle, target_handle = old.open_db(table, create=False), new.open_db(table)
            with old.begin() as transaction:
                rows = transaction.cursor(db=handle).iternext()
                while some := list(islice(rows, ROWS_AT_ONCE)):
                    with new.begin(write=True) as batch:
                        batch.cursor(db=target_handle).putmulti(some, append=True)


class _Ended(NamedTuple):
    """How a child ended."""

    in_table: int | None
    """The number of the table that ended it, None when it read all."""
    by_outside: bool
    """Neither: it says nothing about the files."""
    returncode: int


def _told(folder: Path, tables: Sequence[str], first: str) -> Generator[Row, None, _Ended]:
    """What a child reads, and how it ended."""
    number, to_the_end = 0, False
    with subprocess.Popen(
        [sys.executable, "-m", __name__, str(folder), first, *tables], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as child:
        assert child.stdout is not None
        while len(lengths := child.stdout.read(_LENGTHS.size)) == _LENGTHS.size:
            key_bytes, value_bytes = _LENGTHS.unpack(lengths)
            if key_bytes == 0 and value_bytes == _END:
                to_the_end = True
                break
            if key_bytes == 0:
                number = value_bytes
                continue
            key, value = child.stdout.read(key_bytes), child.stdout.read(value_bytes)
            if len(value) < value_bytes:
                break  # the child ended in the middle
            yield tables[number], key, value
    by_outside = not to_the_end and -child.returncode not in FAULTS
    return _Ended(None if to_the_end else number, by_outside, child.returncode)


def hand_over(folder: Path, first: str, tables: Sequence[str], out: BinaryIO) -> None:
    """What the child does, `first` being how the first table is read. A damaged page may end it."""
    with lmdb.open(str(folder), readonly=True, create=False, max_dbs=MAX_TABLES, map_size=DEFAULT_MAX_MAP_BYTES) as environment:
        for number, table in enumerate(tables):
            out.write(_LENGTHS.pack(0, number))
            out.flush()
            try:
                handle = environment.open_db(table.encode(), create=False)
            except lmdb.Error:
                if machine_refuses(DEFAULT_MAX_MAP_BYTES):
                    raise
                continue
            with environment.begin() as transaction:
                forward = first == _BOTH or number > 0
                if not forward or not _whole(transaction, table, handle, True, out):
                    _whole(transaction, table, handle, False, out)
        out.write(_LENGTHS.pack(0, _END))
        out.flush()


def _whole(transaction: Any, table: str, handle: Any, forward: bool, out: BinaryIO) -> bool:
    """Hands over the rows of a table in one direction; whether it came to the end. Rows that are damaged themselves are passed over."""
    before: bytes | None = None
    try:
        cursor = transaction.cursor(db=handle)
        for key, row in cursor.iternext() if forward else cursor.iterprev():
            if before is not None and (key <= before if forward else key >= before):
                return False
            before = key
            try:
                value = value_of(table, key, row)
            except StoreCorrupt:
                continue
            out.write(_LENGTHS.pack(len(key), len(value)) + key + value)
    except (lmdb.Error, MemoryError):
        if machine_refuses(DEFAULT_MAX_MAP_BYTES):
            raise
        return False
    finally:
        out.flush()
    return True


def main(arguments: Sequence[str]) -> None:
    """A store that cannot be opened at all has no rows to give."""
    folder, first, *tables = arguments
    try:
        hand_over(Path(folder), first, tables, sys.stdout.buffer)
    except (lmdb.Error, MemoryError):
        if machine_refuses(DEFAULT_MAX_MAP_BYTES):
            raise
        sys.stdout.buffer.write(_LENGTHS.pack(0, _END))


if __name__ == "__main__":
    main(sys.argv[1:])
