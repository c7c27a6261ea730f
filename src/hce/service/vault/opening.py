"""Opening: from a feed entry, an envelope and lock B's half to the exact bytes the author signed, or a named error.

Nothing that came from a node is believed. The chain's `RecordState` (proven by the caller) holds four commitments, and every piece
is compared with one of them before it is used:

    opening    <- policy_commitment, placement    (`check_record`)
    envelope   <- envelope_digest                 (`check_record`)
    DEK        <- key_commitment                  (`unwrap_dek`, `open_record`)
    ciphertext <- its CID in the opening          (`check_ciphertext`), and the AEAD under the DEK
    author     <- signature over policy and CID   (`verify_author`), certified at the record's inclusion height

`Opening.author_signature` is the only thing that says who wrote a record: call `verify_author` before showing anything.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from hce.foundation.codec.cid import cid_of_raw
from hce.foundation.codec.dagcbor import decode_as, encode
from hce.foundation.crypto.aead import aead_open, unpad
from hce.foundation.crypto.errors import SealBroken
from hce.foundation.crypto.seal import OpeningKey
from hce.foundation.crypto.secret import SecretBytes
from hce.foundation.crypto.threshold import encapsulate
from hce.foundation.types.errors import HceError, Malformed, Refused
from hce.service.terms.certification import CredentialNotCertified, require_author
from hce.service.terms.records import (
    ContentManifest,
    Envelope,
    Opening,
    RecordHeader,
    SessionEntry,
    author_signed,
    digest_of_envelope,
    key_commitment,
    lock_a_info,
    make_header,
    owner_lock_info,
    owner_wrap_digest,
    policy_commitment,
)
from hce.service.terms.states import CredentialState, HealthReader, KeyholderState, RecordState
from hce.service.vault import locks
from hce.service.vault.errors import (
    AuthorNotCertified,
    EnvelopeSwapped,
    LocksDiffer,
    OpeningInvalid,
    OwnerLockBroken,
    PolicySwapped,
    SessionNotOurs,
    Tampered,
    WrongKey,
)


class OpenedSession(Struct, frozen=True):
    """A feed entry opened with a reading key. `broken` names openings that are damaged or lie; they do not hide the others."""

    session_secret: SecretBytes
    lock_a: bytes
    owner_lock: bytes
    reading_epoch: int
    openings: Mapping[bytes, Opening]
    broken: Mapping[bytes, Refused]

    def __repr__(self) -> str:
        return f"OpenedSession(epoch={self.reading_epoch}, {len(self.openings)} openings, {len(self.broken)} broken)"


class OwnerOpened(Struct, frozen=True):
    """What the owner's wrap of one record holds."""

    dek: SecretBytes
    seed_b: SecretBytes


def read_session(
    reading_key: OpeningKey, session_entry: bytes | SessionEntry, chain: bytes, compartment_id: bytes, epoch: int
) -> OpenedSession:
    """Opens lock A and all openings. Raises `Malformed`, `SessionNotOurs`."""
    entry = decode_as(SessionEntry, session_entry) if isinstance(session_entry, bytes) else session_entry
    try:
        secret = SecretBytes(reading_key.open(lock_a_info(chain, compartment_id, epoch), entry.lock_a))
    except SealBroken as error:
        raise SessionNotOurs(compartment_id=compartment_id.hex(), epoch=epoch) from error
    openings: dict[bytes, Opening] = {}
    broken: dict[bytes, Refused] = {}
    for item in entry.openings:
        try:
            openings[item.record_id] = _open_opening(secret, item.record_id, item.sealed, chain, compartment_id, epoch)
        except Refused as error:
            broken[item.record_id] = error
    return OpenedSession(secret, entry.lock_a, entry.owner_lock, epoch, openings, broken)


def check_record(
    chain: bytes, key_id: bytes, record_id: bytes, state: RecordState, opening: Opening, envelope: Envelope
) -> RecordHeader:
    """The record's header, when opening and envelope are the committed ones. Raises `PolicySwapped`, `EnvelopeSwapped`."""
    policy = policy_commitment(opening.policy)
    if policy != state.policy_commitment:
        raise PolicySwapped("policy", record_id=record_id.hex())
    if opening.placement != state.placement:
        raise PolicySwapped("placement", record_id=record_id.hex())
    if digest_of_envelope(envelope) != state.envelope_digest:
        raise EnvelopeSwapped(record_id=record_id.hex())
    return make_header(chain, record_id, policy, key_id)


def unwrap_dek(session: OpenedSession, header: RecordHeader, envelope: Envelope, share_b: bytes, expected: bytes) -> SecretBytes:
    """The DEK from both halves; raises `WrongKey` unless it is the one of the key commitment `expected`."""
    dek = _unwrap(session, header, envelope, share_b)
    if key_commitment(dek.reveal(), header) != expected:
        raise WrongKey("the chain commits to another key", record_id=header.record_id.hex())
    return dek


def check_ciphertext(header: RecordHeader, opening: Opening, ciphertext: bytes) -> None:
    """Raises `Tampered` unless these are the bytes the author signed."""
    actual = cid_of_raw(ciphertext)
    if actual != opening.ciphertext:
        raise Tampered("another ciphertext", record_id=header.record_id.hex(), actual=actual.hex())


