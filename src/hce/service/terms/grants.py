"""Cards, tokens, grants, access entries and receipts (`docs/formats.md`, sections People and Release)."""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Literal

from msgspec import Meta, Struct

from hce.foundation.codec.dagcbor import encode
from hce.foundation.crypto.hashing import digest
from hce.foundation.crypto.sign import signing_bytes
from hce.foundation.crypto.threshold import Capsule, Partial
from hce.foundation.proofs.listhash import ListProof, list_root
from hce.foundation.types.ladder import MAX_NODES
from hce.foundation.types.scalars import (
    Bytes32,
    ChainId,
    Digest,
    Height,
    IsoDate,
    NodeIndex,
    PublicKey,
    SealKey,
    Signature,
    TimeMs,
)
from hce.service.terms.payloads import GrantOpen, grant_id
from hce.service.terms.records import PolicyBody

MAX_RECORDS_PER_ENTRY = 1_000
MAX_EPOCH_KEYS = 64
"""Reading epochs one grant can open: all a compartment can have."""
MAX_LEAVES_ASKED = 500
"""Receipts whose place under an anchor one request asks for."""
CARD_LIFE_MS = 30 * 24 * 3_600_000
"""A card is dead after 30 days (protocol section 4), so that an author never seals to a key long given up."""
CLOCK_SKEW_MS = 5 * 60_000
"""How far ahead the clock of the owner's phone may be."""
Purpose = Literal["treatment", "payment", "research", "second-opinion", "own-use"]


class ContactCard(Struct, frozen=True, array_like=True):
    """What an author needs to seal for a compartment. Signed by the owner key, dead after 30 days."""

    chain: ChainId
    compartment_id: Bytes32
    version: int
    owner_key: PublicKey
    reading_epoch: int
    reading_key: SealKey
    root_key: SealKey
    feed_read_key: PublicKey
    issued_ms: TimeMs
    expires_ms: TimeMs


class SignedCard(Struct, frozen=True, array_like=True):
    card: ContactCard
    signature: Signature


class WriteToken(Struct, frozen=True, array_like=True):
    """Lets an organisation write to a feed without waiting in quarantine; the owner revokes it by serial, a rotation by itself."""

    compartment_id: Bytes32
    org_id: Bytes32
    feed: Digest
    serial: int
    expires_ms: TimeMs


class SignedToken(Struct, frozen=True, array_like=True):
    token: WriteToken
    owner_key: PublicKey
    feed_read_key: PublicKey
    signature: Signature


class AccessRequest(Struct, frozen=True, array_like=True):
    """What a grantee's gateway asks an owner for. The owner grants this, less, or nothing."""

    chain: ChainId
    grantee: Bytes32
    """A credential_id, or an org_id."""
    reader_key: PublicKey
    """Fresh for this grant; its private half signs the access entries."""
    inbox_key: SealKey
    """Where the parcel is sealed to: must be the `seal_key` of the grantee's certified organisation."""
    purpose: Purpose
    mode: Literal["read", "read-write"]
    date_from: IsoDate
    date_to: IsoDate


class GrantBody(Struct, frozen=True, array_like=True):
    """What the owner signs. Travels sealed; only its commitment is public."""

    chain: ChainId
    compartment_id: Bytes32
    compartment_version: int
    owner_key: PublicKey
    log_key: SealKey
    log_read_key: PublicKey
    grantee: Bytes32
    """A credential_id, or an org_id: then any of its credentials with the power to read."""
    reader_key: PublicKey
    revoke_key: PublicKey
    not_before_ms: TimeMs
    expires_at_ms: TimeMs
    date_from: IsoDate
    date_to: IsoDate
    """Last day included."""
    purpose: Purpose
    mode: Literal["read", "read-write"]
    nonce: Bytes32


class EpochKey(Struct, frozen=True, array_like=True):
    reading_epoch: int
    reading_seed: Bytes32

    def __repr__(self) -> str:
        """Never the seed."""
        return f"EpochKey(reading_epoch={self.reading_epoch})"


class GrantParcel(Struct, frozen=True, array_like=True):
    """Everything a grantee needs, sealed to the organisation's inbox key."""

    body: GrantBody
    owner_signature: Signature
    epoch_keys: Annotated[list[EpochKey], Meta(min_length=1, max_length=MAX_EPOCH_KEYS)]
    card: SignedCard


class AccessBody(Struct, frozen=True, array_like=True):
    """What an access entry commits to: who reads which records, why, and to which key the answer goes."""

    salt: Bytes32
    records_root: Digest
    records_count: Annotated[int, Meta(ge=1, le=MAX_RECORDS_PER_ENTRY)]
    grant_id: Bytes32
    credential_id: Bytes32
    response_key: SealKey
    purpose: Purpose
    reason_hash: Digest


class RecordOpening(Struct, frozen=True, array_like=True):
    """What a releasing node needs to see of one record."""

    policy: PolicyBody
    capsule: Capsule
    envelope_rest_digest: Digest


