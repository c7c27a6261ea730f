"""Payloads of the health transactions and the ids they make (`docs/formats.md`)."""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Literal

from msgspec import Meta, Struct

from hce.foundation.crypto.hashing import digest, keccak256
from hce.foundation.crypto.sign import signing_bytes
from hce.foundation.proofs.listhash import list_root
from hce.foundation.types.scalars import (
    MAX_SAFE_INT,
    Bytes32,
    Cid,
    Digest,
    Height,
    NodeIndex,
    PublicKey,
    SealKey,
    Signature,
    TimeMs,
)

Power = Literal["claims", "emergency", "read", "research", "write"]
Powers = Annotated[list[Power], Meta(max_length=5)]
"""Sorted, no repeats; contracts check both."""
OrganisationKind = Literal["home", "hospital", "insurer", "lab", "pharmacy", "research"]
Name = Annotated[str, Meta(min_length=1, max_length=120)]
Reason = Annotated[str, Meta(max_length=200)]

MAX_RECORDS_PER_BATCH = 600
"""Records one `record.commit` may carry."""
ANCHOR_LATE_PERIODS = 144
"""How many periods after the one that has just ended an anchor is still taken: a day of ten-minute periods, for a node that was down."""


class OrganisationCertificate(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What the super nodes vote on. Public."""

    org_key: PublicKey
    seal_key: SealKey
    """X-Wing key of the organisation's inbox: grant parcels are sealed to it."""
    name: Name
    country: Annotated[str, Meta(pattern=r"\A[A-Z]{2}\Z")]
    kind: OrganisationKind
    powers: Powers
    not_before_ms: TimeMs
    expires_at_ms: TimeMs
    """First instant the certificate is dead."""


class OrganisationVote(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    certificate: OrganisationCertificate
    approve: bool
    voter: PublicKey
    """Service key of the voting node: without it two nodes' equal votes would be one transaction, and one of them lost."""


class OrganisationRevoke(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    org_id: Bytes32
    reason: Reason
    voter: PublicKey
    """As in `OrganisationVote`."""


class CredentialBody(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A clinician or device, certified by an organisation. Public, as medical registers are."""

    org_id: Bytes32
    person_key: PublicKey
    role: Literal["clinician", "device"]
    name: Name
    powers: Powers
    not_before_ms: TimeMs
    expires_at_ms: TimeMs


class CredentialRevoke(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    credential_id: Bytes32
    reason: Reason


class CompartmentOpen(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    owner_digest: Digest
    recovery_digest: Digest


class CompartmentRotate(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    compartment_id: Bytes32
    owner_digest: Digest
    recovery_digest: Digest


class RecordEntry(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One record as the public chain sees it: four commitments."""

    nonce: Bytes32
    envelope_digest: Digest
    key_commitment: Digest
    policy_commitment: Digest


class AvailabilityReceipt(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A node's word that envelopes (and a shard, where it holds one) of a batch are fsynced."""

    node: NodeIndex
    shard: Cid | None
    hold_until: Height
    signature: Signature


class RecordBatch(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    org_id: Bytes32
    entries: Annotated[list[RecordEntry], Meta(min_length=1, max_length=MAX_RECORDS_PER_BATCH)]
    placement: Cid
    receipts: Annotated[list[AvailabilityReceipt], Meta(min_length=1, max_length=32)]


class GrantOpen(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Public half of a grant: says neither whose compartment nor who may read."""

    commitment: Digest
    reader_key: PublicKey
    revoke_key: PublicKey
    not_before_ms: TimeMs
    expires_at_ms: TimeMs


class GrantRevoke(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    grant_id: Bytes32


class AccessOpen(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    grant_id: Bytes32
    commitment: Digest


class AnchorPost(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A node's word on all release receipts it wrote in one period of `Params.anchor_blocks` heights: how many, and their list hash."""

    period: Height
    """Height of a receipt, divided by `anchor_blocks` without remainder."""
    count: Annotated[int, Meta(ge=1, le=MAX_SAFE_INT)]
    root: Digest
    node: PublicKey
    """Service key of the node: nobody makes another's anchor his own transaction by signing the same body."""


class PortalRelease(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One edition of the portal's page."""

    number: Annotated[int, Meta(ge=1, le=MAX_SAFE_INT)]
    """The first is 1, and each names the one after it: a page that was replaced does not come back under an old number."""
    bundle: Digest
    """Hash of all its files (`docs/formats.md`, section The portal's page)."""
    version: Annotated[str, Meta(pattern=r"\A[0-9A-Za-z.+-]{1,32}\Z")]
    """Of the sources it was built from, for people."""


class PortalVote(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A super node's word that this page was built from sources it stands for."""

    release: PortalRelease
    voter: PublicKey
    """As in `OrganisationVote`."""


def org_id(chain: bytes, org_key: bytes) -> bytes:
    return digest("hce/org/1", chain, org_key)


def organisation_subject(certificate: OrganisationCertificate) -> bytes:
    """What votes are counted under: two certificates that differ in a byte are two subjects."""
    return digest("hce/org-vote/1", certificate)


def organisation_revoke_subject(organisation_id: bytes, certified_height: int) -> bytes:
    """Names one certification, so that an organisation certified again can be revoked again."""
    return digest("hce/org-revoke/1", organisation_id, certified_height)


def credential_id(chain: bytes, body: CredentialBody) -> bytes:
    return digest("hce/credential/1", chain, body)


def owner_digest(owner_key: bytes) -> bytes:
    return digest("hce/owner/1", owner_key)


def compartment_id(chain: bytes, opening: CompartmentOpen) -> bytes:
    """Binds both keys of the opening: nobody who sees one pending can open the same compartment with a recovery key of their own."""
    return digest("hce/compartment/1", chain, opening.owner_digest, opening.recovery_digest)


def record_id(chain: bytes, organisation_id: bytes, nonce: bytes) -> bytes:
    return digest("hce/record-id/1", chain, organisation_id, nonce)


def grant_id(chain: bytes, grant: GrantOpen) -> bytes:
    """Never the payer, valid_until or signatures: the same public grant has one id for ever."""
    return digest(
        "hce/grant/1", chain, grant.commitment, grant.reader_key, grant.revoke_key, grant.not_before_ms, grant.expires_at_ms
    )


def entry_id(chain: bytes, grant: bytes, commitment: bytes) -> bytes:
    return digest("hce/entry/1", chain, grant, commitment)


def entries_hash(before: bytes, entry: bytes) -> bytes:
    """Running hash over a grant's entries, in their order; 32 zero bytes before the first."""
    return digest("hce/entries/1", before, entry)


@lru_cache(maxsize=1_024)
def tank_address(organisation_id: bytes) -> bytes:
    """Where plain transfers fund an organisation's health transactions."""
    return keccak256(b"hce/tank" + organisation_id)[-20:]


FEE_POOL = keccak256(b"hce/fee-pool")[-20:]
"""Account that collects health fees and base fees; nobody holds its key."""


def envelopes_root(entries: list[RecordEntry]) -> bytes:
    return list_root([entry.envelope_digest for entry in entries])


def availability_message(
    chain: bytes, placement: bytes, shard: bytes | None, root: bytes, node: int, epoch: int, hold_until: int
) -> bytes:
    """What a node signs when it vouches for a batch."""
    return signing_bytes("available", chain, placement, shard, root, node, epoch, hold_until)


def powers_are_valid(powers: list[str]) -> bool:
    """Sorted and without repeats, so that one set of powers has one spelling."""
    return powers == sorted(set(powers))
