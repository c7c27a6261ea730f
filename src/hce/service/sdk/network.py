"""All nodes of a network as one: submit anywhere, believe nothing that is not proven."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar

import httpx

from hce.foundation.codec.cid import is_named
from hce.foundation.crypto.hashing import keccak256
from hce.foundation.crypto.secp import EthSigningKey
from hce.foundation.crypto.sign import SigningKey
from hce.foundation.types.clock import Clock, SystemClock
from hce.foundation.types.errors import HceError, PeerFault, Unavailable
from hce.foundation.types.quorum import quorum
from hce.network.hcefs.errors import PlacementInvalid
from hce.network.hcefs.gather import content_of, gather
from hce.network.hcefs.manifest import Placed, read_manifest
from hce.network.hcefs.together import Together
from hce.service.sdk.errors import BadAnswer, Failed, NodeUnreachable, NotFinalInTime, Remote, RemoteUnavailable, WrongNetwork
from hce.service.sdk.identities import Identities
from hce.service.sdk.light import MAX_HEADER_AGE_MS, HeaderTooOld, LightClient
from hce.service.sdk.node import NodeClient
from hce.service.sdk.wallet import sign_transfer
from hce.service.terms.genesis import Genesis, genesis_cid
from hce.service.terms.proofs import MAX_STATE_KEYS, HealthReceipt
from hce.service.terms.states import HealthReader
from hce.service.terms.transactions import make_body, sign_tx, tx_id

T = TypeVar("T")

log = logging.getLogger("hce.sdk")

FINAL_WAIT_MS = 20_000
"""How long a caller waits for one transaction to become final."""
STATUS_WAIT_S = 2.0
"""How long a node may take for what needs no work."""
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

    def __init__(
        self,
        nodes: Sequence[NodeClient],
        genesis: Genesis,
        http: httpx.AsyncClient,
        clock: Clock,
        max_header_age_ms: int | None = MAX_HEADER_AGE_MS,
        strangers: Sequence[str] = (),
    ) -> None:
        self.nodes = list(nodes)
        self.genesis = genesis
        self.light = LightClient(genesis, clock, max_header_age_ms)
        self.strangers = list(strangers)
        """Addresses that were given but serve another network; they are not asked."""
        self._http = http
        self._identities = Identities(self.nodes, genesis)
        self._shards = Together(self._ask_shards, MAX_SHARDS_ASKED)
        self._manifests: dict[bytes, dict[bytes, Placed]] = {}
        self._transferring = asyncio.Lock()
        """One transfer at a time: the next nonce is known when the one before is final."""
        self._unsettled: dict[_Payment, _SignedTransfer] = {}

    @classmethod
    async def join(
        cls,
        urls: Sequence[str],
        genesis: Genesis | None = None,
        *,
        clock: Clock | None = None,
        max_header_age_ms: int | None = MAX_HEADER_AGE_MS,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> Self:
        """Connects. Every node is asked for its genesis; those of another network are left out and named in `strangers`.

        Without a genesis the first that is served is trusted (development). A node that does not answer stays: it is believed no
        more than the others. `max_header_age_ms` None is for a chain that has halted. Raises `WrongNetwork` when no node is left.
        """
        http = httpx.AsyncClient(limits=httpx.Limits(max_connections=64), trust_env=False, transport=transport)
        nodes = [NodeClient(url, http) for url in urls]
        try:
            served = await asyncio.gather(*map(_genesis_of, nodes))
            trusted = genesis or next((one for one in served if isinstance(one, Genesis)), None)
            if trusted is None:
                raise next((one for one in served if isinstance(one, HceError)), NodeUnreachable("no node"))
            name = genesis_cid(trusted)
            strangers = [
                node.url for node, one in zip(nodes, served, strict=True) if isinstance(one, Genesis) and genesis_cid(one) != name
            ]
            known = [node for node in nodes if node.url not in strangers]
            if not known:
                raise WrongNetwork(urls=strangers, expected=name.hex())
        except BaseException:
            await http.aclose()
            raise
        for url in strangers:
            log.warning("%s serves another network and is not asked", url)
        return cls(known, trusted, http, clock or SystemClock(), max_header_age_ms, strangers)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def close(self) -> None:
        await self._identities.close()
        await self._http.aclose()

    @property
    def chain(self) -> bytes:
        return self.genesis.chain

    async def any_node(self, ask: Callable[[NodeClient], Awaitable[T]]) -> T:
        """The first node that answers; a refusal is an answer, an unreachable, failing or lying node is not."""
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

    async def every_node(self, ask: Callable[[NodeClient], Awaitable[T]], slow_s: float | None = None) -> list[T | HceError]:
        """What each node answered, in node order, errors included. Once quorum(n) have answered the others get `slow_s` more."""

        async def one(node: NodeClient) -> T | HceError:
            try:
                return await ask(node)
            except HceError as error:
                return error

        tasks = [asyncio.create_task(one(node)) for node in self.nodes]
        waiting, patience = set(tasks), None
        try:
            while waiting:
                done, waiting = await asyncio.wait(waiting, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
                if not done:
                    break
                answered = sum(task.done() and not isinstance(task.result(), HceError) for task in tasks)
                patience = slow_s if answered >= quorum(len(self.nodes)) else None
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
        late = NodeUnreachable("slower than the others")
        return [late if task.cancelled() else task.result() for task in tasks]

    async def started(self, wait_s: float = START_WAIT_S) -> int:
        """Waits for the first new final block of a network that has just been started; its height. Raises what the nodes answered last."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait_s
        while True:
            try:
                return await self.head()
            except (Unavailable, HeaderTooOld):
                if loop.time() >= deadline:
                    raise
                await asyncio.sleep(START_POLL_S)

    async def head(self) -> int:
        """Height of the newest header that is proven final."""
        await self.any_node(self._see_head)
        return self.light.height

    async def _see_head(self, node: NodeClient) -> None:
        self.light.head(await node.final())

    async def transact(
        self,
        kind: str,
        payload: Any,
        payer: bytes | None,
        signers: list[tuple[str, SigningKey]],
        valid_until: int | None = None,
    ) -> HealthReceipt:
        """Makes, signs, submits and waits; the proven receipt. Raises `Remote` at the door, `Failed` when final but failed."""
        if valid_until is None:
            valid_until = await self.head() + VALID_FOR_BLOCKS
        body = make_body(self.chain, kind, payload, payer, valid_until)
        return await self.submit(sign_tx(body, signers), tx_id(body))

    async def submit(self, raw: bytes, name: bytes) -> HealthReceipt:
        """Submits signed bytes and waits for their proven receipt; what was submitted and became final before is found."""
        try:
            await self.any_node(lambda node: node.submit_health(raw))
        except Remote as error:
            if error.code != "tx.replayed":
                raise
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
        """Proven values of health keys, no older than anything this client has seen; up to MAX_STATE_KEYS keys come from one block."""
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

    async def index_of(self, node: NodeClient) -> int:
        """Which node this is, proven. What is signed for that index is good there only. `NodeUnreachable` when it proves none."""
        return await self._identities.of(node)

    async def at(self, index: int, ask: Callable[[NodeClient], Awaitable[T]]) -> T:
        """What the node of this index answers; `ask` raises for what is not worth believing, and is tried with its next address.

        Raises what the last address did, `NodeUnreachable` when none has proven to be this node.
        """
        *before, last = await self.addresses(index)
        for node in before:
            try:
                return await ask(node)
            except HceError as error:
                log.info("node %d behind %s: %s", index, node.url, error.code)
        return await ask(last)

    async def addresses(self, index: int) -> Sequence[NodeClient]:
        """All clients that have proven to speak with this node, at least one; `NodeUnreachable` otherwise."""
        return await self._identities.at(index)

    async def node(self, index: int) -> NodeClient:
        """One of `addresses`."""
        return (await self.addresses(index))[0]

    async def unproven(self) -> list[str]:
        """Addresses that have not proven which node they are; they are asked only for what proves itself."""
        return await self._identities.unproven()

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
            return await self._whole(cid)
        except Unavailable as error:
            raise failure or error from error

    async def _placed(self, placement: bytes, ciphertext: bytes) -> Placed:
        """Where a ciphertext lies, by a manifest that any node may give."""
        manifest = self._manifests.get(placement)
        if manifest is None:
            read = read_manifest(await self._whole(placement), self.chain)
            manifest = {one.ciphertext: one for one in read}
            while len(self._manifests) >= MAX_MANIFESTS:
                del self._manifests[next(iter(self._manifests))]
            self._manifests[placement] = manifest
        if ciphertext not in manifest:
            raise PlacementInvalid("names another ciphertext", expected=ciphertext.hex())
        return manifest[ciphertext]

    async def _whole(self, cid: bytes) -> bytes:
        """From the first node that gives bytes of that name; a node that lacks them is not the last word."""

        async def ask(node: NodeClient) -> bytes:
            try:
                content = await node.blob(cid)
            except Remote as error:
                raise RemoteUnavailable(error.code, node.url) from error
            if not is_named(cid, content):
                raise BlobForged(cid=cid.hex(), url=node.url)
            return content

        return await self.any_node(ask)

    async def _ask_shards(self, index: int, cids: list[bytes]) -> list[bytes | None]:
        """The best answer of that node's addresses."""
        found: list[list[bytes | None]] = []
        failure: HceError = NodeUnreachable(node=index)
        for node in await self.addresses(index):
            try:
                found.append(await node.shards(cids))
            except HceError as error:
                failure = error
            else:
                if _count_named(cids, found[-1]) == len(cids):
                    break
        if not found:
            raise failure
        return max(found, key=lambda answers: _count_named(cids, answers))

    async def transfer(self, key: EthSigningKey, to: bytes, amount_ahce: int) -> dict[str, Any]:
        """A plain HCET transfer, waited for; the nodes' word on its inclusion (value proofs come with the explorer).

        Called again after it was not final in time, it pays at most once: the same signed bytes are sent again, and of all
        transactions with one nonce the chain takes one. That memory is this object's: who makes a new one looks first. A node
        that says a false nonce can hold the transfer up, not double it. Raises `Remote`, `NotFinalInTime`.
        """
        async with self._transferring:
            payment = (key.address, to, amount_ahce)
            again = payment in self._unsettled
            if not again:
                self._unsettled[payment] = await self._sign_transfer(key, to, amount_ahce)
            signed = self._unsettled[payment]
            found = await self._find_transfer(signed.name) if again else None
            if found is None:
                try:
                    await self.any_node(lambda node: node.submit_value(signed.raw))
                except Remote:
                    if not again or await self._nonce_is_used(key.address, signed.nonce):
                        del self._unsettled[payment]
                    raise
                try:
                    found = await self.any_node(lambda node: node.value_tx(signed.name, FINAL_WAIT_MS))
                except Remote as error:
                    raise NotFinalInTime(tx_hash=signed.name.hex()) from error
            del self._unsettled[payment]
            return found

    async def _sign_transfer(self, key: EthSigningKey, to: bytes, amount_ahce: int) -> _SignedTransfer:
        account = await self.any_node(lambda node: node.account(key.address))
        nonce = account["nonce"]
        try:
            raw = sign_transfer(key, self.genesis.eip155_id, nonce, to, amount_ahce, max_fee_wei=2 * int(account["base_fee_wei"]))
        except (ValueError, OverflowError) as error:
            raise BadAnswer("account") from error
        return _SignedTransfer(nonce, raw, keccak256(raw))

    async def _nonce_is_used(self, address: bytes, nonce: int) -> bool:
        """By the word of quorum(n) nodes: then what had this nonce can no longer become final."""
        answers = await self.every_node(lambda node: node.account(address), STATUS_WAIT_S)
        used = sum(not isinstance(answer, HceError) and answer["nonce"] > nonce for answer in answers)
        return used >= quorum(len(self.nodes))

    async def _find_transfer(self, name: bytes) -> dict[str, Any] | None:
        """Where it is final, by any node's word; None when no node knows it."""
        answers = await self.every_node(lambda node: node.value_tx(name, 0), STATUS_WAIT_S)
        return next((answer for answer in answers if not isinstance(answer, HceError)), None)


_Payment = tuple[bytes, bytes, int]
"""From, to, amount in aHCE."""


class _SignedTransfer(NamedTuple):
    """A transfer that may still become final; `name` is the hash of its bytes."""

    nonce: int
    raw: bytes
    name: bytes


def _count_named(cids: Sequence[bytes], answers: Sequence[bytes | None]) -> int:
    """How many of the answers are what they were asked for by name."""
    return sum(one is not None and is_named(cid, one) for cid, one in zip(cids, answers, strict=False))


async def _genesis_of(node: NodeClient) -> Genesis | HceError:
    try:
        async with asyncio.timeout(STATUS_WAIT_S):
            return await node.genesis()
    except HceError as error:
        return error
    except TimeoutError:
        return NodeUnreachable("slow", url=node.url)
