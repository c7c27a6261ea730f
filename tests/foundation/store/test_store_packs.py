"""The block store: bytes in are checked, bytes out are checked, what a crash leaves behind is adopted whole or cut."""

from __future__ import annotations

import errno
import resource
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from hce.foundation.codec.cid import cid_of_dag_cbor, cid_of_raw
from hce.foundation.store.errors import BlobCorrupt, BlobNotFound, BlobTooLarge, CidMismatch, DiskFull, WriteFailed
from hce.foundation.store.packs import HEADER_BYTES, PackStore

MAP_BYTES = 1 << 20


def open_packs(path: Path, **options: Any) -> PackStore:
    return PackStore.open(path, **{"map_size": MAP_BYTES, "max_blob_bytes": 1000, "max_pack_bytes": 2000, **options})


@pytest.fixture
def packs(tmp_path: Path) -> Iterator[PackStore]:
    with open_packs(tmp_path / "packs") as opened:
        yield opened


def named(*blobs: bytes) -> list[tuple[bytes, bytes]]:
    return [(cid_of_raw(blob), blob) for blob in blobs]


def found(packs: PackStore, blobs: list[bytes]) -> list[bytes]:
    return [packs.get(cid_of_raw(blob)) for blob in blobs if packs.has(cid_of_raw(blob))]


BLOBS = [bytes([number]) * (number * 90) for number in range(12)]


def test_blobs_come_back_over_many_packs_and_after_reopening(tmp_path: Path) -> None:
    with open_packs(tmp_path / "packs") as packs:
        packs.put_many(named(*BLOBS[:5]))
        packs.put_many(named(*BLOBS[5:]))
        assert found(packs, BLOBS) == BLOBS
    with open_packs(tmp_path / "packs") as packs:
        assert found(packs, BLOBS) == BLOBS
        packs.put_many(named(b"one more"))
    files = sorted((tmp_path / "packs").glob("pack-*"))
    assert len(files) > 3
    assert all(file.stat().st_size <= 2000 and stat.S_IMODE(file.stat().st_mode) == 0o600 for file in files)


def test_both_codecs_name_the_same_bytes(packs: PackStore) -> None:
    packs.put_many([(cid_of_raw(b"\x80"), b"\x80"), (cid_of_dag_cbor(b"\x80"), b"\x80")])
    assert packs.get(cid_of_raw(b"\x80")) == packs.get(cid_of_dag_cbor(b"\x80")) == b"\x80"


@pytest.mark.parametrize(
    "cid",
    [cid_of_raw(b"other"), cid_of_raw(b"blob")[:-1], b"\x01\x70" + cid_of_raw(b"blob")[2:], b""],
    ids=["other bytes", "short", "unknown codec", "empty"],
)
def test_a_cid_that_does_not_name_the_bytes_is_refused_with_the_whole_batch(packs: PackStore, cid: bytes) -> None:
    with pytest.raises(CidMismatch) as caught:
        packs.put_many([*named(b"good"), (cid, b"blob")])
    assert caught.value.code == "blob.cid_mismatch"
    assert not packs.has(cid_of_raw(b"good"))


def test_a_blob_has_a_greatest_size(packs: PackStore) -> None:
    packs.put_many(named(bytes(1000)))
    with pytest.raises(BlobTooLarge):
        packs.put_many(named(bytes(1001)))


def test_a_blob_larger_than_a_pack_gets_its_own(tmp_path: Path) -> None:
    with open_packs(tmp_path / "packs", max_pack_bytes=100) as packs:
        packs.put_many(named(b"small", bytes(900), b"small too"))
        assert found(packs, [b"small", bytes(900), b"small too"]) == [b"small", bytes(900), b"small too"]
    assert len(list((tmp_path / "packs").glob("pack-*"))) == 3


def test_a_known_blob_is_not_written_again(tmp_path: Path, packs: PackStore) -> None:
    packs.put_many(named(b"blob", b"blob"))
    packs.put_many(named(b"blob"))
    assert (tmp_path / "packs" / "pack-00000000.hcp").stat().st_size == HEADER_BYTES + 4


def test_an_unknown_blob_is_not_found(packs: PackStore) -> None:
    assert not packs.has(cid_of_raw(b"never"))
    with pytest.raises(BlobNotFound):
        packs.get(cid_of_raw(b"never"))
    with pytest.raises(BlobNotFound):
        packs.delete(cid_of_raw(b"never"))


def test_every_flipped_byte_on_disk_is_found_on_read(tmp_path: Path, packs: PackStore) -> None:
    packs.put_many(named(b"first", b"second"))
    file = tmp_path / "packs" / "pack-00000000.hcp"
    good = file.read_bytes()
    for offset in range(len(good)):
        flipped = bytearray(good)
        flipped[offset] ^= 1 << offset % 8
        file.write_bytes(flipped)
        damaged, sound = (b"first", b"second") if offset < HEADER_BYTES + 5 else (b"second", b"first")
        with pytest.raises(BlobCorrupt) as caught:
            packs.get(cid_of_raw(damaged))
        assert caught.value.code == "blob.corrupt"
        assert packs.get(cid_of_raw(sound)) == sound


