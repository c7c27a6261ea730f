"""Rows of a damaged store: those that can be read come back as they were written, the others do not come."""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

import pytest

from hce.foundation.store.errors import SalvageUnfinished
from hce.foundation.store.kv import DATA_FILE, KeyValueStore
from hce.foundation.store.salvage import readable_rows

PAGE_BYTES = 4_096
ROWS = {table: {b"%05d" % number: table.encode() * (number % 40) for number in range(1_200)} for table in ("a", "b", "c")}


def make(folder: Path) -> None:
    with KeyValueStore.open(folder, tables=tuple(ROWS)) as store, store.write() as batch:
        for table, rows in ROWS.items():
            for key, value in rows.items():
                batch.put(table, key, value)


def read(folder: Path) -> dict[str, dict[bytes, bytes]]:
    found: dict[str, dict[bytes, bytes]] = {table: {} for table in ROWS}
    for table, key, value in readable_rows(folder, tuple(ROWS)):
        found[table][key] = value
    return found


def test_of_a_whole_store_every_row_comes(tmp_path: Path) -> None:
    make(tmp_path)
    assert read(tmp_path) == ROWS


def test_of_a_damaged_one_only_what_was_written_comes_and_most_of_it(tmp_path: Path) -> None:
    chance = random.Random(3)
    for number in range(8):
        folder = tmp_path / str(number)
        make(folder)
        size = (folder / DATA_FILE).stat().st_size
        with (folder / DATA_FILE).open("r+b") as file:
            for _ in range(3):
                file.seek(chance.randrange(2, size // PAGE_BYTES) * PAGE_BYTES)
                file.write(os.urandom(64) if number % 2 else bytes(PAGE_BYTES))
        found = read(folder)
        assert all(found[table].items() <= ROWS[table].items() for table in ROWS)
        assert sum(map(len, found.values())) > 1_000


def test_a_store_cut_in_the_middle_ends_children_and_not_who_asks(tmp_path: Path) -> None:
    make(tmp_path)
    os.truncate(tmp_path / DATA_FILE, (tmp_path / DATA_FILE).stat().st_size // 2)
    found = read(tmp_path)
    assert all(found[table].items() <= ROWS[table].items() for table in ROWS)


def test_what_is_no_store_has_no_rows(tmp_path: Path) -> None:
    (tmp_path / DATA_FILE).write_bytes(b"\x5a" * 20_000)
    assert list(readable_rows(tmp_path, ("a",))) == []


SHORT = "head -c 8000"
"""What is left of the standard output of a child that reads."""


def child_that(folder: Path, ends: str, times: int) -> str:
    """A Python whose first calls hand over the beginning of what they read and then end otherwise."""
    path = folder / "python"
    script = f"""#!/bin/sh
calls=$(cat {folder}/calls 2>/dev/null || echo 0)
echo $((calls + 1)) > {folder}/calls
if [ $calls -lt {times} ]; then "{sys.executable}" "$@" | {SHORT}; {ends}; fi
exec "{sys.executable}" "$@"
"""
    path.write_text(script)
    path.chmod(0o700)
    return str(path)


ENDS = ["kill -KILL $$", "kill -TERM $$", "exit 1", "exit 0"]


@pytest.mark.parametrize("ends", ENDS)
def test_a_child_that_was_ended_from_outside_is_run_again_and_no_row_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends: str
) -> None:
    make(tmp_path)
    monkeypatch.setattr(sys, "executable", child_that(tmp_path, ends, 2))
    assert read(tmp_path) == ROWS


@pytest.mark.parametrize("ends", ENDS)
def test_rows_that_nobody_could_ask_for_are_not_called_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends: str) -> None:
    make(tmp_path)
    monkeypatch.setattr(sys, "executable", child_that(tmp_path, ends, 1_000))
    with pytest.raises(SalvageUnfinished):
        read(tmp_path)


def test_want_of_descriptors_is_not_called_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path)
    path = tmp_path / "python"
    path.write_text(f'#!/bin/sh\nulimit -v 1048576\nexec "{sys.executable}" "$@"\n')
    path.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(path))
    with pytest.raises(SalvageUnfinished):
        read(tmp_path)


def test_a_child_that_is_ended_by_what_it_reads_leaves_the_other_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path)
    monkeypatch.setattr(sys, "executable", child_that(tmp_path, "kill -SEGV $$", 2))
    found = read(tmp_path)
    assert found["c"] == ROWS["c"]
    assert 0 < len(found["a"]) < len(ROWS["a"]), "read from both ends, and what was in the middle is lost"
