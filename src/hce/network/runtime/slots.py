"""Two checksummed slots in one preallocated file: a torn write costs the slot that was being written, never the other one.

    slot = magic 4, payload length 4 (big-endian), SHA-256 of the payload 32, payload
    file = slot 0, slot 1, then both once more for each further copy

A slot that was never written and one that is torn read alike, as None. Which slot is newer is told by the payload. With two copies a
slot is lost only when both are damaged; they are written one after the other and made durable together.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from hce.foundation.store.disk import PRIVATE_FILE, Sync, make_directory, sync_directory, write_all
from hce.foundation.types.errors import Bug
from hce.network.runtime.errors import SignStateBusy

MAGIC = b"hceS"
HEADER_BYTES = 4 + 4 + 32


class DurableFile(Protocol):
    """A file whose writes are durable after `sync`, and may be torn or lost before."""

    def read(self, size: int, offset: int) -> bytes: ...

    def write(self, data: bytes, offset: int) -> None: ...

    def sync(self) -> None: ...

    def close(self) -> None: ...


class OsFile:
    """A real file, locked against a second process. Created under its name only when it is whole and its directory is durable."""

    def __init__(self, path: Path, initial: bytes, size: int, sync: Sync = os.fsync) -> None:
        """`initial` and zeros up to `size` when there is no such file yet."""
        make_directory(path.parent, sync)
        if not path.exists():
            _create(path, initial, size, sync)
        self._sync = sync
        self._descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._descriptor)
            raise SignStateBusy(path.name) from error
        sync_directory(path.parent, sync)

    def read(self, size: int, offset: int) -> bytes:
        return os.pread(self._descriptor, size, offset)

    def write(self, data: bytes, offset: int) -> None:
        write_all(self._descriptor, data, offset)

    def sync(self) -> None:
        self._sync(self._descriptor)

    def close(self) -> None:
        os.close(self._descriptor)


def _create(path: Path, initial: bytes, size: int, sync: Sync) -> None:
    unfinished = path.with_suffix(".new")
    descriptor = os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, PRIVATE_FILE)
    try:
        if size:
            os.posix_fallocate(descriptor, 0, size)
        write_all(descriptor, initial, 0)
        sync(descriptor)
    finally:
        os.close(descriptor)
    unfinished.rename(path)
    sync_directory(path.parent, sync)


def frame(payload: bytes) -> bytes:
    """One slot's bytes."""
    return MAGIC + len(payload).to_bytes(4, "big") + hashlib.sha256(payload).digest() + payload


class TwoSlots:
    """Reads and writes the slots of one file."""

    def __init__(self, file: DurableFile, slot_bytes: int, copies: int = 1) -> None:
        self._file = file
        self._slot_bytes = slot_bytes
        self._copies = copies

    def read(self, slot: int) -> bytes | None:
        """The payload, of the first copy that is whole; None when there is none."""
        return next(iter(self.copies(slot)), None)

    def copies(self, slot: int) -> list[bytes]:
        """The payloads of the copies that are whole. One whose last write the disk lost holds what was there before."""
        return [payload for payload in self._read_copies(slot) if payload is not None]

    def is_used(self, slot: int) -> bool:
        """Whether something was ever written there, whole or torn: a torn write leaves the old magic or the new."""
        return any(self._file.read(len(MAGIC), offset) == MAGIC for offset in self._offsets(slot))

    def write(self, slot: int, payload: bytes) -> None:
        """Durable on return."""
        framed = frame(payload)
        if len(framed) > self._slot_bytes:
            raise Bug(f"{len(payload)} bytes do not fit a slot of {self._slot_bytes}")
        for offset in self._offsets(slot):
            self._file.write(framed, offset)
        self._file.sync()

    def make_equal(self, slot: int, payload: bytes) -> None:
        """Every copy holds this; after a kill between two of them, or damage to one, one may hold something else."""
        if any(copy != payload for copy in self._read_copies(slot)):
            self.write(slot, payload)

    def _offsets(self, slot: int) -> list[int]:
        return [(2 * copy + slot) * self._slot_bytes for copy in range(self._copies)]

    def _read_copies(self, slot: int) -> Iterator[bytes | None]:
        return (self._read_at(offset) for offset in self._offsets(slot))

    def _read_at(self, offset: int) -> bytes | None:
        header = self._file.read(HEADER_BYTES, offset)
        if len(header) < HEADER_BYTES or header[:4] != MAGIC:
            return None
        length = int.from_bytes(header[4:8], "big")
        if length > self._slot_bytes - HEADER_BYTES:
            return None
        payload = self._file.read(length, offset + HEADER_BYTES)
        return payload if len(payload) == length and hashlib.sha256(payload).digest() == header[8:] else None

    def close(self) -> None:
        self._file.close()
