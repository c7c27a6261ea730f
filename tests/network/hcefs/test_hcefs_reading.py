"""Reads: the nearest shards first, nothing believed, few requests for many records; a node that was away catches up."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from hce.foundation.codec.cid import cid_of_dag_cbor, cid_of_raw
from hce.foundation.codec.dagcbor import decode, encode
from hce.foundation.store.errors import BlobNotFound
from hce.foundation.types.errors import Unavailable
from hce.network.hcefs import fs as room
from hce.network.hcefs.errors import BlobMiscoded, BlobUnrecoverable, PlacementInvalid
from hce.network.hcefs.fs import each_of
from hce.network.hcefs.gather import content_of, gather
from hce.network.hcefs.manifest import disperse, make_manifest, read_manifest
from hce.network.hcefs.scrub import Scrubber
from hce.network.hcefs.together import Together

CHAIN = bytes(range(16))


async def no_sleep(_: float) -> None:
    """Scrubs at full speed."""


@pytest.mark.parametrize("n", range(1, 10))
async def test_every_node_gives_every_ciphertext_and_serves_its_own_shards(n: int, network: Any) -> None:
    nodes = network(n)
    nodes.write(count=2)
    for member in nodes.members:
        for placed in nodes.placed:
            assert await member.fs.blob(placed.ciphertext) == nodes.contents[placed.ciphertext]
            if member.node in placed.nodes:
                name, true = nodes.shard(placed, member.node)
                assert await member.fs.shards([name]) == [true]
        assert await member.fs.blob(cid_of_dag_cbor(nodes.manifest)) == nodes.manifest


async def test_an_answer_ends_early_also_when_its_shards_had_to_be_repaired(network: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = network(4)
    nodes.write(count=6)
    reader = nodes.members[0]
    names = [nodes.shard(placed, 0)[0] for placed in nodes.placed]
    for name in names:
        reader.packs.delete(name)
    monkeypatch.setattr(room, "MAX_ANSWER_BYTES", 2 * 350)
    answer = await reader.fs.shards(names)
    assert answer == [nodes.shard(placed, 0)[1] for placed in nodes.placed[:3]]


async def test_content_without_damage_is_read_from_its_own_shards_alone(network: Any) -> None:
    nodes = network(9)
    nodes.write(count=1)
    (placed,) = nodes.placed
    nodes.wire.requests.clear()
    reader = placed.nodes[8]
    await nodes.members[reader].fs.blob(placed.ciphertext)
    assert sorted(peer for _, peer in nodes.wire.requests) == sorted(placed.nodes[:5])  # the sixth it has itself: parity, k = 6


async def test_lying_peers_are_replaced_by_others(network: Any) -> None:
    nodes = network(9)
    nodes.write(count=1)
    (placed,) = nodes.placed
    reader = nodes.members[placed.nodes[0]]
    for node in placed.nodes[1:3]:
        nodes.wire.lies[node] = lambda answer: encode([bytes(len(shard)) for shard in decode(answer)])
    nodes.wire.lies[placed.nodes[3]] = lambda _: b"\x80"
    assert await reader.fs.blob(placed.ciphertext) == nodes.contents[placed.ciphertext]
    nodes.wire.lies[placed.nodes[4]] = lambda _: b"no list"
    with pytest.raises(BlobUnrecoverable):
        await reader.fs.blob(placed.ciphertext)


async def test_unknown_names_are_not_found_and_cost_no_request(network: Any) -> None:
    nodes = network(4)
    nodes.write()
    nodes.wire.requests.clear()
    for name in (cid_of_raw(b"unknown"), cid_of_dag_cbor(b"unknown")):
        with pytest.raises(BlobNotFound):
            await nodes.members[0].fs.blob(name)
        with pytest.raises(BlobNotFound):
            await nodes.members[0].fs.shard(name)
    assert nodes.wire.requests == []
    assert nodes.members[0].fs.counters.damaged == 0


async def test_an_author_who_dispersed_something_else_is_named(network: Any) -> None:
    nodes = network(4)
    true, other = disperse(b"what the name says", 4), disperse(b"something else    ", 4)
    lying = type(true.placed)(true.placed.ciphertext, true.placed.size_bytes, other.placed.shards)
    manifest = encode(make_manifest(CHAIN, [lying], 4))
    for member in nodes.members:
        member.take(manifest, [other.shards])
    with pytest.raises(BlobMiscoded):
        await nodes.members[0].fs.blob(true.placed.ciphertext)


async def test_a_second_placement_that_lies_does_not_hide_the_first(network: Any) -> None:
    nodes = network(4)
    nodes.write(count=1)
    (placed,) = nodes.placed
    other = disperse(b"x" * placed.size_bytes, 4)
    lying = encode(make_manifest(CHAIN, [type(other.placed)(placed.ciphertext, placed.size_bytes, other.placed.shards)], 4))
    for member in nodes.members:
        member.take(lying, [other.shards])
        assert await member.fs.blob(placed.ciphertext) == nodes.contents[placed.ciphertext]


async def test_a_node_that_was_away_fetches_manifest_and_shards_that_final_blocks_name(network: Any) -> None:
    nodes = network(9)
    nodes.write(count=12, without=(2,))
    away = nodes.members[2]
    name = cid_of_dag_cbor(nodes.manifest)
    away.placements.expect(7, [name])
    assert (away.placements.seen_height, away.placements.awaited(b"", 10)) == (7, [name])
    nodes.wire.requests.clear()
    await Scrubber(away.fs, sleep=no_sleep).tend()
    assert away.placements.awaited(b"", 10) == []
    for placed in nodes.placed:
        own, true = nodes.shard(placed, 2)
        assert away.packs.get(own) == true
    assert away.fs.counters.restored == 12
    assert len(nodes.wire.requests) < 40, "shards of many records travel together"
    away.placements.expect(8, [name])
    assert away.placements.awaited(b"", 10) == []


async def test_a_manifest_nobody_has_is_awaited_until_somebody_has_it(network: Any) -> None:
    nodes = network(4)
    nodes.write(without=(0, 1, 2, 3))
    name = cid_of_dag_cbor(nodes.manifest)
    nodes.members[0].placements.expect(3, [name])
    scrubber = Scrubber(nodes.members[0].fs, sleep=no_sleep)
    await scrubber.tend()
    assert nodes.members[0].placements.awaited(b"", 10) == [name]
    nodes.members[3].take(nodes.manifest, [disperse(nodes.contents[one.ciphertext], 4).shards for one in nodes.placed])
    await scrubber.tend()
    assert nodes.members[0].placements.knows(name)


@pytest.mark.parametrize("silent", [{0, 1}, {2, 3}, {1, 3}])
async def test_silent_peers_do_not_hold_up_a_manifest(silent: set[int], network: Any) -> None:
    nodes = network(5)
    nodes.write(without=(4,))
    away, name = nodes.members[4], cid_of_dag_cbor(nodes.manifest)
    away.placements.expect(3, [name])
    nodes.wire.silent = silent
    async with asyncio.timeout(3):
        assert await away.fs.blob(name) == nodes.manifest


async def test_repairs_that_wait_for_silent_peers_do_not_hold_up_the_others() -> None:
    begun: list[bytes] = []
    ended: list[bytes] = []

    async def step(name: bytes) -> None:
        begun.append(name)
        if name == b"0":
            await asyncio.Event().wait()
        ended.append(name)

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await each_of([b"%d" % number for number in range(9)], step)
    assert len(begun) == 9
    assert ended == [b"%d" % number for number in range(1, 9)]


@pytest.mark.parametrize(
    "changes",
    [
        {"chain": bytes(16)},
        {"k": 5},
        {"k": 4},
        {"k": 1},
        {"n": 3},
    ],
)
def test_manifests_that_no_placing_makes_are_refused(changes: dict[str, Any]) -> None:
    made = make_manifest(CHAIN, [disperse(b"content", 4).placed], 4)
    fields = {"domain": made.domain, "chain": made.chain, "blobs": made.blobs, "k": made.k, "n": made.n}
    assert read_manifest(encode(made), CHAIN)[0].nodes
    with pytest.raises(PlacementInvalid):
        read_manifest(encode(type(made)(**(fields | changes))), CHAIN)


async def test_a_slow_holder_gets_company() -> None:
    dispersed = disperse(b"content " * 10, 4)
    manifest = make_manifest(CHAIN, [dispersed.placed], 4)
    (placed,) = read_manifest(encode(manifest), CHAIN)
    asked: list[int] = []

    async def fetch(node: int, name: bytes) -> bytes | None:
        asked.append(node)
        if node == placed.nodes[0]:
            await no_answer()
        return dispersed.shards[placed.shards.index(name)]

    shards = await gather(placed, fetch, {}, hedge_s=0.01)
    assert content_of(placed, shards) == b"content " * 10
    assert asked == placed.nodes[:3]


async def no_answer() -> None:
    await asyncio.Event().wait()


async def test_questions_to_one_node_travel_together_and_each_gets_its_answer() -> None:
    requests: list[list[bytes]] = []

    async def ask_many(node: int, names: list[bytes]) -> list[bytes | None]:
        requests.append(names)
        return [name.upper() for name in names[:3]]  # answers end early

    together = Together(ask_many, max_asked=4)
    names = [b"%c" % letter for letter in range(ord("a"), ord("k"))]
    assert await asyncio.gather(*(together.ask(0, name) for name in names)) == [name.upper() for name in names]
    assert [len(request) for request in requests] == [4, 4, 4, 1]


async def test_a_request_that_fails_fails_its_questions_and_no_others() -> None:
    async def ask_many(node: int, names: list[bytes]) -> list[bytes | None]:
        if node == 1:
            raise Unavailable
        return [] if node == 2 else list(names)

    together = Together(ask_many, max_asked=4)
    answers = await asyncio.gather(*(together.ask(node, b"x") for node in (0, 1, 2)), return_exceptions=True)
    assert answers[0] == b"x"
    assert [getattr(answer, "code", None) for answer in answers[1:]] == ["unavailable", "peer.no_answer"]
