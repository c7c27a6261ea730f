"""Whether key-value stores are whole, asked of a process of its own before they are opened.

LMDB believes its file. A page number that points beyond the end of it, or into the middle of something else, ends the process that
follows it (SIGBUS, SIGSEGV) instead of raising. So a child follows every page of every table first: what ends the child, hangs it or
makes it complain is damaged, and the node that asked still runs to say so. A child that could not start, was stopped by somebody or
found no memory has no verdict, and what it did not look at is not called damaged: its owner would remove it.

Looked at: every row is reached in order, is as many as the table says, carries its checksum, and is found again by its key. Not seen:
a whole store that is older than it should be (its owner compares heights with others), and pages nobody can reach.
Cost: about 2 us a row, and the start of one Python process.
"""

from __future__ import annotations

import logging
import signal
import struct
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lmdb

from hce.foundation.store.blame import machine_refuses
from hce.foundation.store.errors import StoreCorrupt
from hce.foundation.store.kv import DATA_FILE, DEFAULT_MAX_MAP_BYTES, value_of

PATIENCE_S = 900.0
"""A child that has not finished by then follows pages in a circle: a hundred million rows take less."""
MAX_PAGE_BYTES = 1 << 16
FAULTS = (signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGILL, signal.SIGFPE)
"""What ends a process that follows damage through a memory map. A kill from outside is none of them."""
_META = struct.Struct("=40xI92xQQ")
"""The header of a data file, up to its transaction number (`MDB_meta` of lmdb 0.9 behind a page header of 16 bytes)."""
_PAGE_BYTES, _LAST_PAGE, _TRANSACTION = range(3)
_WHOLE = b"whole"
_DAMAGED = 65
"""What the child ends with when it names damage."""

log = logging.getLogger("hce.store")


def damaged_stores(folders: Sequence[Path], patience_s: float = PATIENCE_S) -> list[Path]:
    """Those of these folders whose store is damaged. One without files is whole: opening makes it. They may be in use."""
    waiting = [folder for folder in folders if (folder / DATA_FILE).exists()]
    damaged = []
    while waiting:
        whole, is_verdict = _whole_of_first(waiting, patience_s)
        if whole < len(waiting):
            if is_verdict:
                damaged.append(waiting[whole])
            else:
                log.error("the tables in %s could not be looked at", waiting[whole])
        waiting = waiting[whole + 1 :]
    return damaged


def is_short(folder: Path) -> bool:
    """Whether the data file ends before its last page: followed there, LMDB ends the process. Reads two pages.

    Rarely one that is whole: pages at the end that a batch took and gave back were never written. A walk tells.
    """
    path = folder / DATA_FILE
    if not path.exists():
        return False
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(_META.size)
        page_bytes = _META.unpack(head)[_PAGE_BYTES] if len(head) == _META.size else 0
        if not _META.size <= page_bytes <= MAX_PAGE_BYTES:
            return size > 0
        file.seek(page_bytes)
        metas = [_META.unpack(raw) for raw in (head, file.read(_META.size)) if len(raw) == _META.size]
    last_page: int = max(metas, key=lambda meta: meta[_TRANSACTION])[_LAST_PAGE]
    return size < (last_page + 1) * page_bytes


def _whole_of_first(folders: Sequence[Path], patience_s: float) -> tuple[int, bool]:
    """How many of the first are whole, in a row, and whether the child says, or shows by its end, that the next is not."""
    command = [sys.executable, "-m", __name__, *map(str, folders)]
    try:
        child = subprocess.run(command, capture_output=True, timeout=patience_s, check=False)
        said, is_verdict = child.stdout, child.returncode == _DAMAGED or -child.returncode in FAULTS
    except subprocess.TimeoutExpired as error:
        said, is_verdict = error.stdout or b"", True
    return said.split().count(_WHOLE), is_verdict


def follow_all(folder: Path) -> None:
    """Every row of every table, in this process. Raises, or ends the process, when the store is damaged."""
    with lmdb.open(str(folder), readonly=True, create=False, max_dbs=1_000, map_size=DEFAULT_MAX_MAP_BYTES) as environment:
        with environment.begin() as transaction:
            names = [bytes(name) for name in transaction.cursor().iternext(values=False)]
        handles = {name.decode(): environment.open_db(name, create=False) for name in names}
        with environment.begin() as transaction:
            for table, handle in handles.items():
                _follow(transaction, table, handle)


def _follow(transaction: Any, table: str, handle: Any) -> None:
    count, before = 0, b""
    expected = transaction.stat(handle)["entries"]
    for key, row in transaction.cursor(db=handle).iternext():
        value_of(table, key, row)
        count += 1
        if key <= before or count > expected or transaction.get(key, db=handle) != row:
            raise StoreCorrupt("rows out of order", table=table)
        before = key
    if count != expected:
        raise StoreCorrupt("rows are missing", table=table, expected=expected, actual=count)


def main(folders: Sequence[str]) -> None:
    """What the child does: names what is whole until something is not."""
    for folder in folders:
        try:
            follow_all(Path(folder))
        except (StoreCorrupt, lmdb.Error, UnicodeDecodeError) as error:
            print(error, file=sys.stderr)
            sys.exit(1 if machine_refuses(DEFAULT_MAX_MAP_BYTES) else _DAMAGED)
        print(_WHOLE.decode(), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
