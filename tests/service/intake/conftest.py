"""A node's intake over real stores, and an organisation with a batch for two feeds."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from msgspec import structs

from hce.foundation.codec.cid import cid_of_dag_cbor
from hce.foundation.codec.dagcbor import encode
from hce.foundation.crypto.hashing import digest
from hce.foundation.crypto.sign import SigningKey
from hce.foundation.crypto.threshold import Capsule
from hce.foundation.store.kv import commit_durably
from hce.foundation.store.packs import PackStore
from hce.network.hcefs.manifest import Dispersed, disperse, make_manifest, read_manifest
from hce.network.hcefs.placements import Placements
from hce.service.intake.service import Intake
from hce.service.mailbox.final import FinalState
from hce.service.mailbox.service import Mailbox
from hce.service.terms import grants, mailbox, payloads, records, states
from hce.service.terms.genesis import Params
from hce.service.terms.intake import FeedPost, IntakeBatch, IntakeRecord, intake_message, record_ids
from hce.service.terms.states import HealthReader

CHAIN = b"hce test chain 1"
NOW_MS = 1_800_000_000_000
MAP_BYTES = 4 << 20


class Killed(BaseException):
    """The process is gone."""


class Killer:
    """Flush hooks that stop the process before or after the n-th flush; `None` never does."""

    def __init__(self, at: int | None = None) -> None:
        self._left = at

    def sync(self, descriptor: int) -> None:
        self._step()
        os.fsync(descriptor)
        self._step()

    def commit(self, transaction: Any) -> None:
        self._step()
        commit_durably(transaction)
        self._step()

    def _step(self) -> None:
        if self._left is not None:
            self._left -= 1
            if self._left < 0:
                raise Killed


class FixedClock:
    def now_ms(self) -> int:
        return NOW_MS


class Node(NamedTuple):
    """One run of the process."""

    intake: Intake
    mailbox: Mailbox
    packs: PackStore
    placements: Placements


class Scene:
    """The organisation, two owners with their feeds, and the node's final state."""

    chain = CHAIN

    def __init__(self, nodes: int = 1) -> None:
        self.nodes = nodes
        self.ciphertexts = [seed(f"ciphertext {number}") * 20 for number in range(3)]
        self.org_key, self.node_key = SigningKey(seed("org")), SigningKey(seed("node"))
        self.org_id = payloads.org_id(CHAIN, self.org_key.public)
        self.owners = [SigningKey(seed("owner 0")), SigningKey(seed("owner 1"))]
        self.readers = [SigningKey(seed("feed 0")), SigningKey(seed("feed 1"))]
        self.places = [[reader.public, owner.public] for reader, owner in zip(self.readers, self.owners, strict=True)]
        self.feeds = [grants.feed_address(*place) for place in self.places]
        self.table: dict[bytes, bytes] = {}
        self.certify(["write"])
        for number, owner in enumerate(self.owners):
            state = states.CompartmentState(payloads.owner_digest(owner.public), bytes(32), 0, 0, 3, None)
            self.table[states.key_compartment(self.owning(number).compartment_id)] = encode(state)
        self.height, self.epoch, self.nonces = 50, 0, 0
        self.max_unadmitted_bytes = 1 << 20
        self.syncing = False

    def certify(self, powers: Any, **state: Any) -> None:
        certificate = payloads.OrganisationCertificate(self.org_key.public, bytes(1216), "Lab", "DE", "lab", powers, 0, NOW_MS + 1)
        certified = states.OrganisationState(certificate, 1, None)
        self.table[states.key_organisation(self.org_id)] = encode(structs.replace(certified, **state))

    @contextmanager
    def state(self) -> Iterator[FinalState]:
        yield FinalState(HealthReader(self.table.get), self.height, NOW_MS, self.syncing)

    def owning(self, feed: int) -> mailbox.Ownership:
        """The owner of the feed, whose compartment is on chain."""
        owner = self.owners[feed].public
        return mailbox.Ownership(payloads.compartment_id(CHAIN, compartment_of(owner)), owner)

    def commit(self, batch: IntakeBatch) -> None:
        """Puts the batch's records on chain."""
        for name in record_ids(batch):
            state = states.RecordState(self.org_id, bytes(32), bytes(32), bytes(32), cid_of_dag_cbor(b""), 5, NOW_MS)
            self.table[states.key_record(name)] = encode(state)

    def token(self, feed: int) -> grants.SignedToken:
        token = grants.WriteToken(self.owning(feed).compartment_id, self.org_id, self.feeds[feed], 1, NOW_MS + 10**6)
        signature = self.owners[feed].sign(grants.token_message(CHAIN, token))
        return grants.SignedToken(token, self.owners[feed].public, self.readers[feed].public, signature)

    def batch(self, **changes: Any) -> IntakeBatch:
        """Three records: two for the first feed, which gave a token, one for the second, which did not."""
        placed = [disperse(ciphertext, self.nodes) for ciphertext in self.ciphertexts]
        listed = [self.record(number, self.feeds[number // 2]) for number in range(3)]
        fields: dict[str, Any] = {
            "chain": CHAIN,
            "org_id": self.org_id,
            "placement": encode(make_manifest(CHAIN, [one.placed for one in placed], self.nodes)),
            "blobs": self.shards_of_node_0(placed),
            "records": listed,
            "posts": [self.post(0, listed[:2], self.token(0)), self.post(1, listed[2:], None)],
            "signature": bytes(64),
        }
        return self.sign(IntakeBatch(**(fields | changes)))

    def shards_of_node_0(self, placed: list[Dispersed]) -> list[bytes]:
        manifest = make_manifest(CHAIN, [one.placed for one in placed], self.nodes)
        numbers = [one.shard_at(0) for one in read_manifest(encode(manifest), CHAIN)]
        return [one.shards[number] for one, number in zip(placed, numbers, strict=True) if number is not None]

    def sign(self, batch: IntakeBatch) -> IntakeBatch:
        return structs.replace(batch, signature=self.org_key.sign(intake_message(batch)))

    def record(self, number: int, feed: bytes) -> IntakeRecord:
        wrap = seed(f"wrap {number}") + bytes(48)
        capsule = Capsule(*(seed(f"{part} {number}") for part in range(5)))
        envelope = records.Envelope(capsule, seed(f"dek {number}") + bytes(16), records.owner_wrap_digest(wrap))
        return IntakeRecord(seed(f"nonce {number}"), feed, envelope, wrap)

    def post(self, feed: int, listed: list[IntakeRecord], token: grants.SignedToken | None) -> FeedPost:
        names = [payloads.record_id(CHAIN, self.org_id, record.nonce) for record in listed]
        openings = [records.SealedOpening(name, bytes(300)) for name in names]
        return FeedPost(self.feeds[feed], encode(records.SessionEntry(bytes(1168), bytes(1168), openings)), token)

    def read(self, what: Any, feed: int, signer: SigningKey, record_ids: list[bytes] | None = None) -> mailbox.SignedRead:
        self.nonces += 1
        nonce = self.nonces.to_bytes(32, "big")
        owner = self.owning(feed) if what in ("owner", "quarantine") else None
        read = mailbox.MailboxRead(CHAIN, 0, what, self.places[feed], owner, 0, 100, record_ids or [], NOW_MS, nonce)
        return mailbox.SignedRead(read, signer.sign(mailbox.read_message(read)))

    def erasure(self, record_id: bytes) -> mailbox.SignedAct:
        """The first feed's owner erases a record."""
        act = mailbox.MailboxAct(CHAIN, 0, "erase", self.places[0], self.owning(0), 0, [record_id], NOW_MS, bytes(32))
        return mailbox.SignedAct(act, self.owners[0].sign(mailbox.act_message(act)))

    @contextmanager
    def node(self, path: Path, killer: Killer | None = None, **options: Any) -> Iterator[Node]:
        """The process from start to end, however it ends."""
        hooks = killer or Killer()
        with ExitStack() as stack:
            packs = stack.enter_context(PackStore.open(path / "packs", map_size=MAP_BYTES, sync=hooks.sync, commit=hooks.commit))
            box = stack.enter_context(
                Mailbox.open(
                    path / "mailbox",
                    chain=CHAIN,
                    node_index=0,
                    service_key=self.node_key,
                    state=self.state,
                    clock=FixedClock(),
                    map_size=MAP_BYTES,
                    sync=hooks.sync,
                    commit=hooks.commit,
                    **options,
                )
            )
            placements = stack.enter_context(
                Placements.open(path / "placements", chain=CHAIN, node=0, map_size=MAP_BYTES, commit=hooks.commit)
            )
            intake = Intake(
                chain=CHAIN,
                node_index=0,
                nodes=self.nodes,
                placements=placements,
                epoch=lambda: self.epoch,
                service_key=self.node_key,
                packs=packs,
                mailbox=box,
                state=self.state,
                clock=FixedClock(),
                params=Params(),
                max_unadmitted_bytes=self.max_unadmitted_bytes,
            )
            yield Node(intake, box, packs, placements)


def compartment_of(owner: bytes) -> payloads.CompartmentOpen:
    return payloads.CompartmentOpen(payloads.owner_digest(owner), bytes(32))


def seed(name: str) -> bytes:
    return digest("hce/test/seed", name)


@pytest.fixture
def scene(request: pytest.FixtureRequest) -> Scene:
    """Of a network of one node, or of as many as the test says."""
    return Scene(getattr(request, "param", 1))


@pytest.fixture
def killed_at() -> Callable[[int], Killer]:
    return Killer


@pytest.fixture
def killed() -> type[BaseException]:
    return Killed


@pytest.fixture
def node(scene: Scene, tmp_path: Path) -> Iterator[Node]:
    with scene.node(tmp_path / "node") as running:
        yield running
