"""What one life of a node leaves to the next: which tables are walked, and a sign state that turned out to be an old copy."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hce.app import lives
from hce.app.devnet.home import Home
from hce.app.lifeline import ENDED_BY
from hce.app.mending import remove_damaged
from hce.foundation.store.errors import StoreCorrupt
from hce.foundation.store.kv import DATA_FILE, KeyValueStore
from hce.network.runtime.errors import SignStateCorrupt


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


@pytest.mark.parametrize("ended_by", [0, signal.SIGBUS])
async def test_a_life_that_follows_one_in_which_damage_was_met_walks_large_tables_too(
    monkeypatch: pytest.MonkeyPatch, ended_by: int
) -> None:
    walked: list[bool] = []

    async def live(stopping: Any, home: Any, index: int, port: int, make_ledger: Any, after_fault: bool) -> None:
        walked.append(after_fault)
        if len(walked) < 3:
            raise StoreCorrupt("met while in use")

    monkeypatch.setattr(lives, "_run_until", live)
    monkeypatch.setenv(ENDED_BY, str(int(ended_by)))
    await lives.run_node(Home(Path("unused")), 0, 0)
    assert walked == [bool(ended_by), True, True]


async def test_a_node_whose_sign_state_turns_out_to_be_an_old_copy_begins_anew_and_a_lone_one_stops(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lived: list[int] = []

    async def live(*_: Any) -> None:
        lived.append(1)
        if len(lived) == 1:
            raise SignStateCorrupt("older than what this node has signed")

    monkeypatch.setattr(lives, "_run_until", live)
    await lives.run_node(home_of(4), 0, 0)
    assert len(lived) == 2
    lived.clear()
    with pytest.raises(SignStateCorrupt):
        await lives.run_node(home_of(1), 0, 0)


def home_of(nodes: int) -> Any:
    return SimpleNamespace(genesis=lambda: SimpleNamespace(nodes=[None] * nodes))
