"""The rows of a damaged key-value store that can still be read, asked of a process of its own.

As with `check.py`, a damaged page may end whoever follows it. So a child reads one table in order and hands over each row whose checksum
fits; where it ends before the last row, another reads from the other end. What neither reaches is lost. A row that comes is the one that
was written: it may come twice, and it may be one that a later change had replaced, if the damage hit the page that names the newest change.

    row on the child's standard output = key length u16 | value length u32 | key | value
"""

from __future__ import annotations

import struct
import subprocess
import sys
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import lmdb

from hce.foundation.store.errors import StoreCorrupt
from hce.foundation.store.kv import DEFAULT_MAX_MAP_BYTES, value_of

_LENGTHS = struct.Struct(">HI")
_FORWARD, _BACKWARD = "forward", "backward"


def readable_rows(folder: Path, table: str) -> Iterator[tuple[bytes, bytes]]:
    """(key, value) of one table, in no order that holds. Nobody may write to the store meanwhile."""
    if not (yield from _told(folder, table, _FORWARD)):
        yield from _told(folder, table, _BACKWARD)


def _told(folder: Path, table: str, direction: str) -> Generator[tuple[bytes, bytes], None, bool]:
    """What a child reads; returns whether it came to the end."""
    command = [sys.executable, "-m", __name__, str(folder), table, direction]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
        assert child.stdout is not None
        while len(lengths := child.stdout.read(_LENGTHS.size)) == _LENGTHS.size:
            key_bytes, value_bytes = _LENGTHS.unpack(lengths)
            key, value = child.stdout.read(key_bytes), child.stdout.read(value_bytes)
            if len(value) < value_bytes:
                break  # the child ended in the middle
            yield key, value
    return child.returncode == 0


def hand_over(folder: Path, table: str, direction: str, out: BinaryIO) -> None:
    """What the child does. Raises, or ends the process, where the store is damaged; rows that are damaged themselves are passed over."""
    with lmdb.open(str(folder), readonly=True, create=False, max_dbs=1_000, map_size=DEFAULT_MAX_MAP_BYTES) as environment:
        handle = environment.open_db(table.encode(), create=False)
        with environment.begin() as transaction:
            cursor = transaction.cursor(db=handle)
            before: bytes | None = None
            for key, row in cursor.iternext() if direction == _FORWARD else cursor.iterprev():
                if before is not None and (key <= before if direction == _FORWARD else key >= before):
                    raise StoreCorrupt("rows out of order", table=table)
                before = key
                try:
                    value = value_of(table, key, row)
                except StoreCorrupt:
                    continue
                out.write(_LENGTHS.pack(len(key), len(value)) + key + value)


def main(arguments: Sequence[str]) -> None:
    folder, table, direction = arguments
    try:
        hand_over(Path(folder), table, direction, sys.stdout.buffer)
        complete = True
    except (StoreCorrupt, lmdb.Error):
        complete = False
    sys.stdout.buffer.flush()
    sys.exit(0 if complete else 1)


if __name__ == "__main__":
    main(sys.argv[1:])
