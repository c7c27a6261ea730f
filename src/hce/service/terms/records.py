"""A record's terms: policy, header, envelope, opening, and the bytes its author signs (`docs/formats.md`, section Records)."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from hce.foundation.codec.dagcbor import encode
from hce.foundation.crypto.hashing import digest
from hce.foundation.crypto.sign import signing_bytes, verify
from hce.foundation.crypto.threshold import Capsule
from hce.foundation.types.scalars import Bytes32, ChainId, Cid, Digest, IsoDate, Signature, TimeMs
from hce.service.terms.payloads import MAX_RECORDS_PER_BATCH

MAX_RESOURCES_PER_RECORD = 64
MAX_INLINE_BYTES = 1 << 20
"""Content up to this size lives inside the manifest."""
MAX_PARENTS = 16
"""Records that one record amends."""
HEADER_DOMAIN: Final = "hce/record-header/1"
CONTENT_DOMAIN: Final = "hce/content/1"
SESSION_LOCK_BYTES = 1_168
"""An X-Wing sealed secret of 32 bytes."""
SessionLock = Annotated[bytes, Meta(min_length=SESSION_LOCK_BYTES, max_length=SESSION_LOCK_BYTES)]
RecordKind = Annotated[str, Meta(pattern=r"\A[a-z][a-z-]{0,31}\Z")]


class PolicyBody(Struct, frozen=True, array_like=True):
    """Who a record belongs to and what it is; committed on chain, opened to the quorum only."""

    chain: ChainId
    compartment_id: Bytes32
    reading_epoch: int
    date: IsoDate
    kind: RecordKind
    author: Bytes32
    """credential_id of the clinician or device that signed."""
    salt: Bytes32


class RecordHeader(Struct, frozen=True, array_like=True):
    """Ids and commitments only: the associated data of everything sealed for this record."""

    domain: Literal["hce/record-header/1"]
    chain: ChainId
    record_id: Bytes32
    policy_commitment: Digest
    key_id: Bytes32


class ContentItem(Struct, frozen=True, array_like=True):
    name: Annotated[str, Meta(max_length=300)]
    """FHIR: the entry's fullUrl or Type/id; file: its name."""
    media_type: Annotated[str, Meta(max_length=100)]
    content: bytes
    """Exactly the bytes the author signed."""

    def __repr__(self) -> str:
        """Says how much, never what: content is the patient's."""
        return f"ContentItem({self.media_type}, {len(self.content)} bytes)"


class ContentManifest(Struct, frozen=True, array_like=True):
    domain: Literal["hce/content/1"]
    kind: RecordKind
    items: Annotated[list[ContentItem], Meta(min_length=1, max_length=MAX_RESOURCES_PER_RECORD)]
    parents: Annotated[list[Bytes32], Meta(max_length=MAX_PARENTS)]
    """Records that hold earlier versions of these items, by name of the item."""
    created_ms: TimeMs


class Envelope(Struct, frozen=True, array_like=True):
    """What the mailbox keeps for a record: deletable, so that erasure is real."""

    capsule: Capsule
    wrapped_dek: Annotated[bytes, Meta(min_length=48, max_length=48)]
    owner_wrap_digest: Digest


class Opening(Struct, frozen=True, array_like=True):
    """Travels sealed in the feed; proves to a reader who wrote the record and what it is about."""

    policy: PolicyBody
    author_signature: Signature
    ciphertext: Cid
    placement: Cid


class SealedOpening(Struct, frozen=True, array_like=True):
    record_id: Bytes32
    sealed: Annotated[bytes, Meta(max_length=1_024)]
    """The padded `Opening` under a key of the session; AAD = record id."""


class SessionEntry(Struct, frozen=True, array_like=True):
    """What one authoring session leaves in a compartment's feed: both session locks and the openings of its records."""

    lock_a: SessionLock
    """The session secret sealed to the compartment's reading key."""
    owner_lock: SessionLock
    """The owner secret sealed to the compartment's root key."""
    openings: Annotated[list[SealedOpening], Meta(min_length=1, max_length=MAX_RECORDS_PER_BATCH)]


def policy_commitment(policy: PolicyBody) -> bytes:
    return digest("hce/policy/1", encode(policy))


def make_header(chain: bytes, record_id: bytes, policy: bytes, key_id: bytes) -> RecordHeader:
    return RecordHeader(HEADER_DOMAIN, chain, record_id, policy, key_id)


def key_commitment(dek: bytes, header: RecordHeader) -> bytes:
    """The DEK salts itself: 256 random bits."""
    return digest("hce/key/1", dek, encode(header))


def author_message(chain: bytes, record_id: bytes, policy: PolicyBody, ciphertext: bytes) -> bytes:
    return signing_bytes("record", chain, record_id, policy, ciphertext)


def author_signed(author_key: bytes, record_id: bytes, opening: Opening) -> bool:
    """Did this key sign this record's policy and ciphertext?"""
    message = author_message(opening.policy.chain, record_id, opening.policy, opening.ciphertext)
    return verify(author_key, message, opening.author_signature)


def capsule_label(kind: str, chain: bytes, record_id: bytes, policy: bytes, key_id: bytes) -> bytes:
    """What lock B binds to: a capsule copied to another record does not verify there."""
    return encode(["hce/lock-b/1", kind, chain, record_id, policy, key_id])


def capsule_digest(capsule: Capsule) -> bytes:
    return digest("hce/capsule/1", capsule)


def envelope_rest_digest(envelope: Envelope) -> bytes:
    return digest("hce/envelope-rest/1", envelope.wrapped_dek, envelope.owner_wrap_digest)


def envelope_digest(capsule: bytes, rest: bytes) -> bytes:
    """Of the two digests, so that a capsule can be checked without the rest."""
    return digest("hce/envelope/1", capsule, rest)


@lru_cache(maxsize=2 * MAX_RECORDS_PER_BATCH)
def digest_of_envelope(envelope: Envelope) -> bytes:
    """Asked several times of each envelope of a batch, by the intake, its receipt and the mailbox."""
    return envelope_digest(capsule_digest(envelope.capsule), envelope_rest_digest(envelope))


def owner_wrap_digest(owner_wrap: bytes) -> bytes:
    return digest("hce/owner-wrap/1", owner_wrap)


def lock_a_info(chain: bytes, compartment_id: bytes, reading_epoch: int) -> bytes:
    return encode(["hce/lock-a/1", chain, compartment_id, reading_epoch])


def owner_lock_info(chain: bytes, compartment_id: bytes) -> bytes:
    return encode(["hce/owner-lock/1", chain, compartment_id])


def wrapping_info(header: RecordHeader, lock_a: bytes, capsule: Capsule, reading_epoch: int) -> bytes:
    """Binds the wrapping key to both locks, the header, the key and the epoch."""
    return digest("hce/wk/1", encode(header), hashlib.sha256(lock_a).digest(), capsule, header.key_id, reading_epoch)
