"""Append-only log: numbered records in one file, durable before the caller is told.

    file    = "hce/log/1\\n", then records
    record  = header, payload
    header  = magic "hceL" | length u32 | index u64 | flushed u64 | SHA-256(payload)[:8] | CRC-32 of the header so far    (36 bytes)

A crash may leave the end of the file torn: cut short, or long enough with the wrong bytes in it, because a file system writes
sizes and pages in any order. A disk may flip a bit anywhere. The first is normal and is cut away on open; the second is
`LogCorrupt` and never repaired by guessing. To tell them apart:

- `flushed` says how many records were durable when this one was written. A bad record below that number, of any good record after
  it, was once on disk: damage.
- At or above it, the record was never promised to anybody: torn.
- The header has its own checksum, so that a flipped length in the middle does not pass for a torn tail and take the rest along.

Known limit: damage inside of the last flushed record looks like a torn one and is cut. `cut_bytes` says that something was.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import struct
import zlib
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Self

from hce.foundation.store.disk import PRIVATE_FILE, Sync, is_full, make_directory, sync_directory, take_ownership, write_all
from hce.foundation.store.errors import DiskFull, LogCorrupt, RecordNotFound, RecordTooLarge, UnknownFormat, WriteFailed

FORMAT = b"hce/log/1\n"
MAGIC = b"hceL"
_FIELDS = struct.Struct(">4sIQQ8s")
_CHECK = struct.Struct(">I")
HEADER_BYTES = _FIELDS.size + _CHECK.size
DEFAULT_MAX_RECORD_BYTES = 32 * 1024 * 1024


class _Header(NamedTuple):
    length: int
    number: int
    flushed: int
    payload_check: bytes


class AppendLog:
    """One log file, one writer. Open it with `AppendLog.open`."""

    def __init__(self, descriptor: int, max_record_bytes: int, sync: Sync) -> None:
        self._descriptor = descriptor
        self._max_record_bytes = max_record_bytes
        self._sync = sync
        self._offsets = array("Q")
        self._end = len(FORMAT)
        self._flushed = 0
        self._failed = False
        self.cut_bytes = 0
        """Bytes of a torn tail that opening cut away; for the operator's log."""

    @classmethod
    def open(cls, path: Path, *, max_record_bytes: int = DEFAULT_MAX_RECORD_BYTES, sync: Sync = os.fsync) -> Self:
        """Open or create the log; `StoreBusy`, or `LogCorrupt` at the first damaged record. Cost: reads the whole file."""
        make_directory(path.parent, sync)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE_FILE)
        try:
            take_ownership(descriptor, path.name)
            log = cls(descriptor, max_record_bytes, sync)
            log._recover()
            sync_directory(path.parent, sync)
        except BaseException:
            os.close(descriptor)
            raise
        return log

    def close(self) -> None:
        """Close the file without flushing. A second call does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._offsets)

    def __iter__(self) -> Iterator[bytes]:
        """Records that are there when the walk reaches them, checked as by `read`."""
        index = 0
        while index < len(self):
            yield self.read(index)
            index += 1

    def append(self, record: bytes, sync: bool = True) -> int:
        """Add a record, its index out. Durable on return unless sync is False; then it is after the next `flush`."""
        if len(record) > self._max_record_bytes:
            raise RecordTooLarge(actual_bytes=len(record), max_bytes=self._max_record_bytes)
        self._check_usable()
        index = len(self._offsets)
        framed = _frame(index, self._flushed, record)
        try:
            write_all(self._descriptor, framed, self._end)
        except OSError as error:
            self._take_back()
            raise (DiskFull() if is_full(error) else WriteFailed()) from error
        self._offsets.append(self._end)
        self._end += len(framed)
        if sync:
            self.flush()
        return index

    def flush(self) -> None:
        """Make every record durable. After a failed flush the log takes no more: the kernel may have dropped the pages."""
        self._check_usable()
        try:
            self._sync(self._descriptor)
        except OSError as error:
            self._failed = True
            raise WriteFailed("flush of a log") from error
        self._flushed = len(self._offsets)

    def read(self, index: int) -> bytes:
        """The record, its checksum verified; `RecordNotFound` beyond the end, `LogCorrupt` when it is damaged."""
        if not 0 <= index < len(self._offsets):
            raise RecordNotFound(index=index, count=len(self._offsets))
        start = self._offsets[index]
        end = self._offsets[index + 1] if index + 1 < len(self._offsets) else self._end
        framed = os.pread(self._descriptor, end - start, start)
        header = _parse_header(framed[:HEADER_BYTES])
        payload = framed[HEADER_BYTES:]
        if (
            header is None
            or header.number != index
            or header.length != len(payload)
            or header.payload_check != _payload_check(payload)
        ):
            raise LogCorrupt(index=index)
        return payload

    def _check_usable(self) -> None:
        if self._failed:
            raise WriteFailed("an earlier flush of this log failed; open it again")

    def _take_back(self) -> None:
        """Half a record must not stay in front of the next one."""
        try:
            os.ftruncate(self._descriptor, self._end)
        except OSError:
            self._failed = True

    def _recover(self) -> None:
        """Index all whole records, cut a torn tail, and flush: what is read from now on must not vanish again."""
        size = os.fstat(self._descriptor).st_size
        head = os.pread(self._descriptor, len(FORMAT), 0)
        if len(head) < len(FORMAT):
            if not FORMAT.startswith(head):
                raise UnknownFormat(expected=FORMAT, actual=head)
            write_all(self._descriptor, FORMAT, 0)
        elif head != FORMAT:
            raise UnknownFormat(expected=FORMAT, actual=head)
        elif size > len(FORMAT):
            with mmap.mmap(self._descriptor, size, prot=mmap.PROT_READ) as data:
                self._index_records(data)
            self.cut_bytes = size - self._end
            if self.cut_bytes:
                os.ftruncate(self._descriptor, self._end)
        self.flush()

    def _index_records(self, data: mmap.mmap) -> None:
        while self._end < len(data):
            header = _whole_record_at(data, self._end)
            if header is None or header.number != len(self._offsets):
                _check_tail_is_torn(data, self._end, len(self._offsets))
                return
            self._offsets.append(self._end)
            self._end += HEADER_BYTES + header.length


def whole_records(path: Path) -> Iterator[bytes]:
    """Records of a damaged log, from the first up to the first that is not whole. Changes nothing and takes no ownership."""
    if path.stat().st_size < len(FORMAT):
        return
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as data:  # a chain does not fit into memory
        if data[: len(FORMAT)] != FORMAT:
            return
        end, number = len(FORMAT), 0
        while (header := _whole_record_at(data, end)) is not None and header.number == number:
            start = end + HEADER_BYTES
            end, number = start + header.length, number + 1
            yield data[start:end]


def _check_tail_is_torn(data: mmap.mmap, start: int, bad_index: int) -> None:
    """`LogCorrupt` when a good record behind the bad one says that the bad one was durable once.

    A bad record with a good header is stepped over: its payload may hold anything, also what looks like a record.
    """
    header = _parse_header(data[start : start + HEADER_BYTES])
    at = data.find(MAGIC, start + (1 if header is None else HEADER_BYTES + header.length))
    while at >= 0:
        header = _whole_record_at(data, at)
        if header is not None and header.number > bad_index and header.flushed > bad_index:
            raise LogCorrupt(index=bad_index, offset=start)
        at = data.find(MAGIC, at + 1)


def _whole_record_at(data: mmap.mmap, start: int) -> _Header | None:
    """Header of the good record that begins here, None when there is none."""
    header = _parse_header(data[start : start + HEADER_BYTES])
    if header is None:
        return None
    payload = data[start + HEADER_BYTES : start + HEADER_BYTES + header.length]
    return header if len(payload) == header.length and _payload_check(payload) == header.payload_check else None


def _frame(index: int, flushed: int, payload: bytes) -> bytes:
    fields = _FIELDS.pack(MAGIC, len(payload), index, flushed, _payload_check(payload))
    return fields + _CHECK.pack(zlib.crc32(fields)) + payload


def _parse_header(raw: bytes) -> _Header | None:
    if len(raw) < HEADER_BYTES or zlib.crc32(raw[: _FIELDS.size]) != _CHECK.unpack(raw[_FIELDS.size :])[0]:
        return None
    magic, length, index, flushed, check = _FIELDS.unpack(raw[: _FIELDS.size])
    return _Header(length, index, flushed, check) if magic == MAGIC else None


def _payload_check(payload: bytes) -> bytes:
    return hashlib.sha256(payload).digest()[:8]
