"""Damaged tables of a node: removed and filled again where they can be had again, named where they cannot."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from hce.app.mending import TABLES, open_anew, open_mailbox, remove_damaged, watch_tables
from hce.foundation.crypto.sign import SigningKey
from hce.foundation.store.errors import StoreCorrupt
from hce.foundation.store.kv import DATA_FILE, KeyValueStore
from hce.foundation.types.clock import SystemClock
from hce.service.mailbox.anchors import ReceiptLeaf
from hce.service.mailbox.errors import SlotsCorrupt
from hce.service.mailbox.service import Mailbox

CHAIN = bytes(16)


def fill(folder: Path, identity: bytes = b"") -> KeyValueStore:
    store = KeyValueStore.open(folder, tables=("t",), identity=identity, map_size=1 << 20)
    with store.write() as batch:
        for number in range(200):
            batch.put("t", b"%03d" % number, b"value %d" % number)
    return store


def damage(folder: Path) -> None:
    content = (folder / DATA_FILE).read_bytes()
    with (folder / DATA_FILE).open("r+b") as file:
        file.write(content.replace(b"value 77", b"Value 77"))


def wait_for(file: Path) -> None:
    """Until somebody wrote a line there."""
    while not (file.exists() and file.read_text().endswith("\n")):
        time.sleep(0.01)


def mailbox(path: Path, node: int = 0) -> Mailbox:
    def state() -> Any:
        raise NotImplementedError

    return Mailbox.open(
        path, chain=CHAIN, node_index=node, service_key=SigningKey(bytes(32)), state=state, clock=SystemClock(), map_size=1 << 20
    )


def test_damaged_tables_are_removed_before_they_are_opened(tmp_path: Path) -> None:
    for part in TABLES:
        fill(tmp_path / part).close()
    for part in ("placements", "ledger", "mailbox/tables"):
        damage(tmp_path / part)
    os.truncate(tmp_path / "packs/index" / DATA_FILE, 5_000)
    remove_damaged(tmp_path, chain=CHAIN, node=0, alone=False, after_fault=False)
    assert [part for part in TABLES if (tmp_path / part).exists()] == ["mailbox/tables", "revoked"]
    with mailbox(tmp_path / "mailbox") as box:
        assert not any(box.items().values()), "rows of a store that is not this node's are not taken over"


def test_a_lone_node_stops_by_name_rather_than_lose_its_mailbox(tmp_path: Path) -> None:
    fill(tmp_path / "mailbox/tables").close()
    damage(tmp_path / "mailbox/tables")
    with pytest.raises(StoreCorrupt) as refused:
        remove_damaged(tmp_path, chain=CHAIN, node=0, alone=True, after_fault=False)
    assert refused.value.fields["folder"].endswith("mailbox/tables")
    assert (tmp_path / "mailbox/tables" / DATA_FILE).exists()


def test_tables_of_another_node_are_made_anew(tmp_path: Path) -> None:
    fill(tmp_path / "kv", b"node 1").close()
    store = open_anew(tmp_path / "kv", lambda: KeyValueStore.open(tmp_path / "kv", tables=("t",), identity=b"node 2"))
    with store, store.read() as snapshot:
        assert snapshot.count("t") == 0
    with KeyValueStore.open(tmp_path / "kv.damaged-1", tables=("t",), identity=b"node 1") as others, others.read() as snapshot:
        assert snapshot.count("t") == 200, "whose they are may want them back: a disk was mounted in the wrong place"


def test_a_mailbox_of_another_node_or_without_its_keys_begins_anew_and_a_lone_one_does_not(tmp_path: Path) -> None:
    mailbox(tmp_path / "box", node=1).close()
    with open_mailbox(tmp_path / "box", False, lambda: mailbox(tmp_path / "box"), CHAIN, 0) as box:
        box.replica.expect(200, {})
    (tmp_path / "box" / "slots").write_bytes(b"something else".ljust(100))
    with pytest.raises(SlotsCorrupt):
        open_mailbox(tmp_path / "box", True, lambda: mailbox(tmp_path / "box"), CHAIN, 0)
    with open_mailbox(tmp_path / "box", False, lambda: mailbox(tmp_path / "box"), CHAIN, 0) as box:
        assert box.replica.seen_height == 0, "all final blocks are told once more"


def test_of_a_mailbox_that_does_not_open_what_can_be_read_is_kept(tmp_path: Path) -> None:
    with mailbox(tmp_path / "box") as box:
        box.append_log(b"\x01" * 32, b"\x02" * 32, b"\x03" * 32, b"a receipt", ReceiptLeaf(0, b"\x04" * 32))
        kept = box.items()
    assert any(kept.values())
    file = tmp_path / "box" / "tables" / DATA_FILE
    content = file.read_bytes()
    file.write_bytes(content.replace(b"hce/kv/2", b"hce/kv?2"))  # no walk at the start: the tables are large
    with pytest.raises(StoreCorrupt):
        open_mailbox(tmp_path / "box", True, lambda: mailbox(tmp_path / "box"), CHAIN, 0)
    (tmp_path / "box" / "slots").write_bytes(b"something else".ljust(100))
    with open_mailbox(tmp_path / "box", False, lambda: mailbox(tmp_path / "box"), CHAIN, 0) as box:
        assert box.items() == kept, "receipts are in no other node"


async def test_damage_met_in_use_ends_this_life_of_the_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def no_time(seconds: float) -> None:
        await asyncio.get_running_loop().run_in_executor(None, int)

    monkeypatch.setattr("hce.app.mending.asyncio.sleep", no_time)
    with fill(tmp_path / "placements") as store:
        watching = asyncio.create_task(watch_tables(tmp_path, [store]))
        done, _ = await asyncio.wait([watching], timeout=0.2)
        assert not done
        damage(tmp_path / "placements")
        with pytest.raises(StoreCorrupt), store.read() as snapshot:
            list(snapshot.scan("t"))
        with pytest.raises(StoreCorrupt):
            await watching


async def test_the_walk_takes_no_thread_of_others_and_ends_at_once_with_the_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there, child = tmp_path / "there", tmp_path / "python"
    child.write_text(f"#!/bin/sh\necho $$ > {there}\nexec sleep 1000\n")
    child.chmod(0o700)
    monkeypatch.setattr("hce.app.mending.LOOK_S", 0.0)
    monkeypatch.setattr("hce.app.mending.LOOKS", 1)
    fill(tmp_path / "placements").close()
    monkeypatch.setattr(sys, "executable", str(child))
    watching = asyncio.create_task(watch_tables(tmp_path, []))
    await asyncio.to_thread(wait_for, there)
    watching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watching
    with pytest.raises(ProcessLookupError):
        os.kill(int(there.read_text()), 0)
