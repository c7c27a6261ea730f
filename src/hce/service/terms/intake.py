"""What a gateway hands to every node before it commits records: shards, envelopes, feed entries (`docs/formats.md`, Mailbox)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated

from msgspec import Meta, Struct

from hce.foundation.codec.cid import cid_of_dag_cbor, cid_of_raw
from hce.foundation.codec.dagcbor import encode
from hce.foundation.crypto.sign import signing_bytes
from hce.foundation.proofs.listhash import leaf_hash, list_root, sealed_root, tree_head
from hce.foundation.types.scalars import Bytes32, ChainId, Digest, Signature
from hce.network.hcefs.manifest import MAX_PLACEMENT_BYTES
from hce.service.terms.grants import SignedToken
from hce.service.terms.mailbox import OwnerWrap
from hce.service.terms.payloads import MAX_RECORDS_PER_BATCH, record_id
from hce.service.terms.records import Envelope, digest_of_envelope

MAX_BLOB_BYTES = 2 << 20
"""One inline record (1 MiB), encoded, padded and sealed, with room."""
MAX_ENTRY_BYTES = 512 << 10
"""A session entry with all records of a batch."""


class IntakeRecord(Struct, frozen=True, array_like=True):
    """An envelope with the nonce its record id is made from: nobody can occupy the id of another organisation's record."""

    nonce: Bytes32
    feed: Digest
    """Feed address the envelope belongs to: who may read and erase it."""
    envelope: Envelope
    owner_wrap: OwnerWrap


class FeedPost(Struct, frozen=True, array_like=True):
    """One session entry for a feed; a feed may get several. Without a token that holds it waits in quarantine."""

    feed: Digest
    entry: Annotated[bytes, Meta(max_length=MAX_ENTRY_BYTES)]
    """DAG-CBOR of a SessionEntry; its openings name records of this batch and feed. Each record stands in one entry."""
    token: SignedToken | None


class IntakeBatch(Struct, frozen=True, array_like=True):
    """Everything one node keeps of a batch.

    `blobs` are all shards the placement gives this node, in record order (one per record where every node keeps one of each, fewer
    where the code has fewer shards than there are nodes), or none: then the node vouches for envelopes alone.
    """

    chain: ChainId
    org_id: Bytes32
    placement: Annotated[bytes, Meta(max_length=MAX_PLACEMENT_BYTES)]
    """DAG-CBOR of the PlacementManifest."""
    blobs: Annotated[list[Annotated[bytes, Meta(max_length=MAX_BLOB_BYTES)]], Meta(max_length=MAX_RECORDS_PER_BATCH)]
    records: Annotated[list[IntakeRecord], Meta(min_length=1, max_length=MAX_RECORDS_PER_BATCH)]
    """In the order of the record.commit to come."""
    posts: Annotated[list[FeedPost], Meta(min_length=1, max_length=MAX_RECORDS_PER_BATCH)]
    signature: Signature
    """By the organisation's current key over `intake_message`."""


def batch_digest(batch: IntakeBatch) -> bytes:
    """List hash over the names of all parts: the same for the same content, whoever signed it when."""
    shards = [cid_of_raw(blob) for blob in batch.blobs]
    return digest_of_parts(cid_of_dag_cbor(batch.placement), shards, leaves_of(map(encode, [*batch.records, *batch.posts])))


def leaves_of(parts: Iterable[bytes]) -> list[Digest]:
    """Of encoded records and posts, which stand in every node's message alike."""
    return [leaf_hash(part) for part in parts]


def digest_of_parts(placement: bytes, shards: Sequence[bytes], leaves: Sequence[Digest]) -> bytes:
    """`batch_digest` from the names of manifest and shards, and the leaves of records, then posts."""
    hashes = [leaf_hash(placement), *map(leaf_hash, shards), *leaves]
    return sealed_root(len(hashes), tree_head(hashes))


def intake_message(batch: IntakeBatch) -> bytes:
    """What the organisation signs: the counts say where one list of parts ends and the next begins."""
    counts = (len(batch.blobs), len(batch.records), len(batch.posts))
    return message_of_parts(batch.chain, batch.org_id, counts, batch_digest(batch))


def message_of_parts(chain: bytes, org_id: bytes, counts: tuple[int, int, int], parts: bytes) -> bytes:
    """`intake_message` from how many shards, records and posts there are, and the digest of all."""
    return signing_bytes("intake", chain, org_id, counts, parts)


def record_ids(batch: IntakeBatch) -> list[bytes]:
    return [record_id(batch.chain, batch.org_id, record.nonce) for record in batch.records]


def envelopes_root_of(batch: IntakeBatch) -> bytes:
    """Equals `payloads.envelopes_root` of the record.commit to come."""
    return list_root([digest_of_envelope(record.envelope) for record in batch.records])


def shards_cid(shards: list[bytes]) -> bytes | None:
    """The shard CID an availability receipt names: CID of the list of the node's shards, or None when it holds none."""
    return cid_of_dag_cbor(encode(shards)) if shards else None
