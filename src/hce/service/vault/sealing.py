"""Sealing: from the exact bytes a clinician signed to what intake, mailbox and chain take.

The order is forced by what names what. A ciphertext is named by its CID; the placement manifest names ciphertexts; an opening names
the placement manifest. So `seal` makes everything but the opening, the batch is closed over all ciphertexts, and only then each
session signs and finishes its openings. A record is sealed once and finished once: its keys are single-use, a second try starts anew.

One session = one author, one compartment, one visit: two KEMs for all its records. One batch = records of many sessions, in the
order of their (random) ids, so that neither the order nor the commit on chain tells which belong together.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date as calendar_date

from msgspec import Struct

from hce.foundation.codec.cid import cid_of_dag_cbor, cid_of_raw
from hce.foundation.codec.dagcbor import decode_as, encode
from hce.foundation.crypto.aead import aead_seal, pad
from hce.foundation.crypto.seal import seal as seal_to
from hce.foundation.crypto.secret import SecretBytes
from hce.foundation.crypto.sign import SigningKey
from hce.foundation.crypto.threshold import encapsulate
from hce.foundation.types.errors import Malformed
from hce.network.hcefs.manifest import disperse, make_manifest, read_manifest
from hce.service.terms import payloads
from hce.service.terms.grants import ContactCard, feed_address
from hce.service.terms.payloads import MAX_RECORDS_PER_BATCH, AvailabilityReceipt, RecordBatch, RecordEntry
from hce.service.terms.records import (
    CONTENT_DOMAIN,
    MAX_INLINE_BYTES,
    ContentItem,
    ContentManifest,
    Envelope,
    Opening,
    PolicyBody,
    SealedOpening,
    SessionEntry,
    author_message,
    digest_of_envelope,
    key_commitment,
    lock_a_info,
    make_header,
    owner_lock_info,
    owner_wrap_digest,
    policy_commitment,
)
from hce.service.terms.states import KeyholderState
from hce.service.vault import locks
from hce.service.vault.compartments import SYSTEM_RANDOM, Random
from hce.service.vault.errors import BatchTooLarge, RecordTooLarge


class SessionLocks(Struct, frozen=True):
    """The two secrets of a session and the locks that carry them. HPKE draws its own randomness: vectors keep the drawn locks."""

    session_secret: SecretBytes
    owner_secret: SecretBytes
    lock_a: bytes
    owner_lock: bytes


class SealedRecord(Struct, frozen=True):
    """A sealed record, all but its opening and so not signed yet. Holds no key; the policy and its salt go to nobody but by the opening."""

    record_id: bytes
    entry: RecordEntry
    ciphertext: bytes
    ciphertext_cid: bytes
    envelope: Envelope
    owner_wrap: bytes
    policy: PolicyBody

    @property
    def message(self) -> bytes:
        """What the author signs of it, once its session is finished."""
        return author_message(self.policy.chain, self.record_id, self.policy, self.ciphertext_cid)

    def __repr__(self) -> str:
        return f"SealedRecord({self.record_id.hex()}, {len(self.ciphertext)} bytes)"


class FeedWrite(Struct, frozen=True):
    """One session's entry and the feed it goes to."""

    feed: bytes
    session_entry: bytes
    """DAG-CBOR of a `SessionEntry`."""
    record_ids: list[bytes]


class Batch(Struct, frozen=True):
    """Everything intake, mailbox and `record.commit` need; `records` in the order of the batch."""

    chain: bytes
    org_id: bytes
    records: list[SealedRecord]
    placement: bytes
    """DAG-CBOR of the `PlacementManifest`."""
    placement_cid: bytes
    shards: list[list[bytes]]
    """Of each record, by shard number."""
    feed_writes: list[FeedWrite]

    def shards_by_node(self) -> list[list[tuple[bytes, bytes]]]:
        """What the placement gives each node, in record order: (CID, bytes) of each shard."""
        placed = read_manifest(self.placement, self.chain)
        by_node: list[list[tuple[bytes, bytes]]] = [[] for _ in range(placed[0].n)]
        for one, shards in zip(placed, self.shards, strict=True):
            for number, node in enumerate(one.nodes):
                by_node[node].append((one.shards[number], shards[number]))
        return by_node

    @property
    def entries(self) -> list[RecordEntry]:
        return [record.entry for record in self.records]

    @property
    def envelopes_root(self) -> bytes:
        return payloads.envelopes_root(self.entries)

    def payload(self, receipts: list[AvailabilityReceipt]) -> RecordBatch:
        """The `record.commit` payload, once enough nodes have vouched."""
        return RecordBatch(self.org_id, self.entries, self.placement_cid, receipts)

    def __repr__(self) -> str:
        return f"Batch({len(self.records)} records, {len(self.feed_writes)} sessions)"


