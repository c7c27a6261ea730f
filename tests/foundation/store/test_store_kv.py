"""Tables: snapshots, atomic batches, growth with a bound, and the errors that say why a folder cannot be opened."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lmdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hce.foundation.store.check import damaged_stores
from hce.foundation.store.errors import DiskFull, KeyUnfit, ReadersOpen, StoreBusy, StoreCorrupt, UnknownFormat
from hce.foundation.store.kv import FORMAT, FORMAT_KEY, MAX_KEY_BYTES, META, KeyValueStore
from hce.foundation.store.salvage import remake
from hce.foundation.types.errors import Bug

TABLES = ("a", "b")
SMALL_MAP = 128 * 1024


@pytest.fixture
def store(tmp_path: Path) -> Iterator[KeyValueStore]:
    with KeyValueStore.open(tmp_path / "kv", tables=TABLES, map_size=1 << 20) as opened:
        yield opened


def put(store: KeyValueStore, **values: bytes) -> None:
    with store.write() as batch:
        for key, value in values.items():
            batch.put("a", key.encode(), value)


def content(store: KeyValueStore, table: str = "a") -> dict[bytes, bytes]:
    with store.read() as snapshot:
        return dict(snapshot.scan(table))


def test_a_batch_lands_whole_and_survives_reopening(tmp_path: Path) -> None:
    with KeyValueStore.open(tmp_path / "kv", tables=TABLES) as store, store.write() as batch:
        batch.put("a", b"one", b"1")
        batch.put("b", b"two", b"")
    with KeyValueStore.open(tmp_path / "kv", tables=TABLES) as store:
        assert (content(store, "a"), content(store, "b")) == ({b"one": b"1"}, {b"two": b""})


def test_a_batch_that_raises_writes_nothing(store: KeyValueStore) -> None:
    put(store, kept=b"1")

    def change_my_mind() -> None:
        with store.write() as batch:
            batch.put("a", b"new", b"2")
            batch.delete("a", b"kept")
            raise ValueError("changed my mind")

    with pytest.raises(ValueError, match="changed my mind"):
        change_my_mind()
    assert content(store) == {b"kept": b"1"}


def test_a_snapshot_does_not_see_later_batches(store: KeyValueStore) -> None:
    put(store, key=b"old")
    with store.read() as snapshot:
        put(store, key=b"new")
        assert snapshot.get("a", b"key") == b"old"
    assert content(store) == {b"key": b"new"}


def test_values_outlive_their_snapshot(store: KeyValueStore) -> None:
    put(store, key=b"value")
    with store.read() as snapshot:
        value = snapshot.get("a", b"key")
    put(store, key=b"other")
    assert type(value) is bytes
    assert value == b"value"


small_keys = st.binary(min_size=1, max_size=2).map(lambda raw: bytes(byte % 3 for byte in raw))
changes = st.dictionaries(small_keys, st.none() | st.binary(max_size=1), max_size=8)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes,
    changes,
    st.binary(max_size=1).map(lambda raw: bytes(b % 3 for b in raw)),
    st.none() | small_keys,
    st.none() | st.integers(0, 4),
)
def test_scans_inside_a_batch_see_its_own_writes(
    store: KeyValueStore,
    before: dict[bytes, bytes | None],
    during: dict[bytes, bytes | None],
    prefix: bytes,
    start: bytes | None,
    limit: int | None,
) -> None:
    model: dict[bytes, bytes] = {}
    with store.write() as batch:
        for key in [key for key, _ in batch.scan("a")]:
            batch.delete("a", key)
    for step in (before, during):
        with store.write() as batch:
            for key, value in step.items():
                if value is None:
                    batch.delete("a", key)
                    model.pop(key, None)
                else:
                    batch.put("a", key, value)
                    model[key] = value
            expected = [item for item in sorted(model.items()) if item[0].startswith(prefix) and item[0] >= (start or b"")][:limit]
            assert list(batch.scan("a", prefix, start, limit)) == expected
            assert all(batch.get("a", key) == model.get(key) for key in step)
        with store.read() as snapshot:
            assert list(snapshot.scan("a", prefix, start, limit)) == expected


def test_a_full_map_grows_and_the_batch_lands(tmp_path: Path) -> None:
    with KeyValueStore.open(tmp_path / "kv", tables=TABLES, map_size=SMALL_MAP) as store:
        put(store, **{f"key {number}": bytes(2000) for number in range(1000)})
        assert len(content(store)) == 1000
        assert store.map_size > SMALL_MAP


def test_growth_ends_at_its_bound_with_nothing_written(tmp_path: Path) -> None:
    with KeyValueStore.open(tmp_path / "kv", tables=TABLES, map_size=SMALL_MAP, max_map_size=4 * SMALL_MAP) as store:
        put(store, kept=b"1")
        with pytest.raises(DiskFull) as caught:
            put(store, big=bytes(5 * SMALL_MAP))
        assert caught.value.code == "disk.full"
        assert content(store) == {b"kept": b"1"}
        put(store, small=b"2")
        assert content(store) == {b"kept": b"1", b"small": b"2"}


def test_growth_waits_for_no_snapshot_but_says_so(tmp_path: Path) -> None:
    with KeyValueStore.open(tmp_path / "kv", tables=TABLES, map_size=SMALL_MAP) as store:
        put(store, kept=b"1")
        with store.read() as snapshot:
            with pytest.raises(ReadersOpen):
                put(store, big=bytes(5 * SMALL_MAP))
            assert snapshot.get("a", b"kept") == b"1"
        put(store, big=bytes(5 * SMALL_MAP))
        assert len(content(store)) == 2


def test_the_map_grows_early_when_nobody_reads(tmp_path: Path) -> None:
    size = 8 * SMALL_MAP
    with KeyValueStore.open(tmp_path / "kv", tables=TABLES, map_size=size) as store:
        put(store, half=bytes(size * 5 // 8))
        with store.read():
            put(store, small=b"1")
            assert store.map_size == size
        put(store, small=b"2")
        assert store.map_size == 2 * size


def test_snapshots_are_counted_and_given_back_after_an_error(store: KeyValueStore) -> None:
    with pytest.raises(KeyError), store.read() as snapshot:
        list(snapshot.scan("no such table"))
    with store.read():
        assert store.open_readers == 1
    assert store.open_readers == 0


def test_a_commit_that_fails_leaves_the_old_content(tmp_path: Path) -> None:
    def fail(transaction: Any) -> None:
        raise OSError("no")

    KeyValueStore.open(tmp_path / "kv", tables=TABLES).close()
    with KeyValueStore.open(tmp_path / "kv", tables=TABLES, commit=fail) as store:
        with pytest.raises(OSError, match="no"):
            put(store, key=b"1")
        assert content(store) == {}


def test_threads_lose_no_update(store: KeyValueStore) -> None:
    put(store, count=b"\x00")

    def count_up() -> None:
        for _ in range(20):
            with store.write() as batch:
                value = batch.get("a", b"count")
                assert value is not None
                batch.put("a", b"count", bytes([value[0] + 1]))

    threads = [threading.Thread(target=count_up) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert content(store) == {b"count": bytes([60])}


def test_a_batch_inside_of_a_batch_is_a_bug(store: KeyValueStore) -> None:
    with pytest.raises(Bug), store.write(), store.write():
        pass
    put(store, key=b"still works")


@pytest.mark.parametrize("key", [b"", bytes(MAX_KEY_BYTES + 1)])
def test_keys_out_of_bounds_are_refused_before_anything_is_written(store: KeyValueStore, key: bytes) -> None:
    with pytest.raises(KeyUnfit):
        put(store, good=b"1", **{key.decode(): b"2"})
    with store.read() as snapshot, pytest.raises(KeyUnfit):
        snapshot.get("a", key)
    assert content(store) == {}


def test_the_longest_key_fits(store: KeyValueStore) -> None:
    with store.write() as batch:
        batch.put("a", b"k" * MAX_KEY_BYTES, b"1")
    assert content(store) == {b"k" * MAX_KEY_BYTES: b"1"}


def test_only_the_owner_may_read_the_files(tmp_path: Path) -> None:
    KeyValueStore.open(tmp_path / "deep" / "kv", tables=TABLES).close()
    for folder in (tmp_path / "deep", tmp_path / "deep" / "kv"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in (tmp_path / "deep" / "kv").iterdir()} == {0o600}


def test_a_store_of_another_version_is_not_opened(tmp_path: Path) -> None:
    with KeyValueStore.open(tmp_path / "kv", tables=(META,)) as store, store.write() as batch:
        batch.put(META, FORMAT_KEY, b"hce/kv/3")
    with pytest.raises(UnknownFormat) as caught:
        KeyValueStore.open(tmp_path / "kv", tables=TABLES)
    assert caught.value.fields == {"expected": FORMAT, "actual": b"hce/kv/3"}


def test_a_foreign_lmdb_folder_is_not_opened(tmp_path: Path) -> None:
    with lmdb.open(str(tmp_path / "kv")) as foreign, foreign.begin(write=True) as transaction:
        transaction.put(b"somebody", b"else")
    with pytest.raises(UnknownFormat):
        KeyValueStore.open(tmp_path / "kv", tables=TABLES)


def test_damaged_files_have_a_name(tmp_path: Path) -> None:
    KeyValueStore.open(tmp_path / "kv", tables=TABLES).close()
    (tmp_path / "kv" / "data.mdb").write_bytes(b"garbage" * 2000)
    with pytest.raises(StoreCorrupt):
        KeyValueStore.open(tmp_path / "kv", tables=TABLES)


def test_a_folder_has_one_owner(tmp_path: Path) -> None:
    with KeyValueStore.open(tmp_path / "kv", tables=TABLES):
        with pytest.raises(StoreBusy):
            KeyValueStore.open(tmp_path / "kv", tables=TABLES)
        child = os.fork()
        if child == 0:
            try:
                KeyValueStore.open(tmp_path / "kv", tables=TABLES)
            except StoreBusy:
                os._exit(7)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    KeyValueStore.open(tmp_path / "kv", tables=TABLES).close()


def test_a_copy_made_while_a_batch_is_open_holds_what_was_durable(tmp_path: Path) -> None:
    command = (
        "import sys; from pathlib import Path; from hce.foundation.store.kv import copy_store; copy_store(*map(Path, sys.argv[1:]))"
    )
    with KeyValueStore.open(tmp_path / "from", tables=("t",), map_size=1 << 20) as store:
        with store.write() as batch:
            batch.put("t", b"old", b"1")
        with store.write() as batch:
            batch.put("t", b"new", b"2")
            subprocess.run([sys.executable, "-c", command, str(tmp_path / "from"), str(tmp_path / "to")], check=True)
    with KeyValueStore.open(tmp_path / "to", tables=("t",), map_size=1 << 20) as copy, copy.read() as snapshot:
        assert dict(snapshot.scan("t")) == {b"old": b"1"}
        assert copy.map_size == 1 << 20


def test_damaged_pages_are_named_with_their_folder(tmp_path: Path) -> None:
    """In a process of its own: LMDB maps its file, and what it does with a damaged one is not ours to promise beyond the name."""
    script = f"""
