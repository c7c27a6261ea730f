"""A node that answers with anything at all costs its clients one more question, never their memory, their money or the truth."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import AsyncIterator

import httpx
import pytest
from tests.service.running import LIAR, Change, Liar, ManualClock, OneNode

from hce.foundation.codec.dagcbor import decode_as, encode
from hce.foundation.crypto.secp import EthSigningKey
from hce.foundation.types.errors import PeerFault
from hce.service.gateway.practice import Practice
from hce.service.sdk.errors import BadAnswer, NodeUnreachable, NotFinalInTime, Remote, WrongNetwork
from hce.service.sdk.light import HeaderTooOld
from hce.service.sdk.network import Network
from hce.service.sdk.node import NodeClient
from hce.service.terms.genesis import Genesis
from hce.service.terms.payloads import CompartmentOpen, compartment_id
from hce.service.terms.proofs import FinalHeader
from hce.service.terms.states import key_compartment, key_organisation
from hce.service.terms.transactions import make_body, sign_tx, tx_id

MINUTE_MS = 60_000


async def joined(node: OneNode, change: Change) -> tuple[Network, Liar]:
    """A network whose first node lies."""
    liar = Liar(node.url, change)
    return await Network.join([LIAR, node.url], node.home.genesis(), transport=liar), liar


def after_joining(lie: httpx.Response | bytes) -> Change:
    return lambda request, answer: None if request.url.path == "/v1/genesis" else lie


def answer(content: bytes, status: int = 200, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.Response(status, headers=named, stream=httpx.ByteStream(content))


LIES = {
    "not cbor, not json": b"\xff\xff",
    "another struct": encode([1, 2, 3]),
    "an empty object": b"{}",
    "a list": b"[]",
    "deep json": b"[" * 100_000,
    "json with a broken letter": b'{"id": "\xff", "hash": "\xff"}',
    "nothing": b"",
    "html with 404": answer(b"<html>", 404),
    "a problem that is none": answer(b'{"code": null', 500),
    "a list as problem": answer(b"[1]", 400),
    "a false content type": answer(b"\xff\xff", content_type="application/json"),
    "compressed": answer(gzip.compress(b"0" * 100_000, mtime=0), content_encoding="gzip"),
    "another encoding": answer(b"x", content_encoding="br, gzip"),
}


@pytest.mark.parametrize("name", LIES)
async def test_whatever_the_first_node_answers_the_next_is_asked(node: OneNode, practice: Practice, name: str) -> None:
    lie = LIES[name]
    if isinstance(lie, httpx.Response):  # a response can be read once
        body = b"".join([piece async for piece in lie.stream])  # type: ignore[union-attr]  # made by `answer`
        status, headers = lie.status_code, dict(lie.headers)
        change: Change = lambda request, _: (  # noqa: E731  # reads better in one line
            None if request.url.path == "/v1/genesis" else httpx.Response(status, headers=headers, stream=httpx.ByteStream(body))
        )
    else:
        change = after_joining(lie)
    network, liar = await joined(node, change)
    async with network:
        assert await network.head() > 0
        assert (await network.reader(key_organisation(practice.org_id))).organisation(practice.org_id) is not None
        payload = CompartmentOpen(os.urandom(32), os.urandom(32))
        await network.transact("compartment.open", payload, practice.org_id, [("payer", practice.keys.signing)])
        opened = compartment_id(network.chain, payload)
        assert (await network.reader(key_compartment(opened))).compartment(opened) is not None
        assert (await network.any_node(lambda one: one.account(bytes(20))))["nonce"] == 0
        assert {"/v1/final", "/v1/health-state", "/v1/health-tx"} <= set(liar.asked)


class Endless(httpx.AsyncByteStream):
    """Counts what was taken of it."""

    def __init__(self) -> None:
        self.pieces = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            self.pieces += 1
            yield bytes(1_000)


async def test_an_endless_answer_is_left_at_the_bound() -> None:
    endless = Endless()
    transport = httpx.MockTransport(lambda request: httpx.Response(200, stream=endless))
    async with httpx.AsyncClient(transport=transport) as http:
        with pytest.raises(BadAnswer):
            await NodeClient("http://endless", http, max_answer_bytes=10_000).blob(bytes(36))
    assert endless.pieces == 11


async def test_no_node_is_asked_to_compress() -> None:
    asked: list[str] = []

    def handle(request: httpx.Request) -> httpx.Response:
        asked.append(request.headers["accept-encoding"])
        return answer(b"{}")

    async with httpx.AsyncClient(transport=httpx.MockTransport(handle)) as http:
        await NodeClient("http://node", http).status()
    assert asked == ["identity"]


async def test_a_node_of_another_network_is_named_and_left_out(node: OneNode) -> None:
    def another(request: httpx.Request, honest: bytes) -> bytes | None:
        if request.url.path != "/v1/genesis":
            return None
        genesis = decode_as(Genesis, honest)
        return encode(Genesis(genesis.version, bytes(16), *(getattr(genesis, name) for name in genesis.__struct_fields__[2:])))

    liar = Liar(node.url, another)
    async with await Network.join([LIAR, node.url], node.home.genesis(), transport=liar) as network:
        assert network.strangers == [LIAR]
        assert [one.url for one in network.nodes] == [node.url]
        await network.head()
    with pytest.raises(WrongNetwork):
        await Network.join([LIAR], node.home.genesis(), transport=Liar(node.url, another))


async def test_a_node_that_does_not_answer_keeps_nobody_from_joining(node: OneNode) -> None:
    async with await Network.join(["http://127.0.0.1:9", node.url], node.home.genesis()) as network:
        assert await network.head() > 0
    with pytest.raises(NodeUnreachable):
        await Network.join(["http://127.0.0.1:9"])


async def test_an_old_proof_says_nothing_about_now(node: OneNode, practice: Practice) -> None:
    """A node that shows a client the state from before a revocation, at first contact."""
    key = key_organisation(practice.org_id)
    payload = CompartmentOpen(os.urandom(32), os.urandom(32))
    receipt = await practice.network.transact("compartment.open", payload, practice.org_id, [("payer", practice.keys.signing)])
    later = ManualClock(11 * MINUTE_MS)
    async with await Network.join([node.url], node.home.genesis(), clock=later) as network:
        with pytest.raises(HeaderTooOld):
            await network.head()
        with pytest.raises(HeaderTooOld):
            await network.state([key])
        assert await network.wait_final(receipt.tx_id) == receipt, "what was final stays final"
        later.ahead_ms = 9 * MINUTE_MS
        assert (await network.reader(key)).organisation(practice.org_id) is not None
    async with await Network.join(
        [node.url], node.home.genesis(), clock=ManualClock(400 * 24 * 60 * MINUTE_MS), max_header_age_ms=None
    ) as halted:
        assert (await halted.reader(key)).organisation(practice.org_id) is not None


async def test_a_node_that_lags_behind_is_passed_over(node: OneNode, network: Network) -> None:
    """The first node shows a proven header from long ago; the second answers."""
    first = encode(await network.nodes[0].final(1))

    def lagging(request: httpx.Request, honest: bytes) -> bytes | None:
        return first if request.url.path == "/v1/final" else None

    genesis_ms = decode_as(FinalHeader, first).header.time_ms
    clock = ManualClock()
    age_ms = clock.now_ms() - genesis_ms
    liar = Liar(node.url, lagging)
    async with await Network.join(
        [LIAR, node.url], node.home.genesis(), transport=liar, max_header_age_ms=max(age_ms - 1, 1)
    ) as behind:
        assert await behind.head() > 1


async def test_a_transfer_is_waited_for_under_its_own_hash(node: OneNode) -> None:
    def false_hash(request: httpx.Request, honest: bytes) -> bytes | None:
        return b'{"hash": "' + b"00" * 32 + b'"}' if request.url.path == "/v1/value-tx" else None

    network, _ = await joined(node, false_hash)
    async with network:
        wallet = EthSigningKey(node.home.wallet().secret)
        assert (await network.transfer(wallet, os.urandom(20), 7))["height"] > 0


async def balance(network: Network, address: bytes) -> int:
    return int((await network.nodes[-1].account(address))["balance_ahce"])


async def test_a_transfer_tried_again_pays_once(node: OneNode, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node takes the transfer, denies it, and gives another nonce for the second try."""
    hidden = True

    def denies(request: httpx.Request, honest: bytes) -> httpx.Response | bytes | None:
        if hidden and request.url.path.startswith("/v1/value-tx/"):
            return answer(b'{"code": "not_found", "status": 404}', 404)
        return None

    monkeypatch.setattr("hce.service.sdk.network.FINAL_WAIT_MS", 50)
    liar = Liar(node.url, denies)
    wallet, to = EthSigningKey(node.home.wallet().secret), os.urandom(20)
    async with await Network.join([LIAR], node.home.genesis(), transport=liar) as network:
        with pytest.raises(NotFinalInTime):
            await network.transfer(wallet, to, 11)
        while await balance(network, to) == 0:
            await network.head()
        with pytest.raises((NotFinalInTime, Remote)):
            await network.transfer(wallet, to, 11)
        hidden = False
        monkeypatch.setattr("hce.service.sdk.network.FINAL_WAIT_MS", 5_000)
        head = await network.head()
        while await network.head() < head + 3:
            pass
        assert await balance(network, to) == 11
        await network.transfer(wallet, os.urandom(20), 1)
        assert await balance(network, to) == 11, "nothing of the second try was waiting"


