"""A mailbox whose tables are damaged keeps every row that can still be read, counts anew, and wants the rest."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from hce.foundation.store.check import damaged_stores
from hce.foundation.store.kv import DATA_FILE, KeyValueStore
from hce.service.mailbox import records, replica, streams, tokens
from hce.service.mailbox.anchors import ReceiptLeaf
from hce.service.mailbox.service import TABLES, Mailbox, _identity, rebuild_tables
from hce.service.terms.grants import log_address

MAP_BYTES = 1 << 22
PAGE_BYTES = 4_096


@pytest.fixture
def path(people: Any, tmp_path: Path) -> Path:
    """A mailbox with something in every stream and table, closed."""
    path = tmp_path / "mailbox"
    people.commit(*"abcd")
    with people.open(path) as box:
        for name in "ab":
            box.deposit(name.encode() * 32, people.org_id, [people.delivery(name, token=people.token())], b"")
        box.deposit(b"\x02" * 32, people.org_id, [people.delivery("c", "d")], b"")
        box.post(people.post(b"offer"))
        box.act(people.act("erase", records=[people.record_id("b")]))
        box.act(people.act("revoke-token", number=77))
        for number in range(40):
            entered = ReceiptLeaf(3, bytes([number]) * 32)
            box.append_log(
                log_address(*people.log_place), people.compartment_id, bytes([number]) * 32, b"receipt %d" % number * 20, entered
            )
        box.put_card(people.card())
        box.replica.expect(200, {})
    return path


def content(path: Path) -> dict[str, dict[bytes, bytes]]:
    with (
        KeyValueStore.open(path / "tables", tables=TABLES, identity=_identity(b"hce test chain 1", 0)) as store,
        store.read() as now,
    ):
        return {table: dict(now.scan(table)) for table in TABLES}


def test_of_a_whole_mailbox_everything_is_kept_but_what_says_that_nothing_is_missed(people: Any, path: Path) -> None:
    before = content(path)
    rebuild_tables(path, people.chain, 0, MAP_BYTES)
    after = content(path)
    before[replica.MARKS] = {}
    before["anchor-closed"] = {b"first-open": (3).to_bytes(8, "big")}  # no earlier one gets a receipt any more
    assert after == before


def test_damaged_rows_go_and_the_rest_stays_with_counts_that_fit(people: Any, path: Path) -> None:
    chance = random.Random(7)
    whole = content(path)
    for _ in range(12):
        shutil.copytree(path, path.with_name("copy"))
        data = path.with_name("copy") / "tables" / DATA_FILE
        raw = bytearray(data.read_bytes())
        for _ in range(6):
            raw[chance.randrange(2 * PAGE_BYTES, len(raw))] ^= 1 << chance.randrange(8)
        data.write_bytes(raw)
        if damaged_stores([data.parent]):
            rebuild_tables(data.parent.parent, people.chain, 0, MAP_BYTES)
            kept = content(data.parent.parent)
            for table in (streams.ITEMS, records.RECORDS, records.TOMBSTONES, tokens.SERIALS, "cards"):
                assert kept[table].items() <= whole[table].items()
            assert len(kept[streams.NAMES]) == len(kept[streams.ARRIVED]) == len(kept[streams.ITEMS])
            assert sum(map(len, kept.values())) > sum(map(len, whole.values())) // 4, "most is not hit"
            with people.open(path.with_name("copy")) as box:
                assert box.items()["log"] == sum(key.startswith(b"l") for key in kept[streams.ITEMS])
                assert box.items()["records"] + box.items()["quarantined-records"] == len(kept[records.RECORDS])
                assert (box.replica.seen_height, box.replica.since_ms()) == (0, None)
        shutil.rmtree(path.with_name("copy"))


def test_of_another_nodes_mailbox_nothing_is_taken(people: Any, path: Path) -> None:
    assert rebuild_tables(path, people.chain, 5, MAP_BYTES) == 0


def test_a_file_that_is_none_gives_an_empty_mailbox(people: Any, path: Path) -> None:
    (path / "tables" / DATA_FILE).write_bytes(b"\x5a" * 20_000)
    assert rebuild_tables(path, people.chain, 0, MAP_BYTES) == 0
    with people.open(path) as box:
        assert isinstance(box, Mailbox)
        assert not any(box.items().values())


def test_lists_of_receipts_have_no_gaps_and_an_anchored_one_with_a_gap_proves_nothing(people: Any, path: Path) -> None:
    identity = _identity(people.chain, 0)
    with people.open(path) as box:
        box.periods.close_before(4)
        box.periods.settled(3)
        for number in range(5):
            box.append_log(
                log_address(*people.log_place),
                people.compartment_id,
                bytes([99, number]) * 16,
                b"x",
                ReceiptLeaf(4, bytes([99, number]) * 16),
            )
    with KeyValueStore.open(path / "tables", tables=TABLES, identity=identity) as store, store.write() as batch:
        for period, lost in ((3, 7), (4, 2)):
            batch.delete("anchor-leaves", period.to_bytes(8, "big") + lost.to_bytes(8, "big"))
        batch.delete("anchor-due", (4).to_bytes(8, "big"))
    rebuild_tables(path, people.chain, 0, MAP_BYTES)
    with people.open(path) as box:
        assert box.periods.proofs([bytes([8]) * 32]) == [None]
        late = ReceiptLeaf(4, b"late" * 8)
        assert box.append_log(log_address(*people.log_place), people.compartment_id, b"late" * 8, b"x", late)
        box.periods.close_before(5)
        assert box.periods.due(9) == [4]
        assert box.periods.listed(4)[0] == 5
        (proof,) = box.periods.proofs([b"late" * 8])
        assert proof is not None
        assert proof.period == 4
