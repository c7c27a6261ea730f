"""A hospital, a patient and nine keyholders in memory: the vault's callers, with the real release rule and no sockets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from msgspec.structs import replace

from hce.foundation.codec.dagcbor import encode
from hce.foundation.crypto.seal import OpeningKey
from hce.foundation.crypto.secret import SecretBytes
from hce.foundation.crypto.sign import SigningKey
from hce.foundation.crypto.threshold import DealtKey, deal
from hce.service.keyholders.case import ReleaseMoment
from hce.service.keyholders.partials import sealed_receipt, sealed_reply, signed_receipt
from hce.service.keyholders.release import may_release
from hce.service.terms import states
from hce.service.terms.genesis import Params
from hce.service.terms.grants import AccessRequest, ReleaseRequest
from hce.service.terms.payloads import CredentialBody, OrganisationCertificate, credential_id, entries_hash, org_id
from hce.service.terms.records import ContentItem
from hce.service.vault import compartments, granting, opening, sealing

CHAIN = bytes(range(16))
NOW_MS = 1_760_000_000_000
DAY_MS = 24 * 3_600_000
HEIGHT = 100
RECORD_HEIGHT = 50
NAMES = ("Hospital West", "Dr Li")
CONTENT = b'{"resourceType":"Observation","id":"o1","status":"final"}'


def seed_of(what: str) -> bytes:
    return encode([what]).rjust(32, b"\x00")[:32]


@dataclass
class Written:
    """A committed record with everything a reader can fetch."""

    sealed: sealing.SealedRecord
    session_entry: bytes
    state: states.RecordState


@dataclass
class Network:
    """What is public: the health map, and the keyholders. `n` of them, `t` needed."""

    n: int
    t: int
    chain: bytes = CHAIN
    values: dict[bytes, bytes] = field(default_factory=dict)
    receipts: list[bytes] = field(default_factory=list)
    dealt: DealtKey = field(init=False)
    keyholders: states.KeyholderState = field(init=False)
    service_keys: dict[int, SigningKey] = field(init=False)

    def __post_init__(self) -> None:
        self.dealt = deal(self.n, self.t, seed_of("keyholders"))
        self.keyholders = states.KeyholderState(self.dealt.key_id, self.t, self.dealt.public_key, self.dealt.member_keys, 0)
        self.service_keys = {node: SigningKey(seed_of(f"service {node}")) for node in range(self.n)}
        self.put(states.KEY_KEYHOLDERS, self.keyholders)

    @property
    def health(self) -> states.HealthReader:
        return states.HealthReader(self.values.get)

    @property
    def public_service_keys(self) -> dict[int, bytes]:
        return {node: key.public for node, key in self.service_keys.items()}

    def put(self, key: bytes, value: Any) -> None:
        self.values[key] = encode(value)

    def release(self, request: ReleaseRequest, node: int) -> bytes:
        """One keyholder's answer; its receipt is written first."""
        moment = ReleaseMoment(self.chain, HEIGHT + 1, NOW_MS, NOW_MS, False, set())
        approved = may_release(self.health, request, moment, Params())
        signed = signed_receipt(self.chain, approved, node, HEIGHT + 1, NOW_MS, self.service_keys[node])
        self.receipts.append(sealed_receipt(self.chain, approved, signed))
        return sealed_reply(self.chain, approved, node, self.dealt.shares[node])


