"""What a power cut may leave at the end of every kind of file: cut at any byte, zeros, garbage, or what lay on those blocks before."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hce.foundation.codec.cid import cid_of_raw
from hce.foundation.store.appendlog import AppendLog
from hce.foundation.store.disk import aside_name, replace_file, set_aside
from hce.foundation.store.errors import BlobNotFound
from hce.foundation.store.kv import DATA_FILE, KeyValueStore
from hce.foundation.store.packs import PackStore

PAGE = 4096
LATE = [b"first of three", b"", b"the third, which is a little longer"]
BEFORE = [b"old %d" % number for number in range(4)]
Left = Callable[[bytes, int], bytes]
"""(whole file, first byte that was lost) -> what lies there after the power cut."""


def no_sync(descriptor: int) -> None:
    """For tests that tear files by hand: the page cache is enough."""


def cut(whole: bytes, at: int) -> bytes:
    return whole[:at]


def zeros(whole: bytes, at: int) -> bytes:
    """As ext4 leaves an extent whose size was written and whose blocks were not."""
    return whole[:at].ljust(-(-(len(whole) + 1) // PAGE) * PAGE, b"\x00")


def garbage(whole: bytes, at: int) -> bytes:
    return whole[:at] + random.Random(at).randbytes(300)


def older_records(whole: bytes, at: int) -> bytes:
    """Blocks that belonged to the same file in an earlier life: whole records, in a wrong place."""
    return whole[:at] + whole[: len(whole) // 2] + whole[10 : len(whole) // 2]


LEFT = pytest.mark.parametrize("left", [cut, zeros, garbage, older_records], ids=lambda left: left.__name__)


@LEFT
def test_a_log_keeps_exactly_what_was_synced_whatever_lies_behind_it(tmp_path: Path, left: Left) -> None:
    path = tmp_path / "log"
    ends = []
    with AppendLog.open(path, sync=no_sync) as log:
        for record in BEFORE + LATE:
            log.append(record)
            ends.append(path.stat().st_size)
    whole = path.read_bytes()
    for synced in range(len(BEFORE), len(BEFORE + LATE)):
        for at in range(ends[synced - 1], ends[synced]):
            path.write_bytes(left(whole[: ends[synced]], at))
            with AppendLog.open(path, sync=no_sync) as log:
                assert list(log) == (BEFORE + LATE)[:synced], at
                log.append(b"after")
            with AppendLog.open(path, sync=no_sync) as log:
                assert (list(log)[synced:], log.cut_bytes) == ([b"after"], 0)


@LEFT
def test_packs_keep_exactly_what_was_synced_whatever_lies_behind_it(tmp_path: Path, left: Left) -> None:
    class Stopped(Exception):
        pass

    def stop(transaction: Any) -> None:
        raise Stopped

    def opened(folder: Path, **options: Any) -> PackStore:
        return PackStore.open(folder, sync=no_sync, **options)

    with opened(tmp_path / "before") as packs:
        packs.put_many([(cid_of_raw(blob), blob) for blob in BEFORE])
    pack = tmp_path / "before" / "pack-00000000.hcp"
    indexed = pack.stat().st_size
    with opened(tmp_path / "before", commit=stop) as packs, pytest.raises(Stopped):
        packs.put_many([(cid_of_raw(blob), blob) for blob in LATE])
    whole = pack.read_bytes()
    for at in range(indexed, len(whole) + 1, 3):
        shutil.copytree(tmp_path / "before", tmp_path / "torn")
        (tmp_path / "torn" / pack.name).write_bytes(left(whole, at))
        with opened(tmp_path / "torn") as packs:
            assert [packs.get(cid_of_raw(blob)) for blob in BEFORE] == BEFORE
            for blob in LATE:
                try:
                    assert packs.get(cid_of_raw(blob)) == blob
                except BlobNotFound:
                    continue
            packs.put_many([(cid_of_raw(blob), blob) for blob in [*LATE, b"after"]])
        with opened(tmp_path / "torn") as packs:
            assert [packs.get(cid_of_raw(blob)) for blob in [*BEFORE, *LATE, b"after"]] == [*BEFORE, *LATE, b"after"]
        shutil.rmtree(tmp_path / "torn")


def two_states(folder: Path) -> tuple[bytes, bytes]:
    """A store's data file before and after one more batch."""
    with KeyValueStore.open(folder, tables=("a", "b")) as store:
        for number in range(5):
            with store.write() as batch:
                batch.put("a", b"last", b"%d" % number)
                batch.put("b", b"%d" % number, bytes([number]) * 3000)
        before = (folder / DATA_FILE).read_bytes()
        with store.write() as batch:
            batch.put("a", b"last", b"5")
            batch.put("b", b"5", bytes([5]) * 3000)
            batch.delete("b", b"1")
    return before, (folder / DATA_FILE).read_bytes()


