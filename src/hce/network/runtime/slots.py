"""Two checksummed slots in one preallocated file: a torn write costs the slot that was being written, never the other one.

    slot = magic 4, payload length 4 (big-endian), SHA-256 of the payload 32, payload

A slot that was never written and one that is torn read alike, as None. Which slot is newer is told by the payload.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
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

    def __init__(self, file: DurableFile, slot_bytes: int) -> None:
        self._file = file
        self._slot_bytes = slot_bytes

    def read(self, slot: int) -> bytes | None:
        """The payload, None when the slot holds no whole one."""
        header = self._file.read(HEADER_BYTES, slot * self._slot_bytes)
        if len(header) < HEADER_BYTES or header[:4] != MAGIC:
            return None
        length = int.from_bytes(header[4:8], "big")
        if length > self._slot_bytes - HEADER_BYTES:
            return None
        payload = self._file.read(length, slot * self._slot_bytes + HEADER_BYTES)
        return payload if len(payload) == length and hashlib.sha256(payload).digest() == header[8:] else None

    def write(self, slot: int, payload: bytes) -> None:
        """Durable on return."""
        framed = frame(payload)
        if len(framed) > self._slot_bytes:
            raise Bug(f"{len(payload)} bytes do not fit a slot of {self._slot_bytes}")
        self._file.write(framed, slot * self._slot_bytes)
        self._file.sync()

    def close(self) -> None:
        self._file.close()