class AuthoringSession:
    """One author writing into one compartment. The card must come from `verify_card`, fetched just now."""

    def __init__(
        self,
        chain: bytes,
        org_id: bytes,
        author_credential_id: bytes,
        author_key: SigningKey,
        card: ContactCard,
        keyholders: KeyholderState,
        random: Random = SYSTEM_RANDOM,
        drawn: SessionLocks | None = None,
    ) -> None:
        """`drawn`: locks made before with `draw_locks` for this card and used by no other session (vectors)."""
        self.chain = chain
        self.org_id = org_id
        self.card = card
        self._author = author_credential_id
        self._author_key = author_key
        self._keyholders = keyholders
        self._random = random
        self._locks = drawn or draw_locks(card, random)
        self._pending: list[SealedRecord] = []

    @property
    def pending(self) -> list[SealedRecord]:
        """Sealed, not yet finished."""
        return list(self._pending)

    def seal(
        self, items: Sequence[ContentItem], kind: str, date: str, created_ms: int, parents: Sequence[bytes] = ()
    ) -> SealedRecord:
        """One record of up to 64 items. Raises `RecordTooLarge`, or `Malformed` when a field is out of its bounds.

        `parents` are the records this one amends; `date` is the day the record is about, the one grants select by.
        """
        manifest = _checked_manifest(items, kind, created_ms, parents)
        nonce = self._random(locks.SECRET_BYTES)
        record_id = payloads.record_id(self.chain, self.org_id, nonce)
        policy = self._policy(kind, date)
        header = make_header(self.chain, record_id, policy_commitment(policy), self._keyholders.key_id)
        aad = encode(header)

        dek, seed_b = self._random(locks.SECRET_BYTES), self._random(locks.SECRET_BYTES)
        ciphertext = aead_seal(dek, pad(manifest), aad)
        ciphertext_cid = cid_of_raw(ciphertext)
        capsule, ss_b = encapsulate(self._keyholders.public_key, locks.label_of(header), seed_b)
        ss_a = locks.share_a(self._locks.session_secret, record_id)
        wrapping_key = locks.wrapping_key(ss_a, ss_b, header, self._locks.lock_a, capsule, policy.reading_epoch)
        owner_wrap = aead_seal(locks.owner_wrap_key(self._locks.owner_secret, record_id), dek + seed_b, aad)
        envelope = Envelope(capsule, aead_seal(wrapping_key, dek, aad), owner_wrap_digest(owner_wrap))

        sealed = SealedRecord(
            record_id=record_id,
            entry=RecordEntry(nonce, digest_of_envelope(envelope), key_commitment(dek, header), header.policy_commitment),
            ciphertext=ciphertext,
            ciphertext_cid=ciphertext_cid,
            envelope=envelope,
            owner_wrap=owner_wrap,
            policy=policy,
        )
        self._pending.append(sealed)
        return sealed

    def finish(self, placement_cid: bytes) -> FeedWrite:
        """Signs everything pending and seals its openings; then it is pending no more: an opening key is used once.

        Raises `BatchTooLarge`; ValueError when nothing is pending. `make_batch` calls it.
        """
        if not self._pending:
            raise ValueError("nothing was sealed since the last finish")
        if len(self._pending) > MAX_RECORDS_PER_BATCH:
            raise BatchTooLarge(actual=len(self._pending), max_records=MAX_RECORDS_PER_BATCH)
        finished, self._pending = self._pending, []
        entry = SessionEntry(
            self._locks.lock_a, self._locks.owner_lock, [self._seal_opening(record, placement_cid) for record in finished]
        )
        feed = feed_address(self.card.feed_read_key, self.card.owner_key)
        return FeedWrite(feed, encode(entry), [record.record_id for record in finished])

    def _policy(self, kind: str, date: str) -> PolicyBody:
        _require_day(date)
        card = self.card
        salt = self._random(locks.SECRET_BYTES)
        return PolicyBody(self.chain, card.compartment_id, card.reading_epoch, date, kind, self._author, salt)

    def _seal_opening(self, record: SealedRecord, placement_cid: bytes) -> SealedOpening:
        opening = Opening(record.policy, self._author_key.sign(record.message), record.ciphertext_cid, placement_cid)
        key = locks.opening_key(self._locks.session_secret, record.record_id)
        return SealedOpening(record.record_id, aead_seal(key, pad(encode(opening)), record.record_id))

    def __repr__(self) -> str:
        return f"AuthoringSession({len(self._pending)} pending)"


