"""One compartment, one grant, one access entry over two records, built so that every piece can be made wrong before it is bound."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct, structs
from tests.service.keyholders.scene import Scene

from hce.foundation.codec.dagcbor import encode
from hce.foundation.crypto.hashing import digest
from hce.foundation.crypto.seal import OpeningKey
from hce.foundation.crypto.sign import SigningKey
from hce.foundation.crypto.threshold import Capsule, DealtKey, deal, encapsulate
from hce.service.keyholders.case import ReleaseMoment
from hce.service.terms import grants, payloads, records, states

CHAIN = b"hce test chain 1"
HOUR = 3_600_000
NOW_MS = 1_800_000_000_000
HEIGHT = 1_000


def seed(name: str) -> bytes:
    return digest("hce/test/seed", name)


def signing_key(name: str) -> SigningKey:
    return SigningKey(seed(name))


class RecordPiece(Struct):
    """A record as an author made it and the chain registered it."""

    record_id: bytes
    policy: records.PolicyBody
    capsule: Capsule
    rest: bytes
    state: states.RecordState

    @property
    def opening(self) -> grants.RecordOpening:
        return grants.RecordOpening(self.policy, self.capsule, self.rest)


class World:
    """Pieces are plain attributes; `bind` commits, signs and puts them into a state. Whatever is set before it is bound correctly."""

    def __init__(self, dealt: DealtKey, opening: OpeningKey) -> None:
        self.dealt = dealt
        self.chain = CHAIN
        self.owner, self.person = signing_key("owner"), signing_key("clinician")
        self.owner_signs, self.person_signs = self.owner, self.person
        self.reader_org, self.author_org = payloads.org_id(CHAIN, seed("r")), payloads.org_id(CHAIN, seed("a"))
        self.organisations = {self.reader_org: organisation(["read"]), self.author_org: organisation(["write"])}
        self.reader = credential(self.reader_org, self.person.public, ["read"])
        self.author = credential(self.author_org, signing_key("author").public, ["write"])
        self.reader_id = payloads.credential_id(CHAIN, self.reader.body)
        self.author_id = payloads.credential_id(CHAIN, self.author.body)
        owner_digest = payloads.owner_digest(self.owner.public)
        self.compartment_id = payloads.compartment_id(CHAIN, payloads.CompartmentOpen(owner_digest, bytes(32)))
        self.compartment = states.CompartmentState(owner_digest, seed("recovery"), 1, 0, 5, None)
        self.body = grants.GrantBody(
            chain=CHAIN,
            compartment_id=self.compartment_id,
            compartment_version=1,
            owner_key=self.owner.public,
            log_key=opening.public,
            log_read_key=signing_key("log-read").public,
            grantee=self.reader_org,
            reader_key=signing_key("grant-reader").public,
            revoke_key=signing_key("grant-revoke").public,
            not_before_ms=NOW_MS - HOUR,
            expires_at_ms=NOW_MS + 24 * HOUR,
            date_from="2020-01-01",
            date_to="2020-12-31",
            purpose="treatment",
            mode="read",
            nonce=seed("grant nonce"),
        )
        self.records = [self.record("first"), self.record("second")]
        self.grant_height = 900
        self.grant_revoked: int | None = None
        self.entry_height, self.entry_time_ms = HEIGHT - 2, NOW_MS - 2_000
        self.response_key = opening.public
        self.now = ReleaseMoment(CHAIN, HEIGHT, NOW_MS, NOW_MS, False, frozenset())
        self.keyholders = states.KeyholderState(dealt.key_id, dealt.threshold, dealt.public_key, dealt.member_keys, 0)
        self.access_changes: dict[str, Any] = {}
        self.entry_changes: dict[str, Any] = {}
        self.grant_changes: dict[str, Any] = {}
        self.grant_id: bytes | None = None
        self.entry_records: list[bytes] | None = None
        self.requested: list[bytes] | None = None
        self.openings: list[grants.RecordOpening] | None = None

    def record(
        self, name: str, *, salt: str = "", capsule: Capsule | None = None, label_of: str | None = None, **policy: Any
    ) -> RecordPiece:
        """A registered record; `label_of` makes the capsule for another record's id."""
        fields = {
            "chain": CHAIN,
            "compartment_id": self.compartment_id,
            "reading_epoch": 0,
            "date": "2020-06-01",
            "kind": "lab",
            "author": self.author_id,
            "salt": seed("salt " + name + salt),
        }
        body = records.PolicyBody(**(fields | policy))
        record_id = payloads.record_id(CHAIN, self.author_org, seed(name))
        committed = records.policy_commitment(body)
        labelled = record_id if label_of is None else payloads.record_id(CHAIN, self.author_org, seed(label_of))
        label = records.capsule_label("record", CHAIN, labelled, committed, self.dealt.key_id)
        made = capsule or encapsulate(self.dealt.public_key, label, seed("capsule " + name))[0]
        rest = digest("hce/test/rest", name)
        envelope = records.envelope_digest(records.capsule_digest(made), rest)
        state = states.RecordState(
            self.author_org, envelope, seed("key " + name), committed, b"\x01\x71\x12\x20" + bytes(32), 800, NOW_MS - HOUR
        )
        return RecordPiece(record_id, body, made, rest, state)

    def bind(self) -> tuple[dict[bytes, bytes], grants.ReleaseRequest]:
        """The health map and the request, bound to one another by the world's rules."""
        table: dict[bytes, bytes] = {}
        for org_id, organisation_state in self.organisations.items():
            table[states.key_organisation(org_id)] = encode(organisation_state)
        table[states.key_credential(self.reader_id)] = encode(self.reader)
        table[states.key_credential(self.author_id)] = encode(self.author)
        table[states.key_compartment(self.compartment_id)] = encode(self.compartment)
        table[states.KEY_KEYHOLDERS] = encode(self.keyholders)
        for piece in self.records:
            table[states.key_record(piece.record_id)] = encode(piece.state)
        grant_id = self.grant_id or grants.grant_id_of(self.body)
        public = grants.public_grant(self.body)
        grant = states.GrantState(*structs.astuple(public), self.reader_org, self.grant_height, self.grant_revoked, 1, bytes(32))
        table[states.key_grant(grant_id)] = encode(structs.replace(grant, **self.grant_changes))
        ids = [piece.record_id for piece in self.records]
        listed = ids if self.entry_records is None else self.entry_records
        requested = ids if self.requested is None else self.requested
        openings = [piece.opening for piece in self.records] if self.openings is None else self.openings
        access = grants.AccessBody(
            salt=seed("access salt"),
            records_root=grants.records_root(listed),
            records_count=len(listed),
            grant_id=grant_id,
            credential_id=self.reader_id,
            response_key=self.response_key,
            purpose=self.body.purpose,
            reason_hash=bytes(32),
        )
        access = structs.replace(access, **self.access_changes)
        committed = grants.access_commitment(access)
        entry_id = payloads.entry_id(CHAIN, grant_id, committed)
        entry = states.EntryState(grant_id, committed, self.entry_height, self.entry_time_ms, 0)
        table[states.key_entry(entry_id)] = encode(structs.replace(entry, **self.entry_changes))
        message = grants.release_message(CHAIN, entry_id, access.response_key, requested)
        request = grants.ReleaseRequest(
            entry_id=entry_id,
            access=access,
            grant=self.body,
            owner_signature=self.owner_signs.sign(grants.grant_message(self.body)),
            entry_records=listed,
            requested=requested,
            openings=openings,
            credential_signature=self.person_signs.sign(message),
            together=None,
        )
        return table, request


