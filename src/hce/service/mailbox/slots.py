"""One random key for each stored record, in a file of fixed slots that is overwritten: erasing the key erases the record.

    header 32 bytes | slot 0: 32 bytes | slot 1: 32 bytes | ...        zeros = free

LMDB copies pages on write and backups copy files, so deleting a value there leaves old bytes behind. They are sealed under a key
that lives nowhere else than here. This file must stay out of snapshots and backups; a disk that remaps sectors on its own may keep an
overwritten one (docs/cautions.md).

A key is durable before the value it seals, and a slot is wiped only after the store no longer refers to it. Whatever a crash left
in between is a slot nobody refers to, and opening wipes those.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Self

from hce.foundation.store.disk import PRIVATE_FILE, Sync, is_full, make_directory, sync_directory, write_all
from hce.foundation.store.errors import DiskFull, WriteFailed
from hce.service.mailbox.errors import SlotsCorrupt

SLOT_BYTES = 32
HEADER = b"hce/slots/1".ljust(SLOT_BYTES, b"\x00")
_EMPTY = bytes(SLOT_BYTES)

Entropy = Callable[[int], bytes]

log = logging.getLogger("hce.mailbox")


class SlotFile:
    """Keys by slot number. Open it with `SlotFile.open`; one process, any thread."""

    def __init__(self, descriptor: int, sync: Sync, entropy: Entropy) -> None:
        self._descriptor = descriptor
        self._sync = sync
        self._entropy = entropy
        self._changing = threading.Lock()
        self._free: list[int] = []
        self._slots = 0

    @classmethod
    def open(cls, path: Path, used: set[int], *, sync: Sync = os.fsync, entropy: Entropy = os.urandom) -> Self:
        """Open or create; slots that are not in `used` are wiped. `SlotsCorrupt` when this is no slot file and should be one.

        A used slot that is missing keeps its number: what it sealed is named when it is read, and found by the walk over all rows.
        """
        make_directory(path.parent, sync)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE_FILE)
        slots = cls(descriptor, sync, entropy)
        try:
            slots._recover(path, used)
        except BaseException:
            os.close(descriptor)
            raise
        return slots

    def close(self) -> None:
        """Close the file. A second call does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def take(self, count: int) -> list[tuple[int, bytes]]:
        """`count` fresh slots with their keys, durable on return. `DiskFull`, `WriteFailed`."""
        with self._changing:
            while len(self._free) < count:
                self._free.append(self._slots)
                self._slots += 1
            taken = [(self._free.pop(), self._entropy(SLOT_BYTES)) for _ in range(count)]
            try:
                for slot, key in taken:
                    write_all(self._descriptor, key, _offset(slot))
                if taken:
                    self._sync(self._descriptor)
            except OSError as error:
                self._free.extend(slot for slot, _ in taken)
                raise (DiskFull() if is_full(error) else WriteFailed("flush of the slot file")) from error
        return taken

    def key(self, slot: int) -> bytes:
        """The key in a slot; zeros when it was wiped."""
        return os.pread(self._descriptor, SLOT_BYTES, _offset(slot)).ljust(SLOT_BYTES, b"\x00")

    def wipe(self, slots: Iterable[int]) -> None:
        """Overwrite with zeros; gone from the file on return."""
        with self._changing:
            wiped = sorted(set(slots))
            for slot in wiped:
                write_all(self._descriptor, _EMPTY, _offset(slot))
            if wiped:
                self._sync(self._descriptor)
            self._free.extend(wiped)

    def _recover(self, path: Path, used: set[int]) -> None:
        content = path.read_bytes()
        if not content.startswith(HEADER):
            if used or len(content) > SLOT_BYTES:
                raise SlotsCorrupt("no slot file", file=path.name)
            write_all(self._descriptor, HEADER, 0)
            self._sync(self._descriptor)
            sync_directory(path.parent, self._sync)
        self._slots = max(0, -(-len(content) // SLOT_BYTES) - 1, *(slot + 1 for slot in used))
        missing = sum(1 for slot in used if content[_offset(slot) : _offset(slot + 1)] in (b"", _EMPTY))
        if missing:
            log.error("%d keys of envelopes are missing in the slot file", missing)
        self.wipe(slot for slot in range(self._slots) if slot not in used)


def _offset(slot: int) -> int:
    return len(HEADER) + slot * SLOT_BYTES