def draw_locks(card: ContactCard, random: Random = SYSTEM_RANDOM) -> SessionLocks:
    """Fresh session secrets, sealed to the card's reading and root keys; `BadSealKey` when the card's keys are none."""
    session_secret, owner_secret = random(locks.SECRET_BYTES), random(locks.SECRET_BYTES)
    return SessionLocks(
        session_secret=SecretBytes(session_secret),
        owner_secret=SecretBytes(owner_secret),
        lock_a=seal_to(card.reading_key, lock_a_info(card.chain, card.compartment_id, card.reading_epoch), session_secret),
        owner_lock=seal_to(card.root_key, owner_lock_info(card.chain, card.compartment_id), owner_secret),
    )


def make_batch(sessions: Sequence[AuthoringSession], nodes: int = 1) -> Batch:
    """Closes a batch over everything pending in these sessions, dispersed over a network of so many nodes, and finishes them.

    Raises `BatchTooLarge` and then changes nothing.

    The sessions are of one chain and one organisation and have something pending (else ValueError).
    """
    homes = {(session.chain, session.org_id) for session in sessions}
    if len(homes) != 1:
        raise ValueError("a batch is of one chain and one organisation")
    if not all(session.pending for session in sessions):
        raise ValueError("a session has nothing to commit")
    ((chain, org_id),) = homes
    records = sorted((record for session in sessions for record in session.pending), key=lambda record: record.record_id)
    if len(records) > MAX_RECORDS_PER_BATCH:
        raise BatchTooLarge(actual=len(records), max_records=MAX_RECORDS_PER_BATCH)
    dispersed = [disperse(record.ciphertext, nodes) for record in records]
    placement = encode(make_manifest(chain, [one.placed for one in dispersed], nodes))
    placement_cid = cid_of_dag_cbor(placement)
    feed_writes = [session.finish(placement_cid) for session in sessions]
    return Batch(chain, org_id, records, placement, placement_cid, [one.shards for one in dispersed], feed_writes)


def _checked_manifest(items: Sequence[ContentItem], kind: str, created_ms: int, parents: Sequence[bytes]) -> bytes:
    """Encoded content that every reader will accept: the bounds of the structs are checked before anything is sealed."""
    size = sum(len(item.content) for item in items)
    if size > MAX_INLINE_BYTES:
        raise RecordTooLarge(actual_bytes=size, max_bytes=MAX_INLINE_BYTES)
    encoded = encode(ContentManifest(CONTENT_DOMAIN, kind, list(items), list(parents), created_ms))
    decode_as(ContentManifest, encoded)
    return encoded


def _require_day(date: str) -> None:
    """A day that exists, spelled YYYY-MM-DD: grants compare days as text."""
    try:
        exists = len(date) == 10 and calendar_date.fromisoformat(date).isoformat() == date
    except ValueError:
        exists = False
    if not exists:
        raise Malformed("not a calendar day, YYYY-MM-DD")
