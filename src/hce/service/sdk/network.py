"""All nodes of a network as one: submit anywhere, believe nothing that is not proven."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from hce.foundation.codec.cid import cid_of_dag_cbor, cid_of_raw
from hce.foundation.crypto.secp import EthSigningKey
from hce.foundation.crypto.sign import SigningKey
from hce.foundation.types.errors import HceError, PeerFault, Unavailable
from hce.network.hcefs.errors import PlacementInvalid
from hce.network.hcefs.gather import content_of, gather
from hce.network.hcefs.manifest import Placed, read_manifest
from hce.network.hcefs.together import Together
from hce.service.sdk.errors import Failed, NodeUnreachable, NotFinalInTime, Remote, RemoteUnavailable, WrongNetwork
from hce.service.sdk.light import LightClient
from hce.service.sdk.node import NodeClient
from hce.service.sdk.wallet import sign_transfer
from hce.service.terms.genesis import Genesis, genesis_cid
from hce.service.terms.proofs import MAX_STATE_KEYS, HealthReceipt
from hce.service.terms.states import HealthReader
from hce.service.terms.transactions import make_body, sign_tx, tx_id

T = TypeVar("T")

FINAL_WAIT_MS = 20_000
"""How long a caller waits for one transaction to become final."""
STATUS_WAIT_S = 2.0
"""How long a node may take to say which one it is."""
MAX_MANIFESTS = 64
"""Placement manifests remembered."""
MAX_SHARDS_ASKED = 128
"""Shards in one request."""
START_WAIT_S = 20.0
START_POLL_S = 0.1
VALID_FOR_BLOCKS = 300
"""Life of a transaction made here, in blocks: half of the replay window."""


class BlobForged(PeerFault):
    """A node served bytes that are not what their name says."""

    code = "blob.forged"


class Network:
    """A client of one HCE network. Use as `async with await Network.join(urls) as network`."""

    def __init__(self, nodes: Sequence[NodeClient], genesis: Genesis, http: httpx.AsyncClient) -> None:
        self.nodes = list(nodes)
        self.genesis = genesis
        self.light = LightClient(genesis)
        self._http = http
        self._by_index: dict[int, NodeClient] = {}
        self._learning = asyncio.Lock()
        self._shards = Together(self._ask_shards, MAX_SHARDS_ASKED)
        self._manifests: dict[bytes, dict[bytes, Placed]] = {}
        self._transferring = asyncio.Lock()
        """One transfer at a time: the next nonce is known when the one before is final."""

    @classmethod
    async def join(cls, urls: Sequence[str], genesis: Genesis | None = None) -> Self:
        """Connects. Without a genesis it trusts the one the first node serves (development); with one, every node must agree."""
        http = httpx.AsyncClient(limits=httpx.Limits(max_connections=64), trust_env=False)
        nodes = [NodeClient(url, http) for url in urls]
        try:
            served = await nodes[0].genesis()
        except HceError:
            await http.aclose()
            raise
        if genesis is not None and genesis_cid(genesis) != genesis_cid(served):
            await http.aclose()
            raise WrongNetwork(url=urls[0], expected=genesis_cid(genesis).hex(), actual=genesis_cid(served).hex())
        return cls(nodes, served, http)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def close(self) -> None:
        await self._http.aclose()

    @property
    def chain(self) -> bytes:
        return self.genesis.chain

    async def any_node(self, ask: Callable[[NodeClient], Awaitable[T]]) -> T:
        """The first node that answers; a refusal is an answer, an unreachable or failing node is not."""
        failure: HceError = NodeUnreachable("no node")
        for node in self.nodes:
            try:
                return await ask(node)
            except Remote as error:
                if error.status < 500:
                    raise
                failure = RemoteUnavailable(error.code, node.url)
            except (Unavailable, PeerFault) as error:
                failure = error
        raise failure

    async def every_node(self, ask: Callable[[NodeClient], Awaitable[T]]) -> list[T | HceError]:
        """What each node answered, in node order, errors included."""

        async def one(node: NodeClient) -> T | HceError:
            try:
                return await ask(node)
            except HceError as error:
                return error

        return list(await asyncio.gather(*(one(node) for node in self.nodes)))

    async def started(self, wait_s: float = START_WAIT_S) -> int:
        """Waits for the first final block of a young network; its height. Raises what the nodes answered last."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait_s
        while True:
            try:
                return await self.head()
            except Unavailable:
                if loop.time() >= deadline:
                    raise
                await asyncio.sleep(START_POLL_S)

    async def head(self) -> int:
        """Height of the newest header that is proven final."""
        await self.any_node(self._see_head)
        return self.light.height

    async def _see_head(self, node: NodeClient) -> None:
        self.light.accept(await node.final())

    async def transact(self, kind: str, payload: Any, payer: bytes | None, signers: list[tuple[str, SigningKey]]) -> HealthReceipt:
        """Makes, signs, submits and waits; the proven receipt. Raises `Remote` at the door, `Failed` when final but failed."""
        body = make_body(self.chain, kind, payload, payer, await self.head() + VALID_FOR_BLOCKS)
        return await self.submit(sign_tx(body, signers), tx_id(body))

    async def submit(self, raw: bytes, name: bytes) -> HealthReceipt:
        """Submits signed bytes and waits for their proven receipt."""
        await self.any_node(lambda node: node.submit_health(raw))
        return await self.wait_final(name)

    async def wait_final(self, name: bytes) -> HealthReceipt:
        async def ask(node: NodeClient) -> HealthReceipt:
            return self.light.transaction(name, await node.health_tx(name, FINAL_WAIT_MS))

        try:
            receipt = await self.any_node(ask)
        except Remote as error:
            if error.code == "not_found":
                raise NotFinalInTime(tx_id=name.hex()) from error
            raise
        if not receipt.ok:
            raise Failed(receipt.code, name)
        return receipt

    async def state(self, keys: Sequence[bytes]) -> dict[bytes, bytes | None]:
        """Proven values of health keys, no older than anything this client has seen; up to 1,000 keys come from one block."""
        values: dict[bytes, bytes | None] = {}
        for start in range(0, len(keys), MAX_STATE_KEYS):
            part = list(keys[start : start + MAX_STATE_KEYS])
            seen = self.light.height

            async def ask(node: NodeClient, part: list[bytes] = part, seen: int = seen) -> dict[bytes, bytes | None]:
                return self.light.state(part, await node.health_state(part), seen)

            values |= await self.any_node(ask)
        return values

    async def reader(self, *keys: bytes) -> HealthReader:
        """A reader over these proven keys; asking it for another key is a programming error (KeyError)."""
        return HealthReader((await self.state(keys)).__getitem__)

    async def node(self, index: int) -> NodeClient:
        """The client of one node, known by what the node says of itself: whoever relies on it checks a signature or a name."""
        if index not in self._by_index:
            async with self._learning:
                known = {id(node) for node in self._by_index.values()}
                await asyncio.gather(*(self._learn(node) for node in self.nodes if id(node) not in known))
        if index not in self._by_index:
            raise NodeUnreachable("no node says it is this one", node=index)
        return self._by_index[index]

    async def _learn(self, node: NodeClient) -> None:
        try:
            async with asyncio.timeout(STATUS_WAIT_S):
                said = (await node.status()).get("node")
        except (HceError, TimeoutError):
            return
        if isinstance(said, int) and 0 <= said < len(self.genesis.nodes):
            self._by_index.setdefault(said, node)

    async def blob(self, cid: bytes, placement: bytes | None = None) -> bytes:
        """Bytes of that name, verified: a ciphertext gathered from the shards its placement names, else assembled by any node.

        Raises `BlobUnrecoverable` (or what the nodes say) when no node and no k shards give it.
        """
        failure: HceError | None = None
        if placement is not None and len(self.genesis.nodes) > 1:
            try:
                placed = await self._placed(placement, cid)
                if placed.k > 1:
                    return content_of(placed, await gather(placed, self._shards.ask, {}))
            except HceError as error:
                failure = error
        try:
            return await self._whole(cid, cid_of_raw)
        except Unavailable as error:
            raise failure or error from error

    async def _placed(self, placement: bytes, ciphertext: bytes) -> Placed:
        """Where a ciphertext lies, by a manifest that any node may give."""
        manifest = self._manifests.get(placement)
        if manifest is None:
            read = read_manifest(await self._whole(placement, cid_of_dag_cbor), self.chain)
            manifest = {one.ciphertext: one for one in read}
            while len(self._manifests) >= MAX_MANIFESTS:
                del self._manifests[next(iter(self._manifests))]
            self._manifests[placement] = manifest
        if ciphertext not in manifest:
            raise PlacementInvalid("names another ciphertext", expected=ciphertext.hex())
        return manifest[ciphertext]

    async def _whole(self, cid: bytes, name: Callable[[bytes], bytes]) -> bytes:
        """From the first node that gives bytes of that name; a node that lacks them is not the last word."""

        async def ask(node: NodeClient) -> bytes:
            try:
                content = await node.blob(cid)
            except Remote as error:
                raise RemoteUnavailable(error.code, node.url) from error
            if name(content) != cid:
                raise BlobForged(cid=cid.hex(), url=node.url)
            return content

        return await self.any_node(ask)

    async def _ask_shards(self, index: int, cids: list[bytes]) -> list[bytes | None]:
        return await (await self.node(index)).shards(cids)

    async def transfer(self, key: EthSigningKey, to: bytes, amount_ahce: int) -> dict[str, Any]:
        """A plain HCET transfer, waited for; the node's word on its inclusion (value proofs come with the explorer)."""
        async with self._transferring:
            account = await self.any_node(lambda node: node.account(key.address))
            raw = sign_transfer(
                key, self.genesis.eip155_id, account["nonce"], to, amount_ahce, max_fee_wei=2 * int(account["base_fee_wei"])
            )
            name = await self.any_node(lambda node: node.submit_value(raw))
            return await self.any_node(lambda node: node.value_tx(name, FINAL_WAIT_MS))
