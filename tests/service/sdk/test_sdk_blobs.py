"""Many ciphertexts are gathered with few requests; what a node lacks, forges or keeps to itself comes from the others."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from pathlib import Path

import httpx
import pytest
from tests.service.sdk.crowd import NODES, URLS, Crowd

from hce.foundation.codec.cid import cid_of_dag_cbor
from hce.foundation.codec.dagcbor import decode_as, encode
from hce.network.hcefs.gather import gather_first
from hce.network.hcefs.manifest import Placed, disperse, make_manifest, read_manifest
from hce.network.hcefs.together import Together
from hce.service.sdk import contents as room
from hce.service.sdk.network import Network

COUNT = 40
CONTENTS = [b"%d " % number * (50 + number) for number in range(COUNT)]


class Keepers:
    """Nine nodes that keep the shards of `COUNT` ciphertexts of one placement."""

    def __init__(self, root: Path, *, down: Collection[int] = (), hang: Collection[int] = (), forge: Collection[int] = ()) -> None:
        self.crowd = Crowd(root, self._answer)
        self._down, self._hang, self._forge = down, hang, forge
        dispersed = [disperse(content, NODES) for content in CONTENTS]
        self._manifest = encode(make_manifest(self.crowd.genesis.chain, [one.placed for one in dispersed], NODES))
        self.placed = read_manifest(self._manifest, self.crowd.genesis.chain)
        self._shards: list[dict[bytes, bytes]] = [{} for _ in range(NODES)]
        for one, spread in zip(self.placed, dispersed, strict=True):
            for node, name, shard in zip(one.nodes, one.shards, spread.shards, strict=True):
                self._shards[node][name] = shard

    async def _answer(self, host: int, request: httpx.Request) -> httpx.Response | bytes | None:
        if request.url.path.startswith("/v1/blobs/"):
            return self._manifest if request.url.path.endswith(cid_of_dag_cbor(self._manifest).hex()) else None
        if request.url.path != "/v1/shards":
            return None
        if host in self._down:
            raise httpx.ConnectError("down")
        if host in self._hang:
            await asyncio.Event().wait()
        names = decode_as(list[bytes], request.content)
        held = [self._shards[host].get(name) for name in names]
        return encode([None if one is None else bytes(len(one)) if host in self._forge else one for one in held])

    async def blobs(self) -> list[bytes | str]:
        """What a client gets: the content, or the code of its error."""
        wanted = [(one.ciphertext, cid_of_dag_cbor(self._manifest)) for one in self.placed]
        async with await Network.join(URLS, self.crowd.genesis, transport=self.crowd) as network:
            found = [part async for part in network.blobs(wanted)]
        self.parts = [len(part) for part in found]
        return [one if isinstance(one, bytes) else one.code for part in found for one in part]

    @property
    def requests(self) -> list[int]:
        """Hosts, once for each request for shards."""
        return [host for host, path in self.crowd.asked if path == "/v1/shards"]


async def test_each_node_is_asked_once_for_all_it_should_have(tmp_path: Path) -> None:
    nodes = Keepers(tmp_path)
    assert await nodes.blobs() == CONTENTS
    assert sorted(nodes.requests) == list(range(NODES))


async def test_what_three_nodes_do_not_give_comes_from_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One is away, one hangs, one forges; those of which nothing came are not asked a second time."""
    monkeypatch.setattr(room, "HEDGE_S", 0.2)
    monkeypatch.setattr(room, "HEDGE_EACH_S", 0.001)
    nodes = Keepers(tmp_path, down={1}, hang={4}, forge={7})
    assert await nodes.blobs() == CONTENTS
    assert [nodes.requests.count(host) for host in (1, 4, 7)] == [1, 1, 1]


async def test_with_four_away_each_is_named_as_unrecoverable(tmp_path: Path) -> None:
    assert set(await Keepers(tmp_path, down={0, 2, 5, 8}).blobs()) == {"blob.unrecoverable"}


async def test_a_placement_that_nobody_has_is_an_error_for_each(tmp_path: Path) -> None:
    nodes = Keepers(tmp_path)
    nodes._manifest = b"another"
    assert all(isinstance(one, str) for one in await nodes.blobs())


async def test_ciphertexts_come_in_parts_that_fit_into_memory_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "GATHERED_TOGETHER", 30)
    monkeypatch.setattr(room, "GATHERED_BYTES", 2_500)
    nodes = Keepers(tmp_path)
    assert await nodes.blobs() == CONTENTS
    sizes, start = [len(content) for content in CONTENTS], 0
    for count in nodes.parts:
        assert count == 1 or sum(sizes[start : start + count]) <= 2_500
        start += count
    assert len(nodes.parts) > sum(sizes) / 2_500


async def test_a_large_content_comes_alone_and_more_shards_than_one_request_holds_in_several(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "GATHERED_BYTES", 1)
    monkeypatch.setattr(room, "LARGE_BYTES", 1)
    nodes = Keepers(tmp_path)
    assert await nodes.blobs() == CONTENTS
    assert nodes.parts == [1] * COUNT
    monkeypatch.undo()
    monkeypatch.setattr(room, "MAX_SHARDS_ASKED", 7)
    nodes = Keepers(tmp_path / "again")
    assert await nodes.blobs() == CONTENTS
    assert 9 * 3 < len(nodes.requests) < 9 * 6


async def test_what_did_not_come_in_time_is_left_out_and_its_node_named() -> None:
    made = make_manifest(bytes(16), [disperse(content, 4).placed for content in CONTENTS[:3]], 4)
    placed: list[Placed] = read_manifest(encode(made), bytes(16))
    shards = {name: shard for content in CONTENTS[:3] for name, shard in zip(*_named(content), strict=True)}

    async def ask_many(node: int, names: list[bytes]) -> list[bytes | None]:
        if node == 2:
            await asyncio.Event().wait()
        return [shards[name] for name in names]

    together = Together(ask_many, 128)
    good, silent = await gather_first(placed, together.asked, 0.05)
    hers = [sum(one.nodes[number] == 2 for number in range(one.k)) for one in placed]
    assert [len(found) for found in good] == [one.k - missing for one, missing in zip(placed, hers, strict=True)]
    assert silent == ({2} if any(hers) else set())
    assert await gather_first([], together.asked, 0.05) == ([], set())


def _named(content: bytes) -> tuple[list[bytes], list[bytes]]:
    made = disperse(content, 4)
    return list(made.placed.shards), list(made.shards)
