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
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lmdb

from hce.foundation.store.blame import machine_refuses
from hce.foundation.store.errors import StoreCorrupt
from hce.foundation.store.kv import DATA_FILE, DEFAULT_MAX_MAP_BYTES, value_of

PATIENCE_S = 900.0
"""A child that has not finished by then follows pages in a circle: a hundred million rows take less."""
CLEAR_S = 30.0
"""For clearing the place of a child that was killed."""
MAX_PAGE_BYTES = 1 << 16
FAULTS = (signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGILL, signal.SIGFPE)
"""What ends a process that follows damage through a memory map. A kill from outside is none of them."""
_META = struct.Struct("=40xI92xQQ")
"""The header of a data file, up to its transaction number (`MDB_meta` of lmdb 0.9 behind a page header of 16 bytes)."""
_PAGE_BYTES, _LAST_PAGE, _TRANSACTION = range(3)
_WHOLE = b"whole"
_CLEAR = "--clear-readers"
_DAMAGED = 65
"""What the child ends with when it names damage."""

log = logging.getLogger("hce.store")


def damaged_stores(folders: Sequence[Path], patience_s: float = PATIENCE_S) -> list[Path]:
    """Those of these folders whose store is damaged. One without files is whole: opening makes it. They may be in use."""
    return Walk(folders, patience_s).damaged()


class Walk:
    """One look through some stores, in a thread that may wait."""

    def __init__(self, folders: Sequence[Path], patience_s: float = PATIENCE_S) -> None:
        self._folders, self._patience_s = list(folders), patience_s
        self._lock = threading.Lock()
        """Guards the two below: a walk that was ended starts no child."""
        self._ended = False
        self._child: subprocess.Popen[bytes] | None = None

    def damaged(self) -> list[Path]:
        """As `damaged_stores`; after `end` nothing more is called damaged."""
        waiting = [folder for folder in self._folders if (folder / DATA_FILE).exists()]
        damaged = []
        while waiting and not self._ended:
            whole, is_verdict = self._whole_of_first(waiting)
            if whole < len(waiting):
                if is_verdict:
                    damaged.append(waiting[whole])
                elif not self._ended:
                    log.error("the tables in %s could not be looked at", waiting[whole])
            waiting = waiting[whole + 1 :]
        return damaged

    def end(self) -> None:
        """Ends the walk at once, from any thread. The next to open a store clears the place its child had among the readers."""
        with self._lock:
            self._ended = True
            if self._child is not None:
                self._child.kill()

    def _whole_of_first(self, folders: Sequence[Path]) -> tuple[int, bool]:
        """How many of the first are whole, in a row, and whether the child says, or shows by its end, that the next is not."""
        with self._lock:
            if self._ended:
                return 0, False
            child = self._child = subprocess.Popen(
                [sys.executable, "-m", __name__, *map(str, folders)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
        with child:
            try:
                said, _ = child.communicate(timeout=self._patience_s)
            except subprocess.TimeoutExpired:
                child.kill()
                said, _ = child.communicate()
                whole = said.split().count(_WHOLE)
                _clear_readers(folders[whole])
                return whole, True
        with self._lock:
            self._child = None
        return said.split().count(_WHOLE), child.returncode == _DAMAGED or -child.returncode in FAULTS


def _clear_readers(folder: Path) -> None:
    """A child that was killed keeps its place among the readers, and no page it could see is used again, until somebody clears it."""
    try:
        subprocess.run([sys.executable, "-m", __name__, _CLEAR, str(folder)], capture_output=True, timeout=CLEAR_S, check=False)
    except subprocess.TimeoutExpired:
        log.error("the readers of the tables in %s could not be cleared", folder)


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
    """What the child does: names what is whole until something is not; or clears the readers of one store."""
    if folders[0] == _CLEAR:
        with lmdb.open(folders[1], readonly=True, create=False, map_size=DEFAULT_MAX_MAP_BYTES) as environment:
            environment.reader_check()
        return
    for folder in folders:
        try:
            follow_all(Path(folder))
        except (StoreCorrupt, lmdb.Error, UnicodeDecodeError) as error:
            print(error, file=sys.stderr)
            sys.exit(1 if machine_refuses(DEFAULT_MAX_MAP_BYTES) else _DAMAGED)
        print(_WHOLE.decode(), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
