"""Which node is which is proven: who says another's number takes nothing from it, and accuses nobody."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import httpx
import pytest
from msgspec import structs
from tests.service.running import OneNode
from tests.service.sdk.crowd import URLS, Answer, Crowd, refusal

from hce.foundation.codec.cid import cid_of_raw
from hce.foundation.codec.dagcbor import decode_as, encode
from hce.foundation.crypto.hashing import digest
from hce.foundation.proofs.listhash import list_proof
from hce.service.sdk.anchors import _ask
from hce.service.sdk.errors import NodeUnreachable, Remote
from hce.service.sdk.network import Network
from hce.service.terms.grants import AnchorProof
from hce.service.terms.identity import Identity, proves_identity

THIEVES = {8: 3, 7: 4}
"""Host -> the node it says it is."""


async def joined(root: Path, answer: Answer, urls: list[str] = URLS) -> tuple[Network, Crowd]:
    crowd = Crowd(root, answer)
    return await Network.join(urls, crowd.genesis, transport=crowd), crowd


async def steals(host: int, request: httpx.Request) -> bytes | None:
    """Thieves say another's number, the quickest of all, without its key."""
    if host not in THIEVES:
        await asyncio.sleep(0)
        return None
    if request.url.path == "/v1/status":
        return json.dumps({"node": THIEVES[host]}).encode()
    return encode([THIEVES[host], bytes(64)]) if request.url.path == "/v1/identity" else None


async def test_who_says_another_nodes_number_takes_nothing_from_it(tmp_path: Path) -> None:
    network, _ = await joined(tmp_path, steals, URLS[::-1])
    async with network:
        assert {index: (await network.node(index)).url for index in range(7)} == dict(enumerate(URLS[:7]))
        assert await network.unproven() == [URLS[8], URLS[7]]
        with pytest.raises(NodeUnreachable):
            await network.node(8)
        with pytest.raises(NodeUnreachable):
            await network.index_of(network.nodes[0])


async def test_an_old_proof_and_one_of_another_index_prove_nothing(tmp_path: Path) -> None:
    async def replays(host: int, request: httpx.Request) -> bytes | None:
        if request.url.path != "/v1/identity" or host > 1:
            return None
        honest = decode_as(Identity, crowd.shows(3, request))
        if host == 0:
            return encode(structs.replace(honest, node=2))
        return crowd.shows(3, httpx.Request("GET", "http://n3/v1/identity", params={"nonce": "00" * 32}))

    network, crowd = await joined(tmp_path, replays)
    async with network:
        assert await network.unproven() == URLS[:2]
        assert [node.url for node in await network.addresses(3)] == [URLS[3]]


async def test_who_passes_questions_on_to_a_node_does_not_keep_it_from_its_clients(tmp_path: Path) -> None:
    """The relay's proof is the real node's; what it then denies or forges the node itself still gives."""
    content = b"shard"

    async def relays(host: int, request: httpx.Request) -> bytes | None:
        if host == 0 and request.url.path == "/v1/identity":
            return crowd.shows(3, request)
        if request.url.path == "/v1/shards":
            return encode([b"forged" if host == 0 else content])
        return None

    network, crowd = await joined(tmp_path, relays)
    async with network:
        assert [node.url for node in await network.addresses(3)] == [URLS[0], URLS[3]]
        assert await network._contents._shards.ask(3, cid_of_raw(content)) == content

        async def ask(node: object) -> str:
            if node is network.nodes[0]:
                raise Remote("no", 400)
            return "yes"

        assert await network.at(3, ask) == "yes"


async def test_a_node_that_does_not_answer_at_first_is_asked_again_when_it_is_wanted(tmp_path: Path) -> None:
    away = True

    async def comes_back(host: int, request: httpx.Request) -> httpx.Response | None:
        return refusal("away", 503) if away and host == 2 else None

    network, crowd = await joined(tmp_path, comes_back)
    async with network:
        await asyncio.gather(*(network.node(index) for index in (0, 1, 3)))
        assert sorted(host for host, path in crowd.asked if path == "/v1/identity") == list(range(9)), "each once"
        with pytest.raises(NodeUnreachable):
            await network.node(2)
        away = False
        assert (await network.node(2)).url == URLS[2]


async def test_a_denial_of_somebody_else_is_not_the_nodes(tmp_path: Path) -> None:
    """The owner hears the node itself, past a thief of its number and past a relay."""
    leaf = digest("test/leaf")
    proof = AnchorProof(4, list_proof([leaf], 0))

    async def denies(host: int, request: httpx.Request) -> bytes | None:
        if request.url.path == "/v1/anchors":
            return encode([proof if host == 3 else None])
        if host == 6 and request.url.path == "/v1/identity":
            return crowd.shows(3, request)
        return await steals(host, request)

    network, crowd = await joined(tmp_path, denies, URLS[::-1])
    async with network:
        assert await _ask(network, 3, [leaf]) == [(leaf, proof)]
        assert await _ask(network, 8, [leaf]) == [], "nobody has proven to be that one"
    assert sorted(crowd.hosts_asked("/v1/anchors")) == [3, 6]


async def test_a_real_node_proves_its_index_for_the_nonce_it_is_given(node: OneNode, network: Network) -> None:
    genesis, nonce = node.home.genesis(), bytes(range(32))
    identity = await network.nodes[0].identity(nonce)
    assert proves_identity(identity, genesis.chain, genesis.node_list, nonce)
    assert not proves_identity(identity, genesis.chain, genesis.node_list, bytes(32))
    assert not proves_identity(identity, bytes(16), genesis.node_list, nonce)
    assert not proves_identity(structs.replace(identity, node=1), genesis.chain, genesis.node_list, nonce)
    for wrong in (b"", nonce[:31]):
        with pytest.raises(Remote, match="malformed") as refused:
            await network.nodes[0].identity(wrong)
        assert refused.value.status == 400
