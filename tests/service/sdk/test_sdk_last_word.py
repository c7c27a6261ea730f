"""No node has the last word: not one that keeps what it is given, refuses, lags behind, or never answers."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import httpx
import pytest
from tests.service.running import LIAR, Liar, OneNode
from tests.service.sdk.crowd import URLS, Answer, Crowd, refusal

from hce.foundation.codec.dagcbor import encode
from hce.foundation.crypto.secp import EthSigningKey
from hce.service.gateway.practice import Practice
from hce.service.sdk.errors import NodeUnreachable, NotFinalInTime, Remote
from hce.service.sdk.network import Network
from hce.service.sdk.node import AccountHint, NodeClient
from hce.service.terms.payloads import CompartmentOpen
from hce.service.terms.proofs import HealthReceipt

RICH = b'{"balance_ahce": "7", "nonce": 0, "base_fee_wei": "7"}'
TAKEN = b'{"id": "00"}'


class First(Liar):
    """A first node that answers these paths on its own, without telling anybody."""

    def __init__(self, real_url: str, **answers: httpx.Response | bytes) -> None:
        super().__init__(real_url, lambda request, honest: None)
        self._answers = answers

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        name = request.method.lower() + "_" + request.url.path.split("/")[2].replace("-", "_")
        if request.url.host != "liar.test" or name not in self._answers:
            return await super().handle_async_request(request)
        answer = self._answers[name]
        return answer if isinstance(answer, httpx.Response) else httpx.Response(200, stream=httpx.ByteStream(answer))


async def of_four(node: OneNode, first: First) -> Network:
    """The network as if it had four nodes, of which one may be faulty: two are needed for an honest one."""
    network = await Network.join([LIAR, node.url], node.home.genesis(), transport=first)
    network._asking.one_honest = 2
    return network


async def open_one(network: Network, practice: Practice) -> HealthReceipt:
    payload = CompartmentOpen(os.urandom(32), os.urandom(32))
    return await network.transact("compartment.open", payload, practice.org_id, [("payer", practice.keys.signing)])


async def test_a_node_that_keeps_a_transaction_to_itself_does_not_stop_it(node: OneNode, practice: Practice) -> None:
    keeps = First(node.url, post_health_tx=TAKEN, get_health_tx=refusal("not_found", 404))
    async with await of_four(node, keeps) as network:
        assert (await open_one(network, practice)).ok


async def test_a_node_that_refuses_a_good_transaction_does_not_stop_it(node: OneNode, practice: Practice) -> None:
    refuses = First(node.url, post_health_tx=refusal("payer.cannot_pay", 402), get_health_tx=refusal("malformed"))
    async with await of_four(node, refuses) as network:
        assert (await open_one(network, practice)).ok


async def test_a_node_that_shows_an_old_head_does_not_decide_what_is_now(node: OneNode, network: Network) -> None:
    first = encode(await network.nodes[0].final(1))
    async with await of_four(node, First(node.url, get_final=first)) as behind:
        assert await behind.head() > 1


async def test_a_node_that_keeps_a_transfer_to_itself_does_not_stop_it(node: OneNode) -> None:
    keeps = First(node.url, post_value_tx=b"{}", get_value_tx=refusal("not_found", 404))
    async with await of_four(node, keeps) as network:
        assert (await network.transfer(EthSigningKey(node.home.wallet().secret), os.urandom(20), 7))["height"] > 0


async def test_a_network_of_one_node_is_asked_once(node: OneNode, practice: Practice) -> None:
    plain = First(node.url)
    async with await Network.join([LIAR], node.home.genesis(), transport=plain) as network:
        await open_one(network, practice)
    assert [path.split("/")[2] for path in plain.asked] == ["genesis", "final", "health-tx", "health-tx"]


async def joined(root: Path, answer: Answer) -> tuple[Network, Crowd]:
    crowd = Crowd(root, answer)
    return await Network.join(URLS, crowd.genesis, transport=crowd), crowd


async def account(node: NodeClient) -> AccountHint:
    return await node.account(bytes(20))


async def test_a_refusal_is_final_when_three_of_nine_say_the_same(tmp_path: Path) -> None:
    codes = ["a", "b", "a", "b"]

    async def refuses(host: int, request: httpx.Request) -> httpx.Response | bytes | None:
        if request.url.path.startswith("/v1/accounts"):
            return refusal(codes[host]) if host < len(codes) else RICH
        return None

    network, crowd = await joined(tmp_path, refuses)
    async with network:
        assert (await network.any_node(account))["nonce"] == 0
        assert crowd.hosts_asked("/v1/accounts") == [0, 1, 2, 3, 4]
        codes += ["a"]
        with pytest.raises(Remote) as refused:
            await network.any_node(account)
        assert refused.value.code == "a"


async def test_a_few_refusals_among_the_unreachable_say_nothing_for_sure(tmp_path: Path) -> None:
    refusing = 2

    async def answer(host: int, request: httpx.Request) -> httpx.Response | None:
        if not request.url.path.startswith("/v1/accounts"):
            return None
        return refusal(f"code{host}") if host < refusing else refusal("away", 503)

    network, _ = await joined(tmp_path, answer)
    async with network:
        with pytest.raises(Exception, match="away"):
            await network.any_node(account)
        refusing = 3
        with pytest.raises(Remote):
            await network.any_node(account)


async def test_a_node_that_hangs_is_not_waited_for_and_asked_last_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hce.service.sdk.asking.NEXT_S", 0.05)

    async def hangs(host: int, request: httpx.Request) -> bytes | None:
        if not request.url.path.startswith("/v1/accounts"):
            return None
        if host < 2:
            await asyncio.Event().wait()
        return RICH

    network, crowd = await joined(tmp_path, hangs)
    async with network:
        async with asyncio.timeout(5):
            assert (await network.any_node(account))["nonce"] == 0
        crowd.asked.clear()
        await network.any_node(account)
        assert crowd.hosts_asked("/v1/accounts") == [2]


async def test_three_of_nine_are_told_and_all_are_asked_before_it_is_not_final(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hce.service.sdk.network.FINAL_WAIT_MS", 50)

    async def takes(host: int, request: httpx.Request) -> bytes | None:
        return TAKEN if request.method == "POST" else None

    network, crowd = await joined(tmp_path, takes)
    async with network:
        with pytest.raises(NotFinalInTime):
            await network.submit(b"raw", bytes(36))
    assert sorted(host for host, path in crowd.asked if path == "/v1/health-tx") == [0, 1, 2]
    assert crowd.hosts_asked("/v1/health-tx/") == list(range(9))


@pytest.mark.parametrize(("takers", "told"), [([], 3), ([0], 9)])
async def test_what_enough_nodes_refuse_is_refused_though_a_liar_takes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, takers: list[int], told: int
) -> None:
    """At once when nobody takes it; when somebody does it has its time to become final."""
    monkeypatch.setattr("hce.service.sdk.network.FINAL_WAIT_MS", 200)

    async def answer(host: int, request: httpx.Request) -> httpx.Response | bytes | None:
        if request.method == "POST":
            return TAKEN if host in takers else refusal("grant.unknown", 409)
        if request.url.path.startswith("/v1/health-tx/"):
            await asyncio.sleep(int(request.url.params["wait_ms"]) / 1_000)
        return None

    network, crowd = await joined(tmp_path, answer)
    async with network:
        with pytest.raises(Remote) as refused:
            await network.submit(b"raw", bytes(36))
        assert refused.value.code == "grant.unknown"
    assert [path for _, path in crowd.asked].count("/v1/health-tx") == told


async def test_nobody_to_ask_is_said(tmp_path: Path) -> None:
    async def cut(host: int, request: httpx.Request) -> bytes | None:
        if request.url.path != "/v1/genesis":
            raise httpx.ConnectError("cut")
        return None

    network, _ = await joined(tmp_path, cut)
    async with network:
        for ask in (network.head(), network.submit(b"raw", bytes(36)), network.wait_final(bytes(36))):
            with pytest.raises(NodeUnreachable):
                await ask