import pathlib
from hce.foundation.store.errors import StoreCorrupt
from hce.foundation.store.kv import KeyValueStore
folder = pathlib.Path({str(tmp_path / "ledger")!r})
with KeyValueStore.open(folder, tables=("a",)) as store:
    for start in range(0, 4000, 1000):
        with store.write() as batch:
            for number in range(start, start + 1000):
                batch.put("a", b"%06d" % number, b"x" * 50)
file = folder / "data.mdb"
content = bytearray(file.read_bytes())
for page in range(2, len(content) // 4096):
    content[page * 4096 + 10 : page * 4096 + 12] = b"\\x00\\x00"  # the flags that say what kind of page it is
file.write_bytes(content)
try:
    with KeyValueStore.open(folder, tables=("a",)) as store, store.read() as snapshot:
        sum(1 for _ in snapshot.scan("a"))
except StoreCorrupt as error:
    print(error.fields["folder"])
"""
    finished = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (finished.returncode, finished.stdout) == (0, "ledger\n"), finished.stderr[-500:]


def test_a_store_whose_list_of_free_pages_is_damaged_takes_batches_again_once_it_is_remade(tmp_path: Path) -> None:
    folder = tmp_path / "kv"
    with KeyValueStore.open(folder, tables=TABLES) as store:
        for round_ in range(6):
            with store.write() as batch:
                for number in range(400):
                    batch.put("a", b"%04d" % number, b"%d" % round_ * 100)
        before = content(store)
    with lmdb.open(str(folder), max_dbs=4) as environment:
        last_txn = environment.info()["last_txnid"]
    raw = bytearray((folder / "data.mdb").read_bytes())
    page = 4_096
    meta = next(at for at in (0, page) if int.from_bytes(raw[at + 144 : at + 152], sys.byteorder) == last_txn)
    root = int.from_bytes(raw[meta + 80 : meta + 88], sys.byteorder)  # of the free list: `MDB_meta.mm_dbs[0].md_root`
    raw[root * page + 10 : root * page + 12] = b"\x00\x00"
    (folder / "data.mdb").write_bytes(raw)
    assert damaged_stores([folder]) == [], "every row can be read"
    with KeyValueStore.open(folder, tables=TABLES) as store:
        with pytest.raises(StoreCorrupt):
            put(store, one=b"1")
        assert store.damaged
    remake(folder)
    with KeyValueStore.open(folder, tables=TABLES) as store:
        put(store, one=b"1")
        assert content(store) == before | {b"one": b"1"}
