"""A real node whose pool is full: its memory and the blocks that another payer waits are numbers. Half a minute: part of `make soak`."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import ExitStack
from random import Random

import httpx
import pytest
from tests.app.hostile import Process
from tests.service.running import OneNode, certified

from hce.app.devnet.genesis import HCET
from hce.app.devnet.people import fill_tank
from hce.foundation.codec.cid import cid_of_dag_cbor
from hce.foundation.codec.dagcbor import decode_as, encode
from hce.foundation.crypto.sign import SigningKey
from hce.service.keyring.keyring import Keyring
from hce.service.sdk.network import Network
from hce.service.terms.payloads import AvailabilityReceipt, CompartmentOpen, RecordBatch, RecordEntry, org_id
from hce.service.terms.transactions import Submitted, make_body, sign_tx

GROWTH_BYTES = 192 << 20
"""Most that RssAnon grows when the paid lane (24 MiB of batches) is full: parsed it takes four times its bytes, and one list of 4 MiB
is being decoded and checked meanwhile."""
MOST_BLOCKS = 3
"""Blocks until a stranger's transaction is final: the one being made when it comes, the next, and one for a busy machine."""
BATCHES = 45
"""Of 600 records each, in one request of nearly 4 MiB."""
MOST_REQUESTS = 60


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OneNode]:
    with ExitStack() as stack:
        made = OneNode(tmp_path_factory.mktemp("mempool") / "home", stack)
        asyncio.run(certified(made))
        yield made


def key_of(node: OneNode, name: str) -> SigningKey:
    with Keyring.open(node.home.gateway(name) / "keyring") as keyring:
        return keyring.organisation().signing


def batches(chain: bytes, key: SigningKey, until: int, rng: Random) -> bytes:
    """Records nobody vouched for: they will fail, and their payer pays."""
    organisation, listed = org_id(chain, key.public), []
    for _ in range(BATCHES):
        entries = [RecordEntry(*(rng.randbytes(32) for _ in range(4))) for _ in range(600)]
        receipt = AvailabilityReceipt(0, None, until, bytes(64))
        batch = RecordBatch(organisation, entries, cid_of_dag_cbor(rng.randbytes(8)), [receipt])
        body = make_body(chain, "record.commit", batch, organisation, until)
        listed.append(sign_tx(body, [("organisation", key), ("payer", key)]))
    return encode(listed)


@pytest.mark.skipif("HCE_SOAK" not in os.environ, reason="fills a real pool for half a minute: make soak")
async def test_a_full_pool_takes_bounded_memory_and_keeps_nobody_out(node: OneNode) -> None:
    assert node._process is not None
    process = Process(node.url, node._process.pid, node.home.root / "node.log", {})
    flooder, stranger = key_of(node, "riverside"), key_of(node, "oldtown")
    async with (
        await Network.join([node.url], node.home.genesis()) as network,
        httpx.AsyncClient(trust_env=False, timeout=120) as http,
    ):
        await fill_tank(node.home, network, org_id(network.chain, flooder.public), 20_000_000 * HCET)
        before, most, rng, codes = process.rss_anon_bytes(), 0, Random(1), set()
        until = int((await http.get(node.url + "/v1/status")).json()["height"]) + 400
        for _ in range(MOST_REQUESTS):
            listed = batches(network.chain, flooder, until, rng)
            answer = await http.post(node.url + "/v1/health-txs", content=listed)
            codes |= {one.code for one in decode_as(list[Submitted], answer.content)}
            most = max(most, process.rss_anon_bytes() - before)
            if "pool.full" in codes:
                break
        assert codes == {"", "pool.full"}, "the flood was taken until the lane was full, and then refused by name"
        began = int((await http.get(node.url + "/v1/status")).json()["height"])
        organisation = org_id(network.chain, stranger.public)
        opening = CompartmentOpen(os.urandom(32), os.urandom(32))
        raw = sign_tx(make_body(network.chain, "compartment.open", opening, organisation, until), [("payer", stranger)])
        named = (await http.post(node.url + "/v1/health-tx", content=raw)).json()["id"]
        proof = await network.nodes[0].health_tx(bytes.fromhex(named), 20_000)
        assert proof.final.header.height - began <= MOST_BLOCKS
        assert int((await http.get(node.url + "/v1/status")).json()["waiting"]) > 0, "the flood still waits"
        most = max(most, process.rss_anon_bytes() - before)
    assert most < GROWTH_BYTES
    assert process.said_wrong() == []
