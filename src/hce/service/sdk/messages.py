"""What each node is sent of a batch. Envelopes and entries go to all nodes alike, so they are encoded and hashed once for all of them."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from hce.foundation.codec.cid import cid_of_dag_cbor, cid_of_raw
from hce.foundation.codec.dagcbor import encode, joined
from hce.foundation.crypto.sign import SigningKey
from hce.service.terms.grants import SignedToken
from hce.service.terms.intake import (
    FeedPost,
    IntakeBatch,
    IntakeRecord,
    digest_of_parts,
    envelopes_root_of,
    leaves_of,
    message_of_parts,
    shards_cid,
)
from hce.service.vault.sealing import Batch


class Message(Struct, frozen=True):
    """A signed batch for one node, and what the node's receipt must name."""

    node: int
    chain: bytes
    raw: bytes
    """DAG-CBOR of the `IntakeBatch`."""
    placement: bytes
    shard: bytes | None
    envelopes_root: bytes


def messages_of(batch: Batch, tokens: Mapping[bytes, SignedToken], key: SigningKey) -> list[Message]:
    """By node, each signed by the organisation: envelopes and entries of all records, the node's own shards."""
    feeds = {name: write.feed for write in batch.feed_writes for name in write.record_ids}
    records = [
        encode(IntakeRecord(record.entry.nonce, feeds[record.record_id], record.envelope, record.owner_wrap))
        for record in batch.records
    ]
    posts = [encode(FeedPost(write.feed, write.session_entry, tokens.get(write.feed))) for write in batch.feed_writes]
    head = [encode(batch.chain), encode(batch.org_id), encode(batch.placement)]
    leaves, tail = leaves_of(records + posts), [joined(records), joined(posts)]
    root = batch.envelopes_root
    messages = []
    for node, placed in enumerate(batch.shards_by_node()):
        names, shards = [cid for cid, _ in placed], [shard for _, shard in placed]
        counts = (len(shards), len(records), len(posts))
        parts = digest_of_parts(batch.placement_cid, names, leaves)
        signature = key.sign(message_of_parts(batch.chain, batch.org_id, counts, parts))
        raw = joined([*head, encode(shards), *tail, encode(signature)])
        messages.append(Message(node, batch.chain, raw, batch.placement_cid, shards_cid(names), root))
    return messages


def message_of(batch: IntakeBatch, node: int) -> Message:
    """One that was kept."""
    shard = shards_cid([cid_of_raw(blob) for blob in batch.blobs])
    return Message(node, batch.chain, encode(batch), cid_of_dag_cbor(batch.placement), shard, envelopes_root_of(batch))