@pytest.mark.parametrize("loss", ["gone", "short"])
def test_a_lost_pack_is_named_and_does_not_stop_the_others(tmp_path: Path, loss: str) -> None:
    with open_packs(tmp_path / "packs", max_pack_bytes=100) as packs:
        packs.put_many(named(b"a" * 50, b"b" * 50))
    last = tmp_path / "packs" / "pack-00000001.hcp"
    if loss == "gone":
        last.unlink()
    else:
        last.write_bytes(last.read_bytes()[:-1])
    with open_packs(tmp_path / "packs", max_pack_bytes=100) as packs:
        with pytest.raises(BlobCorrupt):
            packs.get(cid_of_raw(b"b" * 50))
        packs.put_many(named(b"c"))
        assert found(packs, [b"a" * 50, b"c"]) == [b"a" * 50, b"c"]
    assert (tmp_path / "packs" / "pack-00000002.hcp").exists(), "a damaged pack gets no new records"


def test_a_deleted_blob_is_forgotten_for_good_and_counted(tmp_path: Path) -> None:
    with open_packs(tmp_path / "packs") as packs:
        packs.put_many(named(b"gone", b"stays"))
        packs.delete(cid_of_raw(b"gone"))
        with pytest.raises(BlobNotFound):
            packs.get(cid_of_raw(b"gone"))
    with open_packs(tmp_path / "packs") as packs:
        assert found(packs, [b"gone", b"stays"]) == [b"stays"]
        assert packs.dead_bytes() == 4
        packs.put_many(named(b"gone"))
        assert packs.get(cid_of_raw(b"gone")) == b"gone"


class Stopped(Exception):
    """The test's stand-in for a process that ends before the index commit."""


def stop(transaction: Any) -> None:
    raise Stopped


def with_unindexed_tail(path: Path, blobs: list[bytes]) -> bytes:
    """A store with "old" indexed and `blobs` appended but not indexed: bytes of its pack."""
    with open_packs(path) as packs:
        packs.put_many(named(b"old"))
    with open_packs(path, commit=stop) as packs:
        with pytest.raises(Stopped):
            packs.put_many(named(*blobs))
        assert found(packs, blobs) == []
    return (path / "pack-00000000.hcp").read_bytes()


@pytest.mark.parametrize("left", ["nothing", "zeros"])
def test_a_pack_torn_at_any_byte_keeps_its_whole_blobs(tmp_path: Path, left: str) -> None:
    blobs = [b"first new", b"second new"]
    whole = with_unindexed_tail(tmp_path / "before", blobs)
    ends = [HEADER_BYTES + 3]
    for blob in blobs:
        ends.append(ends[-1] + HEADER_BYTES + len(blob))
    assert ends[-1] == len(whole)
    for offset in range(ends[0], len(whole) + 1):
        shutil.copytree(tmp_path / "before", tmp_path / "torn")
        tail = bytes(len(whole) - offset) if left == "zeros" else b""
        (tmp_path / "torn" / "pack-00000000.hcp").write_bytes(whole[:offset] + tail)
        expected = [b"old"] + [blob for blob, end in zip(blobs, ends[1:], strict=True) if end <= offset]
        open_packs(tmp_path / "torn").close()
        assert (tmp_path / "torn" / "pack-00000000.hcp").stat().st_size == max(end for end in ends if end <= offset)
        for _ in range(2):
            with open_packs(tmp_path / "torn") as packs:
                assert found(packs, [b"old", *blobs]) == expected
                packs.put_many(named(b"after"))
                assert packs.get(cid_of_raw(b"after")) == b"after"
        shutil.rmtree(tmp_path / "torn")


def test_a_new_pack_is_flushed_before_its_folder_and_both_before_the_index(tmp_path: Path) -> None:
    done: list[str] = []

    def sync(descriptor: int) -> None:
        done.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)

    def commit(transaction: Any) -> None:
        transaction.commit()
        done.append("index")

    with open_packs(tmp_path / "packs", sync=sync, commit=commit) as packs:
        done.clear()
        packs.put_many(named(b"first"))
        packs.put_many(named(b"second"))
    assert done == ["pack-00000000.hcp", "packs", "index", "pack-00000000.hcp", "index"]


def test_a_failed_index_commit_leaves_the_store_usable(tmp_path: Path) -> None:
    refuse = True

    def sometimes(transaction: Any) -> None:
        if refuse:
            raise Stopped
        transaction.commit()

    open_packs(tmp_path / "packs").close()
    with open_packs(tmp_path / "packs", commit=sometimes) as packs:
        with pytest.raises(Stopped):
            packs.put_many(named(b"a longer blob that is overwritten"))
        refuse = False
        packs.put_many(named(b"short"))
        assert found(packs, [b"short", b"a longer blob that is overwritten"]) == [b"short"]
    with open_packs(tmp_path / "packs") as packs:
        assert packs.get(cid_of_raw(b"short")) == b"short"


