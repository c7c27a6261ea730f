"""Is this batch what it says it is? Pure: nothing is written before all of this holds.

A record id is derived from organisation and nonce, so nobody can bring another organisation's record. The openings inside of a
session entry are sealed; only their record ids are compared.
"""

from __future__ import annotations

from hce.foundation.codec.cid import cid_of_raw
from hce.foundation.codec.dagcbor import decode_as
from hce.foundation.crypto.sign import verify
from hce.foundation.erasure.code import shard_size
from hce.network.hcefs.manifest import Placed, read_manifest, require_ladder
from hce.service.intake.errors import (
    BadSignature,
    BatchTooLarge,
    EntryMismatch,
    OwnerWrapMismatch,
    PlacementMismatch,
    RecordRepeated,
    WrongChain,
)
from hce.service.mailbox.deposits import Delivery
from hce.service.mailbox.final import FinalState
from hce.service.mailbox.records import Delivered
from hce.service.terms.certification import require_organisation
from hce.service.terms.intake import FeedPost, IntakeBatch, message_of_parts, record_ids
from hce.service.terms.records import SessionEntry, owner_wrap_digest

MAX_BATCH_BYTES = 64 << 20
"""Blobs of one batch together; more records than fit go into the next batch."""


def check_organisation(final: FinalState, batch: IntakeBatch, parts: bytes, chain: bytes, local_ms: int) -> None:
    """A certified organisation with the power to write signed this batch, whose `batch_digest` is `parts`; the first thing asked."""
    if batch.chain != chain:
        raise WrongChain(expected=chain.hex(), actual=batch.chain.hex())
    organisation = require_organisation(final.health, batch.org_id, "write", final.height, max(final.time_ms, local_ms))
    counts = (len(batch.blobs), len(batch.records), len(batch.posts))
    message = message_of_parts(chain, batch.org_id, counts, parts)
    if not verify(organisation.certificate.org_key, message, batch.signature):
        raise BadSignature(org_id=batch.org_id.hex())


def placed_shards(
    batch: IntakeBatch, node: int, nodes: int, max_bytes: int = MAX_BATCH_BYTES
) -> tuple[list[Placed], list[tuple[bytes, bytes]]]:
    """Where the batch's ciphertexts lie, and (CID, bytes) of every shard that came: all that the placement gives this node, or none.

    Raises `PlacementInvalid`, `PlacementMismatch`, `BatchTooLarge`.
    """
    size = sum(map(len, batch.blobs))
    if size > max_bytes:
        raise BatchTooLarge(actual_bytes=size, max_bytes=max_bytes)
    placed = read_manifest(batch.placement, batch.chain)
    for one in placed:
        require_ladder(one, nodes)
    if len(placed) != len(batch.records):
        raise PlacementMismatch("not one ciphertext for each record", records=len(batch.records), placed=len(placed))
    mine = [(one, number) for one in placed if (number := one.shard_at(node)) is not None]
    if len(batch.blobs) not in (0, len(mine)):
        raise PlacementMismatch("not this node's shards", expected=len(mine), actual=len(batch.blobs))
    named = [(cid_of_raw(blob), blob) for blob in batch.blobs]
    for (cid, blob), (one, number) in zip(named, mine, strict=False):
        if cid != one.shards[number]:
            raise PlacementMismatch("not this node's shard of its record", expected=one.shards[number].hex(), actual=cid.hex())
        if len(blob) != shard_size(one.size_bytes, one.k):
            raise PlacementMismatch("size", expected=shard_size(one.size_bytes, one.k), actual=len(blob))
    return placed, named


def deliveries(batch: IntakeBatch) -> list[Delivery]:
    """Each session entry with the records it names: every record of the batch in exactly one entry, of its own feed.

    A feed may get several entries of one batch (two visits); the order inside of an entry is its session's own.
    """
    ids = record_ids(batch)
    if len(set(ids)) != len(ids):
        raise RecordRepeated
    waiting: dict[tuple[bytes, bytes], Delivered] = {}
    for record_id, record in zip(ids, batch.records, strict=True):
        if owner_wrap_digest(record.owner_wrap) != record.envelope.owner_wrap_digest:
            raise OwnerWrapMismatch(record_id=record_id.hex())
        waiting[record.feed, record_id] = Delivered(record_id, record.envelope, record.owner_wrap)
    delivered = [_delivery(post, waiting) for post in batch.posts]
    if waiting:
        raise EntryMismatch("records that no entry names", records=len(waiting))
    return delivered


def _delivery(post: FeedPost, waiting: dict[tuple[bytes, bytes], Delivered]) -> Delivery:
    """Takes the entry's records out of `waiting`."""
    entry = decode_as(SessionEntry, post.entry)
    records = [waiting.pop((post.feed, opening.record_id), None) for opening in entry.openings]
    named = [record for record in records if record is not None]
    if len(named) != len(records):
        raise EntryMismatch("other records than the batch's", feed=post.feed.hex())
    return Delivery(post, named)