@dataclass
class World:
    network: Network
    org_key: SigningKey = field(default_factory=lambda: SigningKey(seed_of("organisation")))
    inbox: OpeningKey = field(default_factory=lambda: OpeningKey.from_seed(seed_of("inbox")))
    author_key: SigningKey = field(default_factory=lambda: SigningKey(seed_of("author")))
    reader: SigningKey = field(default_factory=lambda: SigningKey(seed_of("reader")))
    keys: compartments.CompartmentKeys = field(
        default_factory=lambda: compartments.CompartmentKeys(SecretBytes(b"patient seed" * 5 + b"seed"), 0)
    )
    epoch: int = 0

    def __post_init__(self) -> None:
        self.org_id = org_id(CHAIN, self.org_key.public)
        certificate = OrganisationCertificate(
            self.org_key.public, self.inbox.public, NAMES[0], "CN", "hospital", ["read", "write"], 0, NOW_MS + 400 * DAY_MS
        )
        self.network.put(states.key_organisation(self.org_id), states.OrganisationState(certificate, 1, None))
        body = CredentialBody(
            self.org_id, self.author_key.public, "clinician", NAMES[1], ["read", "write"], 0, NOW_MS + 400 * DAY_MS
        )
        self.credential_id = credential_id(CHAIN, body)
        self.network.put(states.key_credential(self.credential_id), states.CredentialState(body, 2, None, None))
        self.compartment_id = self.keys.compartment_id(CHAIN)
        self.network.put(
            states.key_compartment(self.compartment_id),
            states.CompartmentState(self.keys.owner_digest, self.keys.recovery_digest, 0, 0, 3, None),
        )
        self.signed_card = compartments.make_card(self.keys, CHAIN, 0, self.epoch, NOW_MS)
        self.card = compartments.verify_card(self.signed_card, CHAIN, NOW_MS, self.keys.owner_digest)

    def session(self, **changes: Any) -> sealing.AuthoringSession:
        given: dict[str, Any] = {
            "chain": CHAIN,
            "org_id": self.org_id,
            "author_credential_id": self.credential_id,
            "author_key": self.author_key,
            "card": self.card,
            "keyholders": self.network.keyholders,
        }
        return sealing.AuthoringSession(**(given | changes))

    def write(self, count: int = 1, date: str = "2025-03-04", content: bytes = CONTENT) -> list[Written]:
        """`count` records of one session, sealed and committed."""
        session = self.session()
        for number in range(count):
            session.seal([ContentItem(f"Observation/o{number}", "application/fhir+json", content)], "lab", date, NOW_MS)
        return self.commit(sealing.make_batch([session]))

    def commit(self, batch: sealing.Batch) -> list[Written]:
        feeds = {record: write.session_entry for write in batch.feed_writes for record in write.record_ids}
        written = []
        for record in batch.records:
            entry = record.entry
            state = states.RecordState(
                batch.org_id,
                entry.envelope_digest,
                entry.key_commitment,
                entry.policy_commitment,
                batch.placement_cid,
                RECORD_HEIGHT,
                NOW_MS - DAY_MS,
            )
            self.network.put(states.key_record(record.record_id), state)
            written.append(Written(record, feeds[record.record_id], state))
        return written

    def request(self) -> AccessRequest:
        return AccessRequest(
            CHAIN, self.org_id, self.reader.public, self.inbox.public, "treatment", "read", "2025-01-01", "2025-12-31"
        )

    def grant(self, **changes: Any) -> granting.MadeGrant:
        """A live grant, on chain."""
        given: dict[str, Any] = {
            "not_before_ms": NOW_MS - 1_000,
            "expires_at_ms": NOW_MS + DAY_MS,
            "date_from": "2025-01-01",
            "date_to": "2025-12-31",
            "purpose": "treatment",
            "mode": "read",
            "reading_epochs": [self.epoch],
            "card": self.signed_card,
        }
        made = granting.make_grant(self.keys, CHAIN, 0, self.request(), **(given | changes))
        public = made.public
        state = states.GrantState(
            public.commitment,
            public.reader_key,
            public.revoke_key,
            public.not_before_ms,
            public.expires_at_ms,
            self.org_id,
            HEIGHT - 10,
            None,
            0,
            bytes(32),
        )
        self.network.put(states.key_grant(made.grant_id), state)
        return made

    def access(self, made: granting.MadeGrant, written: list[Written]) -> granting.PreparedAccess:
        """An access entry, on chain."""
        records = [record.sealed.record_id for record in written]
        prepared = granting.make_access(made.body, self.credential_id, records, "treatment", "ward round")
        self.enter(made, prepared)
        return prepared

    def enter(self, made: granting.MadeGrant, prepared: granting.PreparedAccess) -> None:
        state = self.network.health.grant(made.grant_id)
        assert state is not None
        entry = states.EntryState(made.grant_id, prepared.commitment, HEIGHT, NOW_MS, state.entries)
        self.network.put(states.key_entry(prepared.entry_id), entry)
        running = entries_hash(state.entries_hash, prepared.entry_id)
        self.network.put(states.key_grant(made.grant_id), replace(state, entries=state.entries + 1, entries_hash=running))

    def entries(self, made: granting.MadeGrant) -> list[states.EntryState]:
        found = [self.network.health.entry(key[6:]) for key in self.network.values if key.startswith(b"entry/")]
        return [entry for entry in found if entry is not None and entry.grant_id == made.grant_id]

    def read_session(self, written: Written, parcel: Any) -> opening.OpenedSession:
        """What the grantee's gateway makes of a feed entry."""
        seed = SecretBytes(parcel.epoch_keys[0].reading_seed)
        key = compartments.reading_key_of(seed)
        return opening.read_session(key, written.session_entry, CHAIN, self.compartment_id, self.epoch)

    def locked(self, written: Written, parcel: Any) -> granting.LockedRecord:
        session = self.read_session(written, parcel)
        record_id, state, key_id = written.sealed.record_id, written.state, self.network.keyholders.key_id
        header = opening.check_record(CHAIN, key_id, record_id, state, session.openings[record_id], written.sealed.envelope)
        return granting.LockedRecord(header, written.sealed.envelope, session, state.key_commitment)

    def release_request(
        self, made: granting.MadeGrant, prepared: granting.PreparedAccess, written: list[Written], parcel: Any
    ) -> ReleaseRequest:
        wanted = {
            record.sealed.record_id: (
                self.read_session(record, parcel).openings[record.sealed.record_id],
                record.sealed.envelope,
            )
            for record in written
        }
        return granting.make_release_request(prepared, made.body, made.owner_signature, wanted, self.author_key)


@pytest.fixture(scope="module", params=[(9, 6), (1, 1)], ids=["6-of-9", "1-of-1"])
def any_world(request: pytest.FixtureRequest) -> World:
    return World(Network(*request.param))


@pytest.fixture
def world() -> World:
    """One keyholder: enough where lock B is not the question."""
    return World(Network(1, 1))


@pytest.fixture
def nine() -> World:
    return World(Network(9, 6))


@pytest.fixture
def counted_random() -> Callable[[str], Callable[[int], bytes]]:
    """A deterministic stream of bytes for a label."""
    import hashlib

    def stream(label: str) -> Callable[[int], bytes]:
        hashed = hashlib.shake_256(label.encode())
        place = 0

        def draw(count: int) -> bytes:
            nonlocal place
            place += count
            return hashed.digest(place)[-count:]

        return draw

    return stream