@contextmanager
def file_size_limit(limit_bytes: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_has_a_name_and_the_store_goes_on(packs: PackStore) -> None:
    packs.put_many(named(b"kept"))
    with file_size_limit(200), pytest.raises(DiskFull):
        packs.put_many(named(b"x" * 900))
    packs.put_many(named(b"room again"))
    assert found(packs, [b"kept", b"x" * 900, b"room again"]) == [b"kept", b"room again"]


def test_after_a_failed_flush_the_store_takes_no_more_but_reads(tmp_path: Path) -> None:
    broken: list[int] = []

    def sync(descriptor: int) -> None:
        if broken:
            raise OSError(errno.EIO, "disk")

    with open_packs(tmp_path / "packs", sync=sync) as packs:
        packs.put_many(named(b"kept"))
        broken.append(1)
        for _ in range(2):
            with pytest.raises(WriteFailed):
                packs.put_many(named(b"lost"))
            broken.clear()
        assert found(packs, [b"kept", b"lost"]) == [b"kept"]


@pytest.mark.parametrize("harm", ["deleted", "damaged", "another's"])
def test_an_index_that_is_lost_is_made_anew_from_the_packs(tmp_path: Path, harm: str) -> None:
    blobs = [bytes([number]) * 1_000 for number in range(40)]
    names = [cid_of_raw(blob) for blob in blobs]
    with PackStore.open(tmp_path / "packs", max_pack_bytes=12_000) as packs:
        packs.put_many(list(zip(names, blobs, strict=True)))
    first = tmp_path / "packs" / "pack-00000000.hcp"
    content = bytearray(first.read_bytes())
    content[content.find(blobs[3]) + 500] ^= 1
    first.write_bytes(content)
    with PackStore.open(tmp_path / "packs", max_pack_bytes=12_000) as packs:
        packs.delete(names[3])
        packs.put(names[3], blobs[3])
    index = tmp_path / "packs" / "index"
    if harm == "deleted":
        shutil.rmtree(index)
    elif harm == "damaged":
        (index / "data.mdb").write_bytes(b"\x5a" * 8_192)
    else:
        shutil.rmtree(index)
        PackStore.open(tmp_path / "other", identity=b"another").close()
        shutil.copytree(tmp_path / "other" / "index", index)
    for _ in range(2):
        with PackStore.open(tmp_path / "packs", max_pack_bytes=12_000) as packs:
            assert [packs.get(name) for name in names] == blobs
    with PackStore.open(tmp_path / "packs", max_pack_bytes=12_000) as packs:
        new = cid_of_raw(b"new")
        packs.put(new, b"new")
        assert [packs.get(name) for name in (*names, new)] == [*blobs, b"new"]


def test_a_record_written_over_the_end_of_another_is_found_again(tmp_path: Path) -> None:
    """A longer pack of somebody else was put in the place of one in use: records go where that one ended."""
    mine, theirs = [b"mine" * 50, b"new" * 20], b"theirs" * 500
    with PackStore.open(tmp_path / "other") as other:
        other.put(cid_of_raw(theirs), theirs)
    with PackStore.open(tmp_path / "packs") as packs:
        packs.put(cid_of_raw(mine[0]), mine[0])
        shutil.copyfile(tmp_path / "other" / "pack-00000000.hcp", tmp_path / "packs" / "pack-00000000.hcp")
        packs.delete(cid_of_raw(mine[0]))
        packs.put_many([(cid_of_raw(blob), blob) for blob in mine])
    shutil.rmtree(tmp_path / "packs" / "index")
    with PackStore.open(tmp_path / "packs") as packs:
        assert [packs.get(cid_of_raw(blob)) for blob in mine] == mine


def test_what_a_pack_from_before_holds_is_found_again(tmp_path: Path) -> None:
    """The index says where blobs went after a repair; the pack that is put back holds them where they were before it."""
    blobs = [bytes([number]) * 500 for number in range(6)]
    names = [cid_of_raw(blob) for blob in blobs]
    pack = tmp_path / "packs" / "pack-00000000.hcp"
    with PackStore.open(tmp_path / "packs") as packs:
        packs.put_many(list(zip(names, blobs, strict=True)))
        kept = pack.read_bytes()
        for name, blob in list(zip(names, blobs, strict=True))[:3]:
            packs.delete(name)
            packs.put(name, blob)
        pack.write_bytes(kept)
        with pytest.raises(BlobCorrupt):
            packs.get(names[0])
        assert packs.find_again() == 3
        assert [packs.get(name) for name in names] == blobs
        assert packs.find_again() == 0
