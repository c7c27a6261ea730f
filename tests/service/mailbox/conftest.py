"""A real mailbox on a real disk, a clock to turn, an owner with a feed, and an organisation that writes to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from hce.foundation.codec.dagcbor import encode
from hce.foundation.crypto.hashing import digest
from hce.foundation.crypto.sign import SigningKey
from hce.foundation.crypto.threshold import Capsule
from hce.service.mailbox.deposits import Delivery
from hce.service.mailbox.final import FinalState
from hce.service.mailbox.records import Delivered
from hce.service.mailbox.service import Mailbox
from hce.service.terms import grants, mailbox, payloads, records, states
from hce.service.terms.intake import FeedPost
from hce.service.terms.states import HealthReader

CHAIN = b"hce test chain 1"
START_MS = 1_800_000_000_000
MAP_BYTES = 8 << 20
OWNERS = {"owner", "quarantine", "own-reads", "accept", "reject", "erase", "revoke-token", "drop-log"}


def seed(name: str) -> bytes:
    return digest("hce/test/seed", name)


class HandClock:
    def __init__(self, now_ms: int) -> None:
        self.value_ms = now_ms

    def now_ms(self) -> int:
        return self.value_ms


class Post:
    """The people around a mailbox, and what they sign."""

    chain = CHAIN

    def __init__(self) -> None:
        self.clock = HandClock(START_MS)
        self.owner, self.feed_reader = SigningKey(seed("owner")), SigningKey(seed("feed"))
        self.log_reader, self.org_key = SigningKey(seed("log")), SigningKey(seed("org"))
        self.node_key = SigningKey(seed("node"))
        self.org_id = payloads.org_id(CHAIN, self.org_key.public)
        self.place = [self.feed_reader.public, self.owner.public]
        self.feed = grants.feed_address(*self.place)
        self.log_place = [self.log_reader.public, self.owner.public]
        certificate = payloads.OrganisationCertificate(
            self.org_key.public, bytes(1216), "Lab", "DE", "lab", ["read", "write"], 0, START_MS * 2
        )
        self.table = {states.key_organisation(self.org_id): encode(states.OrganisationState(certificate, 1, None))}
        self.compartment_id = self.compartment(self.owner)
        self.nonces = 0
        self.head_ms: int | None = None
        """Time of the newest final block; None: half a second ago."""
        self.syncing = False
        self.height = 10

    def compartment(self, owner: SigningKey, compartment_id: bytes | None = None) -> bytes:
        """Opens a compartment for an owner key, or puts the key in the place of the old one."""
        owner_digest = payloads.owner_digest(owner.public)
        opened = compartment_id or payloads.compartment_id(CHAIN, payloads.CompartmentOpen(owner_digest, bytes(32)))
        self.table[states.key_compartment(opened)] = encode(states.CompartmentState(owner_digest, bytes(32), 0, 0, 3, None))
        return opened

    def commit(self, *names: str) -> None:
        """Puts records on chain."""
        for name in names:
            named = records.digest_of_envelope(self.delivered(name).envelope)
            state = states.RecordState(self.org_id, named, bytes(32), bytes(32), b"\x01\x71\x12\x20" + bytes(32), 5, START_MS)
            self.table[states.key_record(self.record_id(name))] = encode(state)

    def owning(self, what: str, signer: SigningKey | None = None) -> mailbox.Ownership | None:
        """What a request of that kind says about ownership."""
        if what not in OWNERS:
            return None
        return mailbox.Ownership(self.compartment_id, (signer or self.owner).public)

    @contextmanager
    def state(self) -> Iterator[FinalState]:
        head_ms = self.clock.value_ms - 500 if self.head_ms is None else self.head_ms
        yield FinalState(HealthReader(self.table.get), self.height, head_ms, self.syncing)

    def token(self, serial: int = 1, signer: SigningKey | None = None, **changes: Any) -> grants.SignedToken:
        fields: dict[str, Any] = {"compartment_id": self.compartment_id, "org_id": self.org_id, "feed": self.feed}
        fields |= {"serial": serial, "expires_ms": START_MS + 10**9}
        token = grants.WriteToken(**(fields | changes))
        signature = (signer or self.owner).sign(grants.token_message(CHAIN, token))
        return grants.SignedToken(token, self.owner.public, self.feed_reader.public, signature)

    def delivered(self, name: str) -> Delivered:
        wrap = seed("wrap " + name) + bytes(48)
        capsule = Capsule(*(seed(f"{part} {name}") for part in range(5)))
        envelope = records.Envelope(capsule, seed("dek " + name) + bytes(16), records.owner_wrap_digest(wrap))
        return Delivered(payloads.record_id(CHAIN, self.org_id, seed(name)), envelope, wrap)

    def delivery(self, *names: str, token: grants.SignedToken | None = None) -> Delivery:
        made = [self.delivered(name) for name in names]
        openings = [records.SealedOpening(record.record_id, bytes(300)) for record in made]
        entry = encode(records.SessionEntry(bytes(1168), bytes(1168), openings))
        return Delivery(FeedPost(self.feed, entry, token), made)

    def record_id(self, name: str) -> bytes:
        return payloads.record_id(CHAIN, self.org_id, seed(name))

    def nonce(self) -> bytes:
        self.nonces += 1
        return self.nonces.to_bytes(32, "big")

    def read(self, what: Any, place: list[bytes], signer: SigningKey, **changes: Any) -> mailbox.SignedRead:
        fields: dict[str, Any] = {"chain": CHAIN, "node": 0, "what": what, "place": place, "owner": self.owning(what)}
        fields |= {"after": 0, "limit": 100, "records": []}
        fields |= {"time_ms": self.clock.value_ms, "nonce": self.nonce()}
        read = mailbox.MailboxRead(**(fields | changes))
        return mailbox.SignedRead(read, signer.sign(mailbox.read_message(read)))

    def card(self, signer: SigningKey | None = None, **changes: Any) -> grants.SignedCard:
        now_ms = self.clock.value_ms
        fields: dict[str, Any] = {
            "chain": CHAIN,
            "compartment_id": self.compartment_id,
            "version": 0,
            "owner_key": self.owner.public,
        }
        fields |= {"reading_epoch": 0, "reading_key": bytes(1216), "root_key": bytes(1216)}
        fields |= {"feed_read_key": self.feed_reader.public, "issued_ms": now_ms, "expires_ms": now_ms + grants.CARD_LIFE_MS}
        card = grants.ContactCard(**(fields | changes))
        return grants.SignedCard(card, (signer or self.owner).sign(grants.card_message(card)))

    def post(self, data: bytes, signer: SigningKey | None = None, **changes: Any) -> mailbox.SignedPost:
        fields: dict[str, Any] = {"chain": CHAIN, "node": 0, "org_id": self.org_id, "data": data, "time_ms": self.clock.value_ms}
        fields |= {"owner": mailbox.Ownership(self.compartment_id, self.owner.public), "nonce": self.nonce()}
        post = mailbox.InboxPost(**(fields | changes))
        return mailbox.SignedPost(post, (signer or self.owner).sign(mailbox.post_message(post)))

    def act(self, what: Any, signer: SigningKey | None = None, **changes: Any) -> mailbox.SignedAct:
        fields: dict[str, Any] = {"chain": CHAIN, "node": 0, "what": what, "place": self.place, "owner": self.owning(what)}
        fields |= {"number": 0, "records": []}
        fields |= {"time_ms": self.clock.value_ms, "nonce": self.nonce()}
        act = mailbox.MailboxAct(**(fields | changes))
        return mailbox.SignedAct(act, (signer or self.owner).sign(mailbox.act_message(act)))

    def open(self, path: Path, **options: Any) -> Mailbox:
        return Mailbox.open(
            path,
            chain=CHAIN,
            node_index=0,
            service_key=self.node_key,
            state=self.state,
            clock=self.clock,
            map_size=MAP_BYTES,
            **options,
        )


@pytest.fixture
def make_people() -> type[Post]:
    return Post


@pytest.fixture
def people() -> Post:
    return Post()


@pytest.fixture
def box(people: Post, tmp_path: Path) -> Iterator[Mailbox]:
    with people.open(tmp_path / "mailbox") as opened:
        yield opened
