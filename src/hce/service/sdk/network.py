"""All nodes of a network as one: submit anywhere, believe nothing that is not proven."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection, Iterable, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from hce.foundation.crypto.secp import EthSigningKey
from hce.foundation.crypto.sign import SigningKey
from hce.foundation.types.clock import Clock, SystemClock
from hce.foundation.types.errors import HceError, Unavailable
from hce.service.sdk.asking import Nodes, Refusals
from hce.service.sdk.contents import Contents, Wanted
from hce.service.sdk.errors import Failed, NodeUnreachable, NotFinalInTime, Remote, WrongNetwork
from hce.service.sdk.identities import Identities
from hce.service.sdk.light import MAX_HEADER_AGE_MS, HeaderTooOld, LightClient
from hce.service.sdk.node import NodeClient
from hce.service.sdk.transfers import Transfers
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
NODE_CONNECTIONS = 64
"""To one node. Each has a pool of its own: a node that hangs takes no connection from the others, and a pool looks through all it
has at every request."""
PROVE_S = 0.5
"""How long a node that has not proven its index yet is waited for where others would do."""
START_WAIT_S = 20.0
START_POLL_S = 0.1
VALID_FOR_BLOCKS = 300
"""Life of a transaction made here, in blocks: half of the replay window."""


class Network:
    """A client of one HCE network. Use as `async with await Network.join(urls) as network`."""

    def __init__(
        self,
        nodes: Sequence[NodeClient],
        genesis: Genesis,
        https: Sequence[httpx.AsyncClient],
        clock: Clock,
        max_header_age_ms: int | None = MAX_HEADER_AGE_MS,
        strangers: Sequence[str] = (),
    ) -> None:
        self.nodes = list(nodes)
        self.genesis = genesis
        self.light = LightClient(genesis, clock, max_header_age_ms)
        self.strangers = list(strangers)
        """Addresses that were given but serve another network; they are not asked."""
        self._https = https
        self._identities = Identities(self.nodes, genesis)
        self._asking = Nodes(self.nodes, len(genesis.nodes))
        self._contents = Contents(genesis.chain, len(genesis.nodes), self._asking, self.addresses)
        self._transfers = Transfers(self._asking, genesis.eip155_id)

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
        limits, trust = httpx.Limits(max_connections=NODE_CONNECTIONS), httpx.create_ssl_context(trust_env=False)
        https = [httpx.AsyncClient(limits=limits, verify=trust, trust_env=False, transport=transport) for _ in urls]
        nodes = [NodeClient(url, http) for url, http in zip(urls, https, strict=True)]
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
            await _close(https)
            raise
        for url in strangers:
            log.warning("%s serves another network and is not asked", url)
        return cls(known, trusted, https, clock or SystemClock(), max_header_age_ms, strangers)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def close(self) -> None:
        await self._identities.close()
        await _close(self._https)

    @property
    def chain(self) -> bytes:
        return self.genesis.chain

    async def any_node(self, ask: Callable[[NodeClient], Awaitable[T]]) -> T:
        """The first good answer; an unreachable, failing or lying node is none, and a refusal only when enough nodes give the same."""
        return await self._asking.first(ask)

    async def several_nodes(
        self, ask: Callable[[NodeClient], Awaitable[T]], wanted: int, next_s: float
    ) -> tuple[list[T], HceError | None]:
        """The good answers of `wanted` nodes, others asked for those that fail or take longer than `next_s`; when fewer answered, why."""
        refusals = Refusals(self._asking.one_honest)
        try:
            found = await self._asking.several(ask, wanted, refusals, next_s=next_s)
        except HceError as error:
            return [], error
        return found, None if len(found) >= wanted else refusals.reason()

    async def every_node(
        self, ask: Callable[[NodeClient], Awaitable[T]], slow_s: float | None = None, enough: int | None = None
    ) -> list[T | HceError]:
        """What each node answered, in node order, errors included. Once `enough` (default quorum(n)) gave good answers the others
        get `slow_s` more.
        """
        return await self._asking.every(ask, slow_s, enough)

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
        """Height of the newest header that is proven final, by enough nodes' knowledge that one of them is honest."""
        await self._asking.several(self._see_head, self._asking.one_honest, Refusals(self._asking.one_honest))
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

    async def submit(self, raw: bytes, name: bytes, everywhere: bool = False) -> HealthReceipt:
        """Submits signed bytes and waits for their proven receipt; what was submitted and became final before is found.

        To enough nodes that one of them is honest, or to all. Raises the refusal enough of them agree on (`Remote`), `NotFinalInTime`,
        `Failed`.
        """
        refusals = Refusals(self._asking.one_honest)

        async def ask(node: NodeClient) -> None:
            try:
                await node.submit_health(raw)
            except Remote as error:
                if error.code != "tx.replayed":
                    raise

        wanted = len(self.nodes) if everywhere else self._asking.one_honest
        try:
            return await self._asking.tell(ask, lambda: self.wait_final(name), wanted, refusals)
        except NotFinalInTime as error:
            raise refusals.agreed or error from error

    async def wait_final(self, name: bytes) -> HealthReceipt:
        """The proven receipt from whichever node has it first."""

        async def ask(node: NodeClient, left_ms: int) -> HealthReceipt:
            return self.light.transaction(name, await node.health_tx(name, left_ms))

        receipt = await self._asking.wait(ask, FINAL_WAIT_MS, tx_id=name.hex())
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

    def answers(self, ask: Callable[[NodeClient], Awaitable[T]], next_s: float) -> AsyncGenerator[T | HceError, None]:
        """The answers of one node after another, errors included, for as long as they are wanted; close it then (`aclosing`). A node
        that takes longer than `next_s` gets company.
        """
        return self._asking.in_turn(ask, next_s)

    async def asked_first(self, count: int) -> list[int]:
        """Which nodes `several_nodes` asks first; those that do not prove soon which ones they are are left out, and asked last."""
        asking = {asyncio.create_task(self._identities.of(node)): node for node in self._asking.next(count)}
        try:
            done, late = await asyncio.wait(asking, timeout=PROVE_S)
        finally:
            for task in asking:
                task.cancel()
        self._asking.ask_last(asking[task] for task in late)
        return sorted({task.result() for task in done if task.exception() is None})

    def agreed(self, answers: Iterable[object]) -> Remote | None:
        """The refusal that enough of these answers are alike in for one of them to be honest."""
        refusals = Refusals(self._asking.one_honest)
        for answer in answers:
            if isinstance(answer, HceError):
                refusals.add(answer)
        return refusals.agreed

    def ask_last(self, indexes: Collection[int]) -> None:
        """These nodes lied, and are believed after all others from now on."""
        self._asking.ask_last(node for index in indexes for node in self._identities.proven(index))

    def is_alone(self, index: int) -> bool:
        """Whether one address alone has proven to be this node: where two have, one may only pass questions on."""
        return len(self._identities.proven(index)) == 1

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

    def blobs(self, wanted: Sequence[Wanted]) -> AsyncIterator[list[bytes | HceError]]:
        """`blob` of many (ciphertext, placement), in order and in lists that fit into memory; what it would raise stands in its place."""
        return self._contents.many(wanted)

    async def blob(self, cid: bytes, placement: bytes | None = None) -> bytes:
        """Bytes of that name, verified: a ciphertext gathered from the shards its placement names, else assembled by any node.

        Raises `BlobUnrecoverable` (or what the nodes say) when no node and no k shards give it.
        """
        return await self._contents.one(cid, placement)

    async def transfer(self, key: EthSigningKey, to: bytes, amount_ahce: int) -> dict[str, Any]:
        """A plain HCET transfer, waited for (`transfers.py`)."""
        return await self._transfers.transfer(key, to, amount_ahce, FINAL_WAIT_MS)


async def _close(https: Sequence[httpx.AsyncClient]) -> None:
    for http in https:
        await http.aclose()


async def _genesis_of(node: NodeClient) -> Genesis | HceError:
    try:
        async with asyncio.timeout(STATUS_WAIT_S):
            return await node.genesis()
    except HceError as error:
        return error
    except TimeoutError:
        return NodeUnreachable("slow", url=node.url)