def open_record(dek: SecretBytes, ciphertext: bytes, header: RecordHeader, expected: bytes) -> ContentManifest:
    """The content. Raises `WrongKey` (the DEK is not the one of key commitment `expected`), `Tampered` (anything else)."""
    if key_commitment(dek.reveal(), header) != expected:
        raise WrongKey("the chain commits to another key", record_id=header.record_id.hex())
    try:
        return decode_as(ContentManifest, unpad(aead_open(dek.reveal(), ciphertext, encode(header))))
    except (SealBroken, Malformed) as error:
        raise Tampered(error.code, record_id=header.record_id.hex()) from error


def verify_author(opening: Opening, record_id: bytes, state: RecordState, health: HealthReader) -> CredentialState:
    """The credential that signed, when it was certified to write at the record's inclusion height, in the committing organisation.

    `health` answers from proven values. Raises `AuthorNotCertified`, `PolicySwapped`.
    """
    if policy_commitment(opening.policy) != state.policy_commitment:
        raise PolicySwapped("policy", record_id=record_id.hex())
    try:
        credential = require_author(health, opening.policy.author, state)
    except CredentialNotCertified as error:
        raise AuthorNotCertified(error.code, record_id=record_id.hex(), author=opening.policy.author.hex()) from error
    if not author_signed(credential.body.person_key, record_id, opening):
        raise AuthorNotCertified("signature", record_id=record_id.hex(), author=opening.policy.author.hex())
    return credential


def owner_open(
    root_key: OpeningKey, owner_lock: bytes, owner_wrap: bytes, header: RecordHeader, compartment_id: bytes
) -> OwnerOpened:
    """What the owner holds without asking keyholders. Raises `OwnerLockBroken`."""
    try:
        secret = SecretBytes(root_key.open(owner_lock_info(header.chain, compartment_id), owner_lock))
        plain = aead_open(locks.owner_wrap_key(secret, header.record_id), owner_wrap, encode(header))
    except SealBroken as error:
        raise OwnerLockBroken(record_id=header.record_id.hex()) from error
    if len(plain) != 2 * locks.SECRET_BYTES:
        raise OwnerLockBroken("length", record_id=header.record_id.hex())
    return OwnerOpened(SecretBytes(plain[: locks.SECRET_BYTES]), SecretBytes(plain[locks.SECRET_BYTES :]))


def owner_checks_both_locks(
    opened: OwnerOpened,
    owner_wrap: bytes,
    session: OpenedSession,
    header: RecordHeader,
    envelope: Envelope,
    state: RecordState,
    keyholders: KeyholderState,
) -> None:
    """Grantees will get what the owner has: raises `LocksDiffer` unless both locks and the owner's wrap hide the committed key.

    Without this an author could give the owner a key that opens and grantees one that does not, or the reverse.
    """
    named = header.record_id.hex()
    if owner_wrap_digest(owner_wrap) != envelope.owner_wrap_digest:
        raise LocksDiffer("the envelope names another wrap", record_id=named, lock="owner")
    if digest_of_envelope(envelope) != state.envelope_digest:
        raise EnvelopeSwapped(record_id=named)
    if key_commitment(opened.dek.reveal(), header) != state.key_commitment:
        raise LocksDiffer("the chain commits to another key", record_id=named, lock="owner")
    capsule, share_b = encapsulate(keyholders.public_key, locks.label_of(header), opened.seed_b.reveal())
    if header.key_id != keyholders.key_id or capsule != envelope.capsule:
        raise LocksDiffer("the capsule does not follow from the seed", record_id=named, lock="B")
    try:
        dek = _unwrap(session, header, envelope, share_b)
    except WrongKey as error:
        raise LocksDiffer("the halves do not unwrap", record_id=named, lock="A") from error
    if dek != opened.dek:
        raise LocksDiffer("the halves unwrap another key", record_id=named, lock="A")


def _open_opening(secret: SecretBytes, record_id: bytes, sealed: bytes, chain: bytes, compartment_id: bytes, epoch: int) -> Opening:
    try:
        opening = decode_as(Opening, unpad(aead_open(locks.opening_key(secret, record_id), sealed, record_id)))
    except HceError as error:
        raise OpeningInvalid(error.code, record_id=record_id.hex()) from error
    policy = opening.policy
    if (policy.chain, policy.compartment_id, policy.reading_epoch) != (chain, compartment_id, epoch):
        raise OpeningInvalid("of another chain, compartment or epoch", record_id=record_id.hex())
    return opening


def _unwrap(session: OpenedSession, header: RecordHeader, envelope: Envelope, share_b: bytes) -> SecretBytes:
    ss_a = locks.share_a(session.session_secret, header.record_id)
    key = locks.wrapping_key(ss_a, share_b, header, session.lock_a, envelope.capsule, session.reading_epoch)
    try:
        return SecretBytes(aead_open(key, envelope.wrapped_dek, encode(header)))
    except SealBroken as error:
        raise WrongKey("the locks do not open", record_id=header.record_id.hex()) from error
