"""A health chain in a dictionary: a real journal, real signatures, keys made from names. Used by tests, vectors and benchmarks."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from hce.foundation.codec.cid import cid_of_dag_cbor, cid_of_raw
from hce.foundation.crypto.hashing import digest
from hce.foundation.crypto.sign import SigningKey
from hce.foundation.store.journal import HEALTH, Journal
from hce.foundation.types.blocks import Node
from hce.foundation.types.errors import Refused
from hce.foundation.types.ladder import ladder
from hce.service.contracts.health import BlockEnv, HealthState, apply, check_stateless
from hce.service.terms.genesis import Params
from hce.service.terms.payloads import (
    AccessOpen,
    AvailabilityReceipt,
    CompartmentOpen,
    CredentialBody,
    GrantOpen,
    GrantRevoke,
    OrganisationCertificate,
    OrganisationRevoke,
    OrganisationVote,
    RecordBatch,
    RecordEntry,
    availability_message,
    envelopes_root,
    org_id,
    owner_digest,
)
from hce.service.terms.transactions import HealthTx, make_body, parse, sign_tx

CHAIN = bytes(range(16))
START_MS = 1_760_000_000_000
"""Block time of the first block of a world."""
DAY_MS = 86_400_000
ALL_POWERS = ["claims", "emergency", "read", "research", "write"]


def key(name: str) -> SigningKey:
    """The same key for the same name, for ever: seed = SHA-256(name)."""
    return SigningKey(hashlib.sha256(name.encode()).digest())


def bytes32(name: str) -> bytes:
    """32 bytes that stand for a random value."""
    return hashlib.sha256(b"bytes32 " + name.encode()).digest()


def node(index: int) -> Node:
    names = (f"node {index} {use}" for use in ("consensus", "link", "service"))
    return Node(bytes([index]) * 20, *(key(name).public for name in names))


class World:
    """One chain. Every transaction runs as the ledger runs it: stateless checks, a checkpoint, apply, commit or rollback."""

    def __init__(self, nodes: int = 1) -> None:
        self.stored: dict[bytes, bytes] = {}
        self.journal = Journal(lambda _, name: self.stored.get(name))
        self.height = 10
        self.time_ms = START_MS
        self.nodes = [node(index) for index in range(nodes)]
        self.params = Params()

    @property
    def env(self) -> BlockEnv:
        return BlockEnv(CHAIN, self.height, self.time_ms, 3, self.nodes, self.params)

    @property
    def state(self) -> HealthState:
        return HealthState(self.journal)

    def next_block(self, *, blocks: int = 1, ms: int = 1_000) -> None:
        self.height += blocks
        self.time_ms += ms

    def map(self) -> dict[bytes, bytes]:
        """Everything the chain knows now."""
        return {name: value for name, value in self.journal.changes(HEALTH).items() if value is not None}

    def tx(
        self,
        kind: str,
        payload: Struct,
        signers: Sequence[tuple[str, str]],
        payer: str | bytes | None = None,
        *,
        chain: bytes = CHAIN,
        valid_for: int = 100,
    ) -> HealthTx:
        """Signed and parsed; signers as (role, name of the key), payer as the name of an organisation or its id."""
        paid_by = self.org(payer) if isinstance(payer, str) else payer
        body = make_body(chain, kind, payload, paid_by, self.height + valid_for)
        return parse(sign_tx(body, [(role, key(name)) for role, name in signers]), chain)

    def run(self, tx: HealthTx) -> list[bytes]:
        """What the ledger does with a transaction; a refusal leaves the journal as it was."""
        check_stateless(tx, CHAIN)
        mark = self.journal.checkpoint()
        try:
            made = apply(tx, self.journal, self.env)
        except Refused:
            self.journal.rollback(mark)
            raise
        self.journal.commit(mark)
        return made

    def refused(self, tx: HealthTx) -> str:
        """Code of the refusal. A transaction that is not refused, or leaves a trace, is a failure."""
        before = self.map()
        try:
            self.run(tx)
        except Refused as error:
            assert self.map() == before, "a refused transaction left a trace"
            return error.code
        raise AssertionError(f"{tx.body.kind} was not refused")

    def org(self, name: str) -> bytes:
        return org_id(CHAIN, key(name).public)

    def certificate(self, name: str, powers: Sequence[str] = ALL_POWERS, days: int = 365, since_ms: int = START_MS) -> Any:
        seal_key = hashlib.shake_256(name.encode()).digest(1216)
        return OrganisationCertificate(
            key(name).public, seal_key, name, "CN", "hospital", list(powers), since_ms, since_ms + days * DAY_MS
        )

    def vote(self, certificate: OrganisationCertificate, voter: int, approve: bool = True) -> HealthTx:
        payload = OrganisationVote(certificate, approve, key(f"node {voter} service").public)
        return self.tx("organisation.vote", payload, [("node", f"node {voter} service")])

    def vote_revoke(self, name: str, voter: int, reason: str = "closed") -> HealthTx:
        payload = OrganisationRevoke(self.org(name), reason, key(f"node {voter} service").public)
        return self.tx("organisation.revoke", payload, [("node", f"node {voter} service")])

    def certify(self, name: str, powers: Sequence[str] = ALL_POWERS, days: int = 365) -> bytes:
        """All nodes vote for it."""
        for voter in range(len(self.nodes)):
            self.run(self.vote(self.certificate(name, powers, days), voter))
        return self.org(name)

    def revoke(self, name: str) -> None:
        """All nodes vote to revoke it."""
        for voter in range(len(self.nodes)):
            self.run(self.vote_revoke(name, voter))

    def credential(self, org: str, person: str, powers: Sequence[str] = ("read", "write"), days: int = 100) -> HealthTx:
        body = CredentialBody(
            self.org(org), key(person).public, "clinician", person, list(powers), START_MS, START_MS + days * DAY_MS
        )
        return self.tx("credential.issue", body, [("organisation", org), ("payer", org)], org)

    def compartment(self, owner: str, recovery: str, payer: str) -> HealthTx:
        payload = CompartmentOpen(owner_digest(key(owner).public), owner_digest(key(recovery).public))
        return self.tx("compartment.open", payload, [("payer", payer)], payer)

    def entry(self, name: str) -> RecordEntry:
        return RecordEntry(*(bytes32(f"{name} {part}") for part in ("nonce", "envelope", "key", "policy")))

    def receipt(self, entries: Sequence[RecordEntry], index: int, shard: bytes | None, hold_until: int = 10_000) -> Any:
        """What the honest node `index` answers when these envelopes (and this shard) are on its disk."""
        env = self.env
        message = availability_message(env.chain, PLACEMENT, shard, envelopes_root(list(entries)), index, env.epoch, hold_until)
        return AvailabilityReceipt(index, shard, hold_until, key(f"node {index} service").sign(message))

    def receipts(self, entries: Sequence[RecordEntry]) -> list[AvailabilityReceipt]:
        """From every node, each with its own shard; replicas are equal."""
        coded = ladder(len(self.nodes)).k > 1
        shards = [cid_of_raw(f"shard {index if coded else 0}".encode()) for index in range(len(self.nodes))]
        return [self.receipt(entries, index, shard) for index, shard in enumerate(shards)]

    def batch(self, org: str, entries: Sequence[RecordEntry], receipts: Sequence[AvailabilityReceipt] | None = None) -> Any:
        vouched = self.receipts(entries) if receipts is None else list(receipts)
        return RecordBatch(self.org(org), list(entries), PLACEMENT, vouched)

    def commit(self, org: str, batch: RecordBatch, payer: str | None = None) -> HealthTx:
        return self.tx("record.commit", batch, [("organisation", org), ("payer", payer or org)], payer or org)

    def grant(self, name: str, *, since_ms: int | None = None, until_ms: int | None = None) -> GrantOpen:
        """Public half of the grant called `name`: lives a day from now unless told."""
        return GrantOpen(
            digest("test/grant", name),
            key(f"{name} reader").public,
            key(f"{name} revoke").public,
            self.time_ms if since_ms is None else since_ms,
            self.time_ms + DAY_MS if until_ms is None else until_ms,
        )

    def open_grant(self, name: str, grant: GrantOpen, payer: str, valid_for: int = 100) -> HealthTx:
        signers = [("revoke_key", f"{name} revoke"), ("payer", payer)]
        return self.tx("grant.open", grant, signers, payer, valid_for=valid_for)

    def revoke_grant(self, name: str, grant_id: bytes, valid_for: int = 100) -> HealthTx:
        return self.tx("grant.revoke", GrantRevoke(grant_id), [("revoke_key", f"{name} revoke")], valid_for=valid_for)

    def access(self, name: str, grant_id: bytes, commitment: bytes, payer: str, valid_for: int = 100) -> HealthTx:
        payload = AccessOpen(grant_id, commitment)
        return self.tx("access.open", payload, [("reader", f"{name} reader"), ("payer", payer)], payer, valid_for=valid_for)


PLACEMENT = cid_of_dag_cbor(b"a placement manifest")
