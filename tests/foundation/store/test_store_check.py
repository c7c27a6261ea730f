"""The check of key-value files before they are opened: what it calls whole gives every row back, and nothing it meets ends who asked."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import lmdb
import pytest

from hce.foundation.store.check import Walk, damaged_stores, is_short
from hce.foundation.store.errors import DiskFull, StoreCorrupt, StoreForeign
from hce.foundation.store.kv import DATA_FILE, KeyValueStore

TABLES = ("a", "b")
ROWS = {b"%06d" % number: b"value %d" % number * 4 for number in range(1_500)}
LONG = {b"long%d" % number: bytes([number]) * 20_000 for number in range(5)}


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    folder = tmp_path / "whole"
    with KeyValueStore.open(folder, tables=TABLES) as store:
        for part in range(3):
            with store.write() as batch:
                for key in list(ROWS)[part::3]:
                    batch.put("a", key, ROWS[key])
        with store.write() as batch:
            for key, value in LONG.items():
                batch.put("b", key, value)
    return folder


def copies(whole: Path, names: list[str]) -> list[Path]:
    found = [whole.parent / name for name in names]
    for folder in found:
        shutil.copytree(whole, folder)
    return found


def write_at(folder: Path, at: int, content: bytes) -> None:
    with (folder / DATA_FILE).open("r+b") as file:
        file.seek(at)
        file.write(content)


def test_a_cut_zeroed_or_deleted_store_is_told_from_a_whole_one(whole: Path) -> None:
    cut, zeroed, new, flipped = copies(whole, ["cut", "zeroed", "new", "flipped"])
    size = (whole / DATA_FILE).stat().st_size
    os.truncate(cut / DATA_FILE, size // 2 + 100)
    write_at(zeroed, 0, bytes(size))
    (new / DATA_FILE).unlink()
    content = (flipped / DATA_FILE).read_bytes()
    write_at(flipped, content.rindex(b"value 7value"), b"Value")
    assert damaged_stores([cut, whole, zeroed, new, flipped]) == [cut, zeroed, flipped]


def test_a_page_that_leads_beyond_the_file_does_not_end_who_asks(whole: Path) -> None:
    (wild,) = copies(whole, ["wild"])
    content = bytearray((wild / DATA_FILE).read_bytes())
    for page in range(2, len(content) // 4096):
        if content[page * 4096 + 10] & 1:  # a branch: its page numbers
            for at in range(page * 4096 + 3_000, page * 4096 + 4096):
                content[at] ^= 0x5A
    (wild / DATA_FILE).write_bytes(content)
    assert damaged_stores([wild, whole]) == [wild]


def test_what_is_called_whole_gives_every_row_back(whole: Path) -> None:
    chance = random.Random(20_261_120)
    tried = copies(whole, [f"bit{number}" for number in range(12)])
    size = (whole / DATA_FILE).stat().st_size
    for folder in tried:
        at = chance.randrange(size)
        write_at(folder, at, bytes([(whole / DATA_FILE).read_bytes()[at] ^ 1 << chance.randrange(8)]))
    damaged = damaged_stores(tried)
    assert 0 < len(damaged) < len(tried)
    for folder in tried:
        if folder not in damaged:
            with KeyValueStore.open(folder, tables=TABLES) as store, store.read() as snapshot:
                assert dict(snapshot.scan("a")) == ROWS
                assert dict(snapshot.scan("b")) == LONG


def test_a_damaged_row_is_never_other_bytes(whole: Path) -> None:
    content = (whole / DATA_FILE).read_bytes()
    write_at(whole, content.rindex(b"value 9value"), b"Value")
    with KeyValueStore.open(whole, tables=TABLES) as store:
        with store.read() as snapshot:
            assert snapshot.get("a", b"000008") == ROWS[b"000008"]
        assert not store.damaged
        with pytest.raises(StoreCorrupt), store.read() as snapshot:
            snapshot.get("a", b"000009")
        assert store.damaged
        with pytest.raises(StoreCorrupt), store.write() as batch:
            list(batch.scan("a"))


def test_files_of_another_owner_are_refused(tmp_path: Path) -> None:
    KeyValueStore.open(tmp_path / "kv", tables=TABLES, identity=b"node 1").close()
    KeyValueStore.open(tmp_path / "kv", tables=TABLES, identity=b"node 1").close()
    with pytest.raises(StoreForeign) as refused:
        KeyValueStore.open(tmp_path / "kv", tables=TABLES, identity=b"node 2")
    assert refused.value.fields == {"folder": "kv"}


def test_a_file_that_ends_before_its_last_page_is_short_and_a_longer_one_is_not(whole: Path) -> None:
    assert not is_short(whole)
    assert not is_short(whole.parent / "absent")
    size = (whole / DATA_FILE).stat().st_size
    for keeps in (1, 100, 4096, 8191, 8192, size // 2, size - 4096, size - 1):
        (cut,) = copies(whole, [f"cut-{keeps}"])
        os.truncate(cut / DATA_FILE, keeps)
        assert is_short(cut), keeps
    (longer,) = copies(whole, ["longer"])
    write_at(longer, size, bytes(5_000))
    assert not is_short(longer)


@pytest.mark.parametrize(
    "ending", ["exit 1", "kill -KILL $$", "kill -INT $$", "kill -TERM $$"], ids=["absent", "killed", "asked", "ended"]
)
def test_a_check_that_did_not_come_to_a_verdict_calls_nothing_damaged(
    whole: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    monkeypatch.setattr(sys, "executable", program(whole.parent / "program", ending))
    assert damaged_stores([whole, *copies(whole, ["other"])]) == []


def test_a_check_that_is_ended_by_what_it_reads_calls_that_damaged(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for fault in (signal.SIGSEGV, signal.SIGBUS):
        monkeypatch.setattr(sys, "executable", program(whole.parent / "program", f"kill -{fault.name[3:]} $$"))
        assert damaged_stores([whole]) == [whole]


HANGS = (
    "import lmdb, pathlib, sys, time\n"
    "environment = lmdb.open(sys.argv[1], readonly=True, create=False, map_size=1 << 40)\n"
    "transaction = environment.begin()\n"
    "transaction.stat()\n"
    "pathlib.Path(sys.argv[2]).touch()\n"
    "time.sleep(1_000)\n"
)
"""A child that follows pages in a circle."""


def hanging(whole: Path) -> tuple[str, Path]:
    """A Python whose first call hangs, and the file that says that it does."""
    there = whole.parent / "hangs"
    (whole.parent / "hang.py").write_text(HANGS)
    line = f'if [ ! -e {there} ]; then exec "{sys.executable}" {whole.parent / "hang.py"} {whole} {there}; fi; exec "{sys.executable}" "$@"'
    return program(whole.parent / "program", line), there


def readers(environment: Any) -> list[str]:
    """The lines of the table of readers that name one."""
    return [line for line in environment.readers().splitlines()[1:] if line.strip() and "no active" not in line]


def test_a_check_that_hung_keeps_no_place_among_the_readers(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with lmdb.open(str(whole), max_dbs=3, map_size=1 << 30) as owner:
        monkeypatch.setattr(sys, "executable", hanging(whole)[0])
        assert damaged_stores([whole], patience_s=4.0) == [whole]
        assert (whole.parent / "hangs").exists()
        assert readers(owner) == [], "else no page it could see would be used again, and the store would grow for ever"


def test_a_check_is_ended_at_once_by_whoever_stops(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", hanging(whole)[0])
    walk, found = Walk([whole, *copies(whole, ["other"])]), []
    walking = threading.Thread(target=lambda: found.append(walk.damaged()))
    walking.start()
    while not (whole.parent / "hangs").exists():
        walking.join(0.01)
    walk.end()
    walking.join(60)
    assert found == [[]], "nothing is called damaged"
    assert walk.damaged() == []


def program(path: Path, line: str) -> str:
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o700)
    return str(path)


def test_want_of_memory_or_descriptors_is_not_called_damage(whole: Path) -> None:
    for limit in ("resource.RLIMIT_AS, (1 << 30, 1 << 30)", "resource.RLIMIT_NOFILE, (8, 8)"):
        asked = (
            "import pathlib, resource, lmdb\n"
            "from hce.foundation.store.kv import KeyValueStore\n"
            "taken = [open('/dev/null') for _ in range(4)]\n"
            f"resource.setrlimit({limit})\n"
            "try:\n"
            f"    KeyValueStore.open(pathlib.Path({str(whole)!r}), tables={TABLES!r}, map_size=1 << 36)\n"
            "except (lmdb.Error, OSError):\n"
            "    print('named by the machine')\n"
        )
        said = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=False)
        assert said.stdout == "named by the machine\n", said.stderr
    KeyValueStore.open(whole, tables=TABLES).close()


def test_a_full_disk_is_named_when_tables_are_opened_too(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise lmdb.DiskError("No space left on device")

    monkeypatch.setattr("hce.foundation.store.kv.lmdb.open", full)
    with pytest.raises(DiskFull):
        KeyValueStore.open(whole, tables=TABLES)


def test_a_damaged_stamp_is_damage_and_no_unknown_format_nor_another_owner(whole: Path) -> None:
    for stamp in (b"hce/kv/2", b"owner 17"):
        (folder,) = copies(whole, [stamp.decode().replace("/", "-")])
        shutil.rmtree(folder)
        KeyValueStore.open(folder, tables=TABLES, identity=b"owner 17").close()
        content = (folder / DATA_FILE).read_bytes()
        assert stamp in content
        (folder / DATA_FILE).write_bytes(content.replace(stamp, stamp[:-1] + b"9"))
        with pytest.raises(StoreCorrupt):
            KeyValueStore.open(folder, tables=TABLES, identity=b"owner 17")
