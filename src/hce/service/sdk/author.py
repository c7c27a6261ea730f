"""Writing: a sealed batch to the nodes' intake, their receipts into `record.commit`, the commit to finality."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import structs

from hce.foundation.codec.dagcbor import decode_as, encode
from hce.foundation.crypto.sign import SigningKey, verify
from hce.foundation.types.errors import HceError, PeerFault, Unavailable
from hce.foundation.types.quorum import quorum
from hce.service.sdk.network import Network
from hce.service.sdk.node import NodeClient
from hce.service.terms.grants import SignedToken
from hce.service.terms.intake import FeedPost, IntakeBatch, IntakeRecord, intake_message, shards_cid
from hce.service.terms.payloads import AvailabilityReceipt, availability_message
from hce.service.terms.proofs import HealthReceipt
from hce.service.vault.sealing import Batch


class NotDurable(Unavailable):
    """Fewer than quorum(n) nodes vouched for the batch; nothing was committed, trying again is safe."""

    code = "record.not_durable"


class BadAvailability(PeerFault):
    """A node's availability receipt does not verify."""

    code = "record.bad_availability"


class Author:
    """An organisation that writes. Holds its signing key for the time of the object."""

    def __init__(self, network: Network, org_id: bytes, org_key: SigningKey) -> None:
        self._network = network
        self._org_id = org_id
        self._key = org_key

    async def publish(self, batch: Batch, tokens: Mapping[bytes, SignedToken]) -> HealthReceipt:
        """Durable at quorum(n) nodes, then final on chain; the proven receipt. `tokens` by feed address; none means quarantine."""
        message = self.intake_batch(batch, tokens)
        answers = await self._network.every_node(lambda node: self._store(node, batch, message))
        receipts = [answer for answer in answers if isinstance(answer, AvailabilityReceipt)]
        if len(receipts) < quorum(len(self._network.genesis.nodes)):
            raise _first_refusal(answers) or NotDurable(vouching=len(receipts))
        receipts.sort(key=lambda receipt: receipt.node)
        signers = [("organisation", self._key), ("payer", self._key)]
        return await self._network.transact("record.commit", batch.payload(receipts), self._org_id, signers)

    def intake_batch(self, batch: Batch, tokens: Mapping[bytes, SignedToken]) -> IntakeBatch:
        """What every node is sent, signed by the organisation."""
        feeds = {name: write.feed for write in batch.feed_writes for name in write.record_ids}
        unsigned = IntakeBatch(
            chain=batch.chain,
            org_id=batch.org_id,
            placement=batch.placement,
            blobs=[record.ciphertext for record in batch.records],
            records=[
                IntakeRecord(record.entry.nonce, feeds[record.record_id], record.envelope, record.owner_wrap)
                for record in batch.records
            ],
            posts=[FeedPost(write.feed, write.session_entry, tokens.get(write.feed)) for write in batch.feed_writes],
            signature=bytes(64),
        )
        return replace_signature(unsigned, self._key)

    async def _store(self, node: NodeClient, batch: Batch, message: IntakeBatch) -> AvailabilityReceipt:
        receipt = decode_as(AvailabilityReceipt, await node.intake(encode(message)))
        nodes = self._network.genesis.node_list
        expected = shards_cid([record.ciphertext_cid for record in batch.records])
        if receipt.node >= len(nodes) or receipt.shard != expected:
            raise BadAvailability(url=node.url)
        signed = availability_message(
            batch.chain, batch.placement_cid, receipt.shard, batch.envelopes_root, receipt.node, 0, receipt.hold_until
        )
        if not verify(nodes[receipt.node].service_key, signed, receipt.signature):
            raise BadAvailability(url=node.url)
        return receipt


def replace_signature(batch: IntakeBatch, key: SigningKey) -> IntakeBatch:
    """The same batch, signed."""
    return structs.replace(batch, signature=key.sign(intake_message(batch)))


def _first_refusal(answers: list[AvailabilityReceipt | HceError]) -> HceError | None:
    """The reason to tell the caller: a refusal says more than an unreachable node."""
    refusals = [answer for answer in answers if isinstance(answer, HceError) and not isinstance(answer, Unavailable)]
    return refusals[0] if refusals else None
