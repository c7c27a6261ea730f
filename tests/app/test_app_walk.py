"""Which tables a starting node walks: all small ones; large ones when they ended the process before, or cannot be whole."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hce.app.mending import remove_damaged
from hce.foundation.store.kv import DATA_FILE, KeyValueStore


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A node's data with placements of which one row is damaged, and a ledger that is whole."""
    for part in ("placements", "ledger"):
        with KeyValueStore.open(tmp_path / part, tables=("a",)) as store, store.write() as batch:
            for number in range(500):
                batch.put("a", b"%d" % number, b"value %d" % number * 10)
    content = (tmp_path / "placements" / DATA_FILE).read_bytes()
    (tmp_path / "placements" / DATA_FILE).write_bytes(content.replace(b"value 77value", b"Value 77value"))
    return tmp_path


def left(data: Path) -> set[str]:
    return {folder.name for folder in data.iterdir()}


def test_small_tables_are_walked_at_every_start(data: Path) -> None:
    remove_damaged(data, chain=bytes(16), node=0, alone=False, after_fault=False)
    assert left(data) == {"ledger"}


def test_large_tables_are_walked_after_a_fault_only(data: Path) -> None:
    remove_damaged(data, chain=bytes(16), node=0, alone=False, after_fault=False, walked_bytes=1_000)
    assert left(data) == {"placements", "ledger"}, "rows carry checksums: whoever reads this one is told"
    remove_damaged(data, chain=bytes(16), node=0, alone=False, after_fault=True, walked_bytes=1_000)
    assert left(data) == {"ledger"}


def test_a_table_that_was_cut_is_never_opened(data: Path) -> None:
    path = data / "ledger" / DATA_FILE
    os.truncate(path, path.stat().st_size // 2)
    remove_damaged(data, chain=bytes(16), node=0, alone=False, after_fault=False, walked_bytes=1_000)
    assert left(data) == {"placements"}
