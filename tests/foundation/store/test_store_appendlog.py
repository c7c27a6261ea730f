"""The log: every torn tail is cut, every damage is named, nothing is guessed."""

from __future__ import annotations

import errno
import os
import resource
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hce.foundation.store.appendlog import FORMAT, HEADER_BYTES, AppendLog, _frame
from hce.foundation.store.errors import DiskFull, LogCorrupt, RecordNotFound, RecordTooLarge, StoreBusy, UnknownFormat, WriteFailed
from hce.foundation.types.errors import Corrupt

RECORDS = [b"first", b"", b"third record", b"hceL looks like a record", b"\x01" * 40, b"last"]
ENDS = [len(FORMAT)]
for _record in RECORDS:
    ENDS.append(ENDS[-1] + HEADER_BYTES + len(_record))


def no_sync(descriptor: int) -> None:
    """For tests that tear files by hand: the page cache is enough."""


def open_log(path: Path, max_record_bytes: int = 1 << 20) -> AppendLog:
    return AppendLog.open(path, max_record_bytes=max_record_bytes, sync=no_sync)


def written(path: Path, records: list[bytes], sync: bool = True) -> bytes:
    """The bytes of a log file with these records."""
    with open_log(path) as log:
        assert [log.append(record, sync=sync) for record in records] == list(range(len(records)))
    return path.read_bytes()


def whole_before(offset: int) -> int:
    return sum(end <= offset for end in ENDS[1:])


def test_records_come_back_by_index_and_in_order(tmp_path: Path) -> None:
    with AppendLog.open(tmp_path / "new folder" / "log") as log:
        for index, record in enumerate(RECORDS):
            assert log.append(record) == index
            assert log.read(index) == record
        assert list(log) == RECORDS
    with AppendLog.open(tmp_path / "new folder" / "log") as log:
        assert (len(log), list(log), log.cut_bytes) == (len(RECORDS), RECORDS, 0)
    assert stat.S_IMODE((tmp_path / "new folder" / "log").stat().st_mode) == 0o600


@pytest.mark.parametrize("left", ["nothing", "zeros"])
def test_a_log_torn_at_any_byte_keeps_its_whole_records(tmp_path: Path, left: str) -> None:
    """The tail is missing, or there with zeros in it: both happen at a power cut."""
    whole = written(tmp_path / "whole", RECORDS)
    assert len(whole) == ENDS[-1]
    for offset in range(len(whole)):
        if left == "zeros" and offset < len(FORMAT):
            continue
        torn = tmp_path / "torn"
        torn.write_bytes(whole[:offset] + (bytes(len(whole) - offset) if left == "zeros" else b""))
        expected = RECORDS[: whole_before(offset)]
        with open_log(torn) as log:
            assert list(log) == expected
            assert log.append(b"after the crash") == len(expected)
        with open_log(torn) as log:
            assert (list(log), log.cut_bytes) == ([*expected, b"after the crash"], 0)


def test_a_flipped_bit_before_the_last_record_is_corrupt_and_named(tmp_path: Path) -> None:
    whole = written(tmp_path / "log", RECORDS)
    for offset in range(len(FORMAT), ENDS[-2]):
        flipped = bytearray(whole)
        flipped[offset] ^= 1 << offset % 8
        (tmp_path / "log").write_bytes(flipped)
        with pytest.raises(LogCorrupt) as caught:
            open_log(tmp_path / "log")
        assert caught.value.fields["index"] == whole_before(offset)
        assert (tmp_path / "log").read_bytes() == flipped, "damage is never repaired by guessing"


def test_a_flipped_bit_in_the_last_record_is_cut_and_counted(tmp_path: Path) -> None:
    whole = written(tmp_path / "log", RECORDS)
    for offset in range(ENDS[-2], ENDS[-1]):
        flipped = bytearray(whole)
        flipped[offset] ^= 1 << offset % 8
        (tmp_path / "log").write_bytes(flipped)
        with open_log(tmp_path / "log") as log:
            assert list(log) == RECORDS[:-1]
            assert log.cut_bytes == ENDS[-1] - ENDS[-2]


def test_a_bit_that_flips_while_the_log_is_open_is_found_on_read(tmp_path: Path) -> None:
    whole = written(tmp_path / "log", RECORDS)
    for offset in range(len(FORMAT), len(whole)):
        (tmp_path / "log").write_bytes(whole)
        with open_log(tmp_path / "log") as log:
            flipped = bytearray(whole)
            flipped[offset] ^= 1 << offset % 8
            (tmp_path / "log").write_bytes(flipped)
            with pytest.raises(LogCorrupt) as caught:
                log.read(whole_before(offset))
            assert caught.value.fields["index"] == whole_before(offset)