def organisation(powers: Any) -> states.OrganisationState:
    certificate = payloads.OrganisationCertificate(
        bytes(32),
        bytes(1216),
        "A hospital",
        "CN",
        "hospital",
        powers,
        0,
        NOW_MS + 1_000 * HOUR,
    )
    return states.OrganisationState(certificate, 1, None)


def credential(org_id: bytes, key: bytes, powers: Any) -> states.CredentialState:
    body = payloads.CredentialBody(
        org_id,
        key,
        "clinician",
        "Dr Li",
        powers,
        0,
        NOW_MS + 1_000 * HOUR,
    )
    return states.CredentialState(body, 2, None, None)


@pytest.fixture(scope="session")
def dealt() -> DealtKey:
    return deal(3, 2, seed("keyholders"))


@pytest.fixture(scope="session")
def opening_key() -> OpeningKey:
    return OpeningKey(seed("x-wing"))


@pytest.fixture
def make_world(dealt: DealtKey, opening_key: OpeningKey) -> Callable[[], World]:
    return lambda: World(dealt, opening_key)


@pytest.fixture
def world(make_world: Callable[[], World]) -> World:
    return make_world()


@pytest.fixture
def scene(world: Any, tmp_path: Path) -> Iterator[Scene]:
    made = Scene(world, tmp_path)
    yield made
    made.mailbox.close()
    made.revoked.close()