def content(folder: Path) -> dict[bytes, bytes]:
    with KeyValueStore.open(folder, tables=("a", "b")) as store, store.read() as snapshot:
        return dict(snapshot.scan("b")) | dict(snapshot.scan("a"))


def expected(last: int) -> dict[bytes, bytes]:
    rows = {b"%d" % number: bytes([number]) * 3000 for number in range(last + 1)}
    if last == 5:
        del rows[b"1"]
    return rows | {b"last": b"%d" % last}


def half_written(before: bytes, after: bytes) -> Iterator[tuple[bytes, int]]:
    """(data file, last batch) for power cuts during the second batch: data pages in any order first, the meta page last."""
    chance = random.Random(1)
    metas, pages = 2 * PAGE, range(2 * PAGE, len(after), PAGE)
    for _ in range(60):
        torn = bytearray(before.ljust(len(after), b"\x00"))
        for start in chance.sample(pages, chance.randint(0, len(pages))):
            first, last = sorted(chance.sample(range(PAGE + 1), 2))
            torn[start + first : start + last] = after[start + first : start + last]
        yield bytes(torn), 4
        yield bytes(torn[: chance.randint(len(before), len(after))]), 4
    changed = [place for place in range(metas) if after[place] != before[place]]
    for at in range(changed[0], changed[-1] + 1):
        yield after[:at] + before[at:metas] + after[metas:], 4
    yield after, 5


def test_a_store_torn_in_the_middle_of_a_batch_is_that_of_before(tmp_path: Path) -> None:
    before, after = two_states(tmp_path / "kv")
    for number, (torn, last) in enumerate(half_written(before, after)):
        folder = tmp_path / f"torn-{number}"
        folder.mkdir()
        (folder / DATA_FILE).write_bytes(torn)
        assert content(folder) == expected(last), number
        with KeyValueStore.open(folder, tables=("a", "b")) as store, store.write() as batch:
            batch.put("a", b"last", b"after")
        assert content(folder)[b"last"] == b"after"
        shutil.rmtree(folder)


def test_a_small_file_that_is_replaced_is_the_old_one_while_the_new_is_torn(tmp_path: Path) -> None:
    path = tmp_path / "mark"
    replace_file(path, b"old")
    for at in range(40):
        (tmp_path / "mark.new").write_bytes(random.Random(at).randbytes(at))
        assert path.read_bytes() == b"old"
        replace_file(path, b"new")
        assert path.read_bytes() == b"new"
        replace_file(path, b"old")


def test_what_is_set_aside_never_covers_what_was_set_aside_before(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        (tmp_path / "log").write_bytes(b"%d" % number)
        assert set_aside(tmp_path / "log").name == f"log.damaged-{number}"
    assert [(tmp_path / f"log.damaged-{number}").read_bytes() for number in (1, 2, 3)] == [b"1", b"2", b"3"]
    assert aside_name(tmp_path / "log").name == "log.damaged-4"
