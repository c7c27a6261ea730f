"""Writing: a sealed batch to the nodes' intake, their receipts into `record.commit`, the commit to finality."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

from hce.foundation.codec.dagcbor import decode_as
from hce.foundation.crypto.sign import SigningKey, verify
from hce.foundation.types.errors import HceError, PeerFault, Unavailable
from hce.foundation.types.ladder import shards_to_admit
from hce.foundation.types.quorum import quorum
from hce.service.sdk.messages import Message, message_of, messages_of
from hce.service.sdk.network import Network
from hce.service.sdk.node import NodeClient
from hce.service.terms.grants import SignedToken
from hce.service.terms.intake import IntakeBatch
from hce.service.terms.payloads import AvailabilityReceipt, availability_message
from hce.service.terms.proofs import HealthReceipt
from hce.service.vault.sealing import Batch

EPOCH = 0
"""Sharing and voting epoch of receipts: the set is the genesis set."""
GRACE_S = 1.0
"""How long a batch that can be admitted waits for nodes that have not answered."""


class NotDurable(Unavailable):
    """Fewer than quorum(n) nodes vouched for the batch; nothing was committed, trying again is safe."""

    code = "record.not_durable"


class BadAvailability(PeerFault):
    """A node's availability receipt does not verify."""

    code = "record.bad_availability"


class Undelivered(Struct, frozen=True, array_like=True):
    """A batch one node has not vouched for yet; what its author keeps until it has."""

    node: int
    message: bytes
    """DAG-CBOR of the signed `IntakeBatch` for that node, its shards included."""


Keep = Callable[[Sequence[Undelivered]], None]
"""Makes undelivered batches durable; called before the records are committed, so that none is forgotten in a crash."""


class Author:
    """An organisation that writes. Holds its signing key for the time of the object."""

    def __init__(self, network: Network, org_id: bytes, org_key: SigningKey, keep: Keep | None = None) -> None:
        """`keep` takes what nodes that are away have not got; without it nobody sends it to them later."""
        self._network = network
        self._org_id = org_id
        self._key = org_key
        self._keep = keep

    async def publish(self, batch: Batch, tokens: Mapping[bytes, SignedToken], valid_until: int | None = None) -> HealthReceipt:
        """Durable at a quorum, then final on chain; the proven receipt. `tokens` by feed address; none means quarantine.

        `valid_until` is the last block that may hold the commit: whoever remembers it can tell later whether that still may happen.

        Raises what a node refused, or `NotDurable` when too few could be reached; then nothing was committed.
        """
        messages = await asyncio.to_thread(messages_of, batch, tokens, self._key)
        nodes = range(len(messages))
        answers = await self._deliver_to_all(messages)
        receipts = [answer for answer in answers.values() if isinstance(answer, AvailabilityReceipt)]
        if not admissible(receipts, len(nodes)):
            raise _first_refusal(list(answers.values())) or NotDurable(vouching=len(receipts))
        vouching = {receipt.node for receipt in receipts}
        if self._keep is not None:
            self._keep([Undelivered(node, messages[node].raw) for node in nodes if node not in vouching])
        receipts.sort(key=lambda receipt: receipt.node)
        signers = [("organisation", self._key), ("payer", self._key)]
        return await self._network.transact("record.commit", batch.payload(receipts), self._org_id, signers, valid_until)

    async def _deliver_to_all(self, messages: Sequence[Message]) -> dict[int, AvailabilityReceipt | HceError]:
        """Answers by node. Once the batch can be admitted the slow ones get GRACE_S more, then count as away."""
        tasks = {asyncio.create_task(_attempt(self._network, message)): message.node for message in messages}
        answers: dict[int, AvailabilityReceipt | HceError] = {}
        waiting, grace_s = set(tasks), None
        try:
            while waiting:
                done, waiting = await asyncio.wait(waiting, timeout=grace_s, return_when=asyncio.FIRST_COMPLETED)
                if not done:
                    break
                answers |= {tasks[task]: task.result() for task in done}
                receipts = [answer for answer in answers.values() if isinstance(answer, AvailabilityReceipt)]
                grace_s = GRACE_S if admissible(receipts, len(messages)) else None
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
        return answers


async def deliver(network: Network, node: int, batch: IntakeBatch) -> AvailabilityReceipt:
    """Hand a kept batch to its node; the receipt, verified. Raises what the node refuses, `NodeUnreachable`, `BadAvailability`."""
    return await _deliver(network, message_of(batch, node))


async def _deliver(network: Network, message: Message) -> AvailabilityReceipt:
    return await network.at(message.node, lambda client: _hand_over(network, client, message))


async def _hand_over(network: Network, client: NodeClient, message: Message) -> AvailabilityReceipt:
    receipt = decode_as(AvailabilityReceipt, await client.intake(message.raw))
    if receipt.node != message.node or receipt.shard != message.shard:
        raise BadAvailability(url=client.url)
    signed = availability_message(
        message.chain, message.placement, message.shard, message.envelopes_root, message.node, EPOCH, receipt.hold_until
    )
    if not verify(network.genesis.node_list[message.node].service_key, signed, receipt.signature):
        raise BadAvailability(url=client.url)
    return receipt


def admissible(receipts: Sequence[AvailabilityReceipt], nodes: int) -> bool:
    """What the ledger will ask: quorum(n) receipts, enough of them for shards."""
    shards = [receipt.shard for receipt in receipts if receipt.shard is not None]
    return len(receipts) >= quorum(nodes) and len(shards) >= shards_to_admit(nodes)


async def _attempt(network: Network, message: Message) -> AvailabilityReceipt | HceError:
    try:
        return await _deliver(network, message)
    except HceError as error:
        return error


def _first_refusal(answers: Sequence[AvailabilityReceipt | HceError]) -> HceError | None:
    """The reason to tell the caller: a refusal says more than an unreachable node."""
    refusals = [answer for answer in answers if isinstance(answer, HceError) and not isinstance(answer, Unavailable)]
    return refusals[0] if refusals else None
