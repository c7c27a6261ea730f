"""Who keeps which shard: computed alike by everybody, spread evenly, frozen."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from hce.foundation.codec.cid import cid_of_raw
from hce.foundation.erasure.errors import ShardsUnfit
from hce.foundation.erasure.placement import place
from hce.foundation.types.ladder import MAX_NODES, ladder

CHAIN = bytes(range(16))
VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "hce" / "erasure.json").read_text())


@pytest.mark.parametrize("n", range(1, MAX_NODES + 1))
def test_no_node_gets_two_shards_of_one_content(n: int) -> None:
    k, m = ladder(n)
    for number in range(20):
        cid = cid_of_raw(b"%d" % number)
        nodes = place(CHAIN, cid, k, m, n)
        assert len(set(nodes)) == len(nodes) == k + m
        assert set(nodes) <= set(range(n))


def test_every_node_keeps_about_the_same_share_where_there_are_more_nodes_than_shards() -> None:
    kept = Counter(node for number in range(600) for node in place(CHAIN, cid_of_raw(b"%d" % number), 4, 2, 8))
    assert all(390 < count < 510 for count in kept.values())  # 450 expected
    assert len(kept) == 8


def test_more_shards_than_nodes_are_refused() -> None:
    with pytest.raises(ShardsUnfit):
        place(CHAIN, cid_of_raw(b""), 6, 3, 8)


@pytest.mark.parametrize("vector", VECTORS["placements"], ids=lambda vector: f"{vector['k']}+{vector['m']} on {vector['n']}")
def test_frozen_placements(vector: Any) -> None:
    chain, cid = bytes.fromhex(vector["chain"][2:]), bytes.fromhex(vector["ciphertext"][2:])
    assert place(chain, cid, vector["k"], vector["m"], vector["n"]) == vector["nodes"]
