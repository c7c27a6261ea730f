"""Values of the health map (`docs/formats.md`, section State maps). Contracts write them; readers prove them."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Annotated, Literal, TypeVar

from msgspec import Meta, Struct

from hce.foundation.codec.dagcbor import decode_as
from hce.foundation.types.errors import Corrupt, Refused
from hce.foundation.types.scalars import Bytes32, Cid, Digest, Height, PublicKey, TimeMs
from hce.service.terms.payloads import CredentialBody, OrganisationCertificate, OrganisationVote, PortalRelease

MAX_OPEN_VOTES = 64
"""Subjects one node may have voted on that did not take effect: votes are free, so inventing certificates must end somewhere."""


class OrganisationState(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    certificate: OrganisationCertificate
    certified_height: Height
    revoked_height: Height | None


class OpenVote(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    subject: Digest
    height: Height
    """Block the vote stands in."""


class OpenVotes(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A node's votes on subjects that did not take effect, oldest first. Absent when there are none."""

    votes: Annotated[list[OpenVote], Meta(min_length=1, max_length=MAX_OPEN_VOTES)]


class CredentialState(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    body: CredentialBody
    issued_height: Height
    revoked_height: Height | None
    revoked_ms: TimeMs | None


class CompartmentState(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    owner_digest: Digest
    recovery_digest: Digest
    version: int
    grants_valid_from: Height
    """Grants opened below this height are void: that of the opening, then of the last rotation."""
    opened_height: Height
    rotated_by: Literal["owner", "recovery"] | None
    """Which key rotated last; null before the first rotation."""


class RecordState(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    org_id: Bytes32
    envelope_digest: Digest
    key_commitment: Digest
    policy_commitment: Digest
    placement: Cid
    height: Height
    time_ms: TimeMs
    """Block time of inclusion: the author's credential is judged at it."""


class GrantState(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    commitment: Digest
    reader_key: PublicKey
    revoke_key: PublicKey
    not_before_ms: TimeMs
    expires_at_ms: TimeMs
    payer: Bytes32
    height: Height
    revoked_height: Height | None
    entries: int
    """How many access entries stand under this grant: the owner's log must hold exactly as many."""
    entries_hash: Digest


class EntryState(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    grant_id: Bytes32
    commitment: Digest
    height: Height
    time_ms: TimeMs
    ordinal: int


class AnchorState(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What a node said of the release receipts it wrote in one period."""

    count: int
    root: Digest
    height: Height
    """Block the anchor stands in."""


class PortalVoteState(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The newest edition a node voted for."""

    release: PortalRelease
    height: Height
    """Block the vote stands in."""


class PortalState(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """An edition of the portal's page that two thirds of the nodes stand for."""

    release: PortalRelease
    height: Height
    """Block of the vote that published it."""
    time_ms: TimeMs


class KeyholderState(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The keyholders' public half of lock B."""

    key_id: Bytes32
    threshold: Annotated[int, Meta(ge=1, le=32)]
    public_key: Bytes32
    member_keys: Annotated[list[Bytes32], Meta(min_length=1, max_length=32)]
    sharing_epoch: int


def key_organisation(org_id: bytes) -> bytes:
    return b"org/" + org_id


def key_organisation_vote(subject: bytes, service_key: bytes) -> bytes:
    """By the voter's key and not its index: after a change of the set an old vote must not count for whoever has the index then."""
    return b"orgvote/" + subject + service_key


def key_open_votes(service_key: bytes) -> bytes:
    return b"openvotes/" + service_key


def key_organisation_effect(subject: bytes) -> bytes:
    """Holds the height at which a subject reached its votes: it takes effect once."""
    return b"orgdone/" + subject


def key_credential(credential_id: bytes) -> bytes:
    return b"cred/" + credential_id


def key_compartment(compartment_id: bytes) -> bytes:
    return b"comp/" + compartment_id


def key_record(record_id: bytes) -> bytes:
    return b"rec/" + record_id


def key_envelope(envelope_digest: bytes) -> bytes:
    """Holds the record_id: an envelope belongs to one record for ever."""
    return b"env/" + envelope_digest


def key_grant(grant_id: bytes) -> bytes:
    return b"grant/" + grant_id


def key_entry(entry_id: bytes) -> bytes:
    return b"entry/" + entry_id


def key_anchor(service_key: bytes, period: int) -> bytes:
    """By the node's key, as votes are: one for each node and period, for ever."""
    return b"anchor/" + service_key + period.to_bytes(8, "big")


KEY_KEYHOLDERS = b"keyholders"
KEY_PORTAL = b"portal"
"""Holds the newest edition."""


def key_portal(bundle: bytes) -> bytes:
    """Holds the newest edition with this bundle, for ever: what was replaced can be told from what never was."""
    return b"portal/" + bundle


def key_portal_vote(service_key: bytes) -> bytes:
    """One for each node."""
    return b"portalvote/" + service_key


def key_node(index: int) -> bytes:
    return b"node/" + bytes([index])


S = TypeVar("S", bound=Struct)


@lru_cache(maxsize=1_024)
def _organisation(raw: bytes) -> OrganisationState:
    """Every paid transaction asks for its payer several times, and the same bytes are the same organisation for ever."""
    return decode_state(OrganisationState, raw)


class StateCorrupt(Corrupt):
    """A value of the chain's own state is not what the rules write: this machine's copy is damaged, whatever is being executed."""

    code = "state.corrupt"


def decode_state(type_: type[S], raw: bytes) -> S:
    """A value that the rules wrote. One that does not decode is no transaction's fault: were it a `Refused`, execution would go on
    with a failed receipt where every other node has a good one."""
    try:
        return decode_as(type_, raw)
    except Refused as error:
        raise StateCorrupt(error.code, type=type_.__name__) from error


class HealthReader:
    """Typed reads of the health map over any `key -> bytes`: a journal, the final state, or values a client has proven."""

    def __init__(self, get: Callable[[bytes], bytes | None]) -> None:
        self._get = get

    def _read(self, type_: type[S], key: bytes) -> S | None:
        raw = self._get(key)
        return None if raw is None else decode_state(type_, raw)

    def organisation(self, org_id: bytes) -> OrganisationState | None:
        raw = self._get(key_organisation(org_id))
        return None if raw is None else _organisation(raw)

    def organisation_vote(self, subject: bytes, service_key: bytes) -> OrganisationVote | None:
        """What the node of this service key said about a certificate (`organisation_subject`)."""
        return self._read(OrganisationVote, key_organisation_vote(subject, service_key))

    def open_votes(self, service_key: bytes) -> list[OpenVote]:
        """Subjects the node of this service key voted on and that did not take effect, oldest first."""
        found = self._read(OpenVotes, key_open_votes(service_key))
        return [] if found is None else list(found.votes)

    def credential(self, credential_id: bytes) -> CredentialState | None:
        return self._read(CredentialState, key_credential(credential_id))

    def compartment(self, compartment_id: bytes) -> CompartmentState | None:
        return self._read(CompartmentState, key_compartment(compartment_id))

    def record(self, record_id: bytes) -> RecordState | None:
        return self._read(RecordState, key_record(record_id))

    def grant(self, grant_id: bytes) -> GrantState | None:
        return self._read(GrantState, key_grant(grant_id))

    def entry(self, entry_id: bytes) -> EntryState | None:
        return self._read(EntryState, key_entry(entry_id))

    def anchor(self, service_key: bytes, period: int) -> AnchorState | None:
        """Of the node with this service key."""
        return self._read(AnchorState, key_anchor(service_key, period))

    def portal(self) -> PortalState | None:
        """The newest edition of the portal's page."""
        return self._read(PortalState, KEY_PORTAL)

    def portal_of(self, bundle: bytes) -> PortalState | None:
        """The newest edition with this bundle."""
        return self._read(PortalState, key_portal(bundle))

    def portal_vote(self, service_key: bytes) -> PortalVoteState | None:
        return self._read(PortalVoteState, key_portal_vote(service_key))

    def keyholders(self) -> KeyholderState | None:
        return self._read(KeyholderState, KEY_KEYHOLDERS)