def test_unflushed_records_may_vanish_in_any_order(tmp_path: Path) -> None:
    """The kernel wrote the second of three unflushed records and not the first: a crash, not damage."""
    written(tmp_path / "log", RECORDS[:1])
    whole = written_behind(tmp_path / "log", RECORDS[1:])
    holed = bytearray(whole)
    holed[ENDS[1] : ENDS[2]] = bytes(ENDS[2] - ENDS[1])
    (tmp_path / "log").write_bytes(holed)
    with open_log(tmp_path / "log") as log:
        assert list(log) == RECORDS[:1]


def written_behind(path: Path, records: list[bytes]) -> bytes:
    with open_log(path) as log:
        for record in records:
            log.append(record, sync=False)
    return path.read_bytes()


def test_a_record_inside_of_a_torn_record_does_not_count(tmp_path: Path) -> None:
    """Payloads come from strangers: one that holds a forged record must not stop the log from opening."""
    forged = _frame(99, 99, b"forged")
    whole = bytearray(written(tmp_path / "log", [b"good", b"torn" + forged + forged]))
    whole[-1] ^= 1
    (tmp_path / "log").write_bytes(whole)
    with open_log(tmp_path / "log") as log:
        assert list(log) == [b"good"]


def test_a_swapped_record_is_corrupt(tmp_path: Path) -> None:
    whole = written(tmp_path / "log", [b"aaa", b"bbb", b"ccc"])
    size = HEADER_BYTES + 3
    first = len(FORMAT)
    (tmp_path / "log").write_bytes(
        whole[:first] + whole[first + size : first + 2 * size] + whole[first : first + size] + whole[-size:]
    )
    with pytest.raises(LogCorrupt):
        open_log(tmp_path / "log")


@pytest.mark.parametrize("head", [b"hce/log/2\n", b"something else", b"x"])
def test_a_file_that_is_no_log_of_this_version_is_left_alone(tmp_path: Path, head: bytes) -> None:
    (tmp_path / "log").write_bytes(head)
    with pytest.raises(UnknownFormat) as caught:
        open_log(tmp_path / "log")
    assert isinstance(caught.value, Corrupt)
    assert (tmp_path / "log").read_bytes() == head


def test_records_out_of_bounds_are_refused(tmp_path: Path) -> None:
    with open_log(tmp_path / "log", max_record_bytes=4) as log:
        assert log.append(b"1234") == 0
        with pytest.raises(RecordTooLarge):
            log.append(b"12345")
        for index in (-1, 1):
            with pytest.raises(RecordNotFound):
                log.read(index)
        assert list(log) == [b"1234"]


def test_a_log_has_one_owner(tmp_path: Path) -> None:
    with open_log(tmp_path / "log") as log:
        log.append(b"mine")
        with pytest.raises(StoreBusy):
            open_log(tmp_path / "log")
    with open_log(tmp_path / "log") as log:
        assert list(log) == [b"mine"]


@contextmanager
def file_size_limit(limit_bytes: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_has_a_name_and_leaves_no_half_record(tmp_path: Path) -> None:
    with open_log(tmp_path / "log") as log:
        log.append(b"kept")
        size = (tmp_path / "log").stat().st_size
        with file_size_limit(size + HEADER_BYTES + 10), pytest.raises(DiskFull):
            log.append(bytes(1000))
        assert (tmp_path / "log").stat().st_size == size
        assert log.append(b"there is room again") == 1
    with open_log(tmp_path / "log") as log:
        assert (list(log), log.cut_bytes) == ([b"kept", b"there is room again"], 0)


def test_after_a_failed_flush_the_log_takes_no_more(tmp_path: Path) -> None:
    broken: list[int] = []

    def sync(descriptor: int) -> None:
        if broken:
            raise OSError(errno.EIO, "disk")

    with AppendLog.open(tmp_path / "log", sync=sync) as log:
        log.append(b"kept")
        broken.append(1)
        with pytest.raises(WriteFailed):
            log.append(b"who knows")
        broken.clear()
        with pytest.raises(WriteFailed):
            log.append(b"never")
        with pytest.raises(WriteFailed):
            log.flush()
    with open_log(tmp_path / "log") as log:
        assert list(log) == [b"kept", b"who knows"]


def test_making_a_log_flushes_the_file_and_every_new_folder(tmp_path: Path) -> None:
    flushed: list[str] = []

    def sync(descriptor: int) -> None:
        flushed.append(os.path.relpath(os.readlink(f"/proc/self/fd/{descriptor}"), tmp_path))

    AppendLog.open(tmp_path / "x" / "y" / "log", sync=sync).close()
    assert flushed == [".", "x", "x/y/log", "x/y"]


def test_only_a_flush_makes_unsynced_records_durable(tmp_path: Path) -> None:
    flushes: list[int] = []
    with AppendLog.open(tmp_path / "log", sync=flushes.append) as log:
        opened = len(flushes)
        log.append(b"a", sync=False)
        log.append(b"b", sync=False)
        assert len(flushes) == opened
        log.flush()
        assert len(flushes) == opened + 1
