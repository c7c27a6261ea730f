"""The damage tool damages what it says, and the store notices each way."""

from __future__ import annotations

from pathlib import Path

import pytest

from hce.app.devnet.damage import WAYS, damage_node, damage_shards, put_back, shards_of
from hce.app.devnet.home import Home
from hce.foundation.codec.cid import cid_of_dag_cbor, cid_of_raw
from hce.foundation.codec.dagcbor import encode
from hce.foundation.store.check import damaged_stores
from hce.foundation.store.kv import KeyValueStore
from hce.foundation.store.packs import PackStore
from hce.foundation.types.errors import HceError, NotFound
from hce.service.mailbox.slots import SlotFile

SHARDS = [bytes([number]) * 300 for number in range(5)]
MANIFEST = encode(["manifest"])


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path)
    with PackStore.open(home.node(2) / "data" / "packs") as packs:
        packs.put_many([(cid_of_dag_cbor(MANIFEST), MANIFEST), *((cid_of_raw(shard), shard) for shard in SHARDS)])
    home.network_path.write_text('{"nodes": ["", "", "", "", "", "", "", "", ""], "gateways": {}}')
    return home


def whole(home: Home) -> int:
    with PackStore.open(home.node(2) / "data" / "packs") as packs:
        found = 0
        for shard in SHARDS:
            try:
                found += packs.get(cid_of_raw(shard)) == shard
            except (HceError, OSError):
                continue
        return found


def test_shards_are_listed_without_manifests(home: Home) -> None:
    assert shards_of(home, 2) == {cid_of_raw(shard): shard for shard in SHARDS}
    assert whole(home) == 5


@pytest.mark.parametrize("way", WAYS)
def test_each_way_damages_shards(home: Home, way: str) -> None:
    assert damage_shards(home, 2, way) == 5  # type: ignore[arg-type]  # the parameter is one of WAYS
    assert whole(home) < 5


def test_shards_written_behind_a_hole_are_found_too(home: Home) -> None:
    """A pack that is deleted under a running store is written on where it stood: the file begins with a hole."""
    with PackStore.open(home.node(2) / "data" / "packs") as packs:
        damage_shards(home, 2, "delete")
        late = b"late" * 100
        packs.put_many([(cid_of_raw(late), late)])
        assert shards_of(home, 2) == {cid_of_raw(late): late}
        assert damage_shards(home, 2, "flip") == 1
        with pytest.raises(HceError):
            packs.get(cid_of_raw(late))


def test_one_shard_can_be_damaged_and_put_back(home: Home) -> None:
    originals = shards_of(home, 2)
    assert damage_shards(home, 2, "flip", frozenset({cid_of_raw(SHARDS[3])})) == 1
    assert whole(home) == 4
    put_back(home, 2, originals)
    assert whole(home) == 5


def test_tables_and_keys_can_be_damaged_too(home: Home) -> None:
    data = home.node(2) / "data"
    with KeyValueStore.open(data / "placements", tables=("t",)) as store, store.write() as batch:
        batch.put("t", b"key", b"value")
    assert damage_node(home, 2, "tables") > 0
    assert damaged_stores([data / "placements"]) == [data / "placements"]
    slots = SlotFile.open(data / "mailbox" / "slots", set())
    slots.take(3)
    slots.close()
    assert damage_node(home, 2, "keys") == 3
    with pytest.raises(NotFound):
        damage_node(home, 7, "keys")