async def test_a_nonce_from_the_future_is_not_paid_twice(node: OneNode, monkeypatch: pytest.MonkeyPatch) -> None:
    ahead = 3

    def lies(request: httpx.Request, honest: bytes) -> bytes | None:
        if request.url.path.startswith("/v1/accounts/"):
            said = json.loads(honest)
            return json.dumps(said | {"nonce": said["nonce"] + ahead}).encode()
        return None

    liar = Liar(node.url, lies)
    wallet, to = EthSigningKey(node.home.wallet().secret), os.urandom(20)
    monkeypatch.setattr("hce.service.sdk.network.FINAL_WAIT_MS", 50)
    async with await Network.join([LIAR, node.url], node.home.genesis(), transport=liar) as network:
        with pytest.raises(NotFinalInTime):
            await network.transfer(wallet, to, 5)
        ahead = 0
        with pytest.raises(NotFinalInTime):
            await network.transfer(wallet, to, 5)
        monkeypatch.setattr("hce.service.sdk.network.FINAL_WAIT_MS", 5_000)
        for _ in range(3):
            await network.transfer(wallet, os.urandom(20), 1)
        await network.transfer(wallet, to, 5)
        assert await balance(network, to) == 5


async def test_what_is_final_already_may_be_submitted_again(node: OneNode, practice: Practice) -> None:
    network = practice.network
    payload = CompartmentOpen(os.urandom(32), os.urandom(32))
    body = make_body(network.chain, "compartment.open", payload, practice.org_id, await network.head() + 50)
    raw = sign_tx(body, [("payer", practice.keys.signing)])
    first = await network.submit(raw, tx_id(body))
    assert await network.submit(raw, tx_id(body)) == first


async def test_lies_about_proofs_are_a_peers_fault(node: OneNode) -> None:
    """With nobody else to ask, the caller learns whose fault it is."""
    for lie in (b"\xff", encode([[0] * 3])):
        liar = Liar(node.url, after_joining(lie))
        async with await Network.join([LIAR], node.home.genesis(), transport=liar) as network:
            with pytest.raises(PeerFault):
                await network.head()