class ReleaseRequest(Struct, frozen=True, array_like=True):
    entry_id: Bytes32
    access: AccessBody
    grant: GrantBody
    owner_signature: Signature
    entry_records: Annotated[list[Bytes32], Meta(min_length=1, max_length=MAX_RECORDS_PER_ENTRY)]
    """All record ids of the entry, in its order."""
    requested: Annotated[list[Bytes32], Meta(min_length=1, max_length=MAX_RECORDS_PER_ENTRY)]
    openings: Annotated[list[RecordOpening], Meta(min_length=1, max_length=MAX_RECORDS_PER_ENTRY)]
    """One per requested record, same order."""
    credential_signature: Signature
    together: Annotated[list[NodeIndex], Meta(max_length=MAX_NODES)] | None
    """The nodes that are asked at the same time: each weighs its parts among these and proves nothing. None: parts with proofs."""


class ReleasedPartial(Struct, frozen=True, array_like=True):
    record_id: Bytes32
    partial: Partial


class ReleaseReply(Struct, frozen=True, array_like=True):
    node: NodeIndex
    key_id: Bytes32
    sharing_epoch: int
    partials: Annotated[list[ReleasedPartial], Meta(max_length=MAX_RECORDS_PER_ENTRY)]
    """With proofs; empty when weighed parts were asked for."""
    weighed: Annotated[list[Bytes32], Meta(max_length=MAX_RECORDS_PER_ENTRY)]
    """Weighed among the nodes of the request, in the order of its records; empty when proofs were asked for."""


class ReleaseReceipt(Struct, frozen=True, array_like=True):
    """A node's signed note to the owner: who may have had which records, under which entry. Written before the first partial leaves."""

    chain: ChainId
    entry_id: Bytes32
    access: AccessBody
    records: Annotated[list[Bytes32], Meta(max_length=MAX_RECORDS_PER_ENTRY)]
    """All records of the entry, in its order: the node released at most these."""
    node: NodeIndex
    height: Height
    time_ms: TimeMs


class SignedReceipt(Struct, frozen=True, array_like=True):
    receipt: ReleaseReceipt
    signature: Signature


class AnchorProof(Struct, frozen=True, array_like=True):
    """Where a receipt stands among those its node wrote in one period."""

    period: Height
    proof: ListProof
    """Under the root of the node's `AnchorState` for that period."""


def card_message(card: ContactCard) -> bytes:
    return signing_bytes("card", card.chain, card)


def token_message(chain: bytes, token: WriteToken) -> bytes:
    return signing_bytes("token", chain, token)


def grant_message(body: GrantBody) -> bytes:
    return signing_bytes("grant", body.chain, body)


def receipt_message(receipt: ReleaseReceipt) -> bytes:
    return signing_bytes("receipt", receipt.chain, receipt)


def receipt_leaf(signed: SignedReceipt) -> bytes:
    """What an anchor's list holds of a receipt. The salt of its access body keeps everybody else from guessing it."""
    return digest("hce/receipt-leaf/1", signed)


def grant_commitment(body: GrantBody) -> bytes:
    """The body's nonce is its salt."""
    return digest("hce/grant-body/1", encode(body))


def public_grant(body: GrantBody) -> GrantOpen:
    """The public fields of a body: what the chain sees of it."""
    return GrantOpen(grant_commitment(body), body.reader_key, body.revoke_key, body.not_before_ms, body.expires_at_ms)


def grant_id_of(body: GrantBody) -> bytes:
    return grant_id(body.chain, public_grant(body))


def access_commitment(access: AccessBody) -> bytes:
    return digest("hce/access-body/1", encode(access))


def records_root(record_ids: list[bytes]) -> bytes:
    return list_root(record_ids)


def reason_hash(reason: str, salt: bytes) -> bytes:
    return digest("hce/reason/1", reason, salt)


@lru_cache(maxsize=64)
def response_key_digest(response_key: bytes) -> bytes:
    return digest("hce/response-key/1", response_key)


def release_message(chain: bytes, entry: bytes, response_key: bytes, requested: list[bytes]) -> bytes:
    """What the individual signs with the credential's own key."""
    return signing_bytes("release", chain, entry, response_key_digest(response_key), list_root(requested))


def release_info(chain: bytes, entry: bytes, node: int) -> bytes:
    return encode(["hce/release/1", chain, entry, node])


def receipt_info(chain: bytes) -> bytes:
    return encode(["hce/receipt/1", chain])


def parcel_info(chain: bytes) -> bytes:
    return encode(["hce/parcel/1", chain])


def dleq_transcript(
    chain: bytes, key_id: bytes, sharing_epoch: int, node: int, entry: bytes, record: bytes, response_key: bytes
) -> bytes:
    """Names statement, member, sharing epoch, entry and recipient: a proof made for one release proves no other."""
    return encode(["hce/dleq/1", chain, key_id, sharing_epoch, node, entry, record, response_key_digest(response_key)])


def feed_address(feed_read_key: bytes, owner_key: bytes) -> bytes:
    return digest("hce/feed/1", feed_read_key, owner_key)


def log_address(log_read_key: bytes, owner_key: bytes) -> bytes:
    """The owner key signs the grant that names the log, so that nobody sends receipts into the log of another."""
    return digest("hce/log/1", log_read_key, owner_key)


def inbox_address(org_id: bytes) -> bytes:
    return digest("hce/inbox/1", org_id)
