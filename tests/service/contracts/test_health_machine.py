"""Hypothesis plays grants, revocations, expiry, access, rotation and replay against a model of a few sets and counters."""

from __future__ import annotations

import hypothesis.strategies as st
import msgspec
from hypothesis import settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule
from tests.service.contracts.world import World, bytes32, key

from hce.service.terms.genesis import Params
from hce.service.terms.grants import GrantBody, grant_id_of, public_grant
from hce.service.terms.payloads import CompartmentRotate, entries_hash, owner_digest
from hce.service.terms.transactions import HealthTx

replace = msgspec.structs.replace
ORGANISATIONS = ("clinic", "rival")
MAX_LIFE_BLOCKS = 12
"""Grants of the game live up to this many blocks, so that many expire while it is played."""


ROTATION_BLOCKS = 3
"""So few, that some rotations of the game come too early and some do not."""


class Granted(msgspec.Struct):
    """What the model knows of one grant."""

    name: str
    body: GrantBody
    grant_id: bytes
    revoked: bool = False
    entries: dict[bytes, bytes] = {}
    """commitment -> entry_id, in the order they came."""


class GrantGame(RuleBasedStateMachine):
    """Every rule predicts the outcome from the model, then looks at what the contracts did."""

    grants = Bundle("grants")
    sent = Bundle("sent")

    @initialize()
    def begin(self) -> None:
        self.world = World(1)
        for name in ORGANISATIONS:
            self.world.certify(name)
        [self.compartment] = self.world.run(self.world.compartment("owner 1", "recovery 1", "clinic"))
        self.world.params = Params(rotation_blocks=ROTATION_BLOCKS)
        self.version = self.recovery = 1
        self.rotated: tuple[str, int] | None = None
        self.names = 0
        self.opened: dict[bytes, Granted] = {}
        self.entries_made: list[bytes] = []

    @rule(target=grants, blocks=st.integers(1, MAX_LIFE_BLOCKS), delay=st.integers(0, 2), payer=st.sampled_from(ORGANISATIONS))
    def open(self, blocks: int, delay: int, payer: str) -> Granted:
        self.names += 1
        name = f"grant {self.names}"
        since = self.world.time_ms + delay * 1_000
        body = GrantBody(
            chain=self.world.env.chain,
            compartment_id=self.compartment,
            compartment_version=self.version,
            owner_key=key(f"owner {self.version}").public,
            log_key=bytes(1216),
            log_read_key=bytes(32),
            grantee=self.world.org("clinic"),
            reader_key=key(f"{name} reader").public,
            revoke_key=key(f"{name} revoke").public,
            not_before_ms=since,
            expires_at_ms=since + blocks * 1_000,
            date_from="2020-01-01",
            date_to="2030-01-01",
            purpose="treatment",
            mode="read",
            nonce=bytes32(name),
        )
        return self._open(Granted(name, body, grant_id_of(body)), payer)

    @rule(target=grants, found=grants, payer=st.sampled_from(ORGANISATIONS))
    def salt_again(self, found: Granted, payer: str) -> Granted:
        """A new nonce over the same words is a new grant, with its own id."""
        self.names += 1
        fresh = replace(found.body, nonce=bytes32(f"salt {self.names}"))
        if fresh.expires_at_ms <= self.world.time_ms:
            assert self.world.refused(self.world.open_grant(found.name, public_grant(fresh), payer)) == "dates.refused"
            return multiple()
        return self._open(Granted(found.name, fresh, grant_id_of(fresh)), payer)

    @rule(found=grants, payer=st.sampled_from(ORGANISATIONS), valid_for=st.integers(1, 600))
    def open_the_same_body_again(self, found: Granted, payer: str, valid_for: int) -> None:
        code = self.world.refused(self.world.open_grant(found.name, public_grant(found.body), payer, valid_for=valid_for))
        assert code == ("dates.refused" if self._expired(found) else "grant.exists")

    @rule(target=sent, found=grants, word=st.integers(0, 5), payer=st.sampled_from(ORGANISATIONS))
    def access(self, found: Granted, word: int, payer: str) -> HealthTx:
        commitment = bytes32(f"access {word}")
        tx = self.world.access(found.name, found.grant_id, commitment, payer)
        expected = self._why_no_access(found, commitment)
        if expected is not None:
            assert self.world.refused(tx) == expected
        else:
            [made] = self.world.run(tx)
            assert made not in self.entries_made, "an entry id was used twice"
            found.entries[commitment] = made
            self.entries_made.append(made)
        return tx

    @rule(found=grants, thief=grants)
    def read_with_the_key_of_another_grant(self, found: Granted, thief: Granted) -> None:
        if found.body.reader_key != thief.body.reader_key:
            tx = self.world.access(thief.name, found.grant_id, bytes32("stolen"), "rival")
            assert self.world.refused(tx) == "grant.wrong_key"

    @rule(target=sent, found=grants)
    def revoke(self, found: Granted) -> HealthTx:
        tx = self.world.revoke_grant(found.name, found.grant_id)
        if found.revoked:
            assert self.world.refused(tx) == "grant.revoked"
        else:
            assert self.world.run(tx) == []
            found.revoked = True
        return tx

    @rule(tx=consumes(sent))
    def replay(self, tx: HealthTx) -> None:
        """Beyond the ledger's window an old transaction may come again: it never works twice."""
        if self._worked(tx):
            self.world.refused(tx)

    @rule(role=st.sampled_from(["owner", "recovery"]))
    def rotate(self, role: str) -> None:
        old, new = self.version, self.version + 1
        recovery = new if role == "recovery" else self.recovery
        digests = [owner_digest(key(name).public) for name in (f"owner {new}", f"recovery {recovery}")]
        signer = f"owner {old}" if role == "owner" else f"recovery {self.recovery}"
        rotation = self.world.tx("compartment.rotate", CompartmentRotate(self.compartment, *digests), [(role, signer)])
        if self._must_rest(role):
            assert self.world.refused(rotation) == "compartment.rotated_recently"
            return
        self.world.run(rotation)
        self.version, self.recovery, self.rotated = new, recovery, (role, self.world.height)
        assert self.world.refused(rotation) == "compartment.wrong_key"
        state = self.world.state.compartment(self.compartment)
        assert state is not None
        assert (state.version, state.grants_valid_from) == (new, self.world.height)

    @rule(blocks=st.integers(1, 4))
    def time_passes(self, blocks: int) -> None:
        self.world.next_block(blocks=blocks, ms=blocks * 1_000)

    @invariant()
    def counters_and_running_hashes_tell_the_entries(self) -> None:
        for found in getattr(self, "opened", {}).values():
            state = self.world.state.grant(found.grant_id)
            assert state is not None
            running = bytes(32)
            for ordinal, entry_id in enumerate(found.entries.values()):
                entry = self.world.state.entry(entry_id)
                assert entry is not None
                assert (entry.grant_id, entry.ordinal) == (found.grant_id, ordinal)
                running = entries_hash(running, entry_id)
            assert (state.entries, state.entries_hash) == (len(found.entries), running)
            assert (state.revoked_height is not None) == found.revoked

    @invariant()
    def the_map_holds_the_models_ids_and_no_others(self) -> None:
        if hasattr(self, "world"):
            held = self.world.map()
            assert {name[6:] for name in held if name.startswith(b"grant/")} == set(self.opened)
            assert {name[6:] for name in held if name.startswith(b"entry/")} == set(self.entries_made)

    def _open(self, granted: Granted, payer: str) -> Granted:
        assert granted.grant_id not in self.opened, "a new nonce met an old id"
        assert self.world.run(self.world.open_grant(granted.name, public_grant(granted.body), payer)) == [granted.grant_id]
        self.opened[granted.grant_id] = granted
        return granted

    def _must_rest(self, role: str) -> bool:
        if self.rotated is None or (role, self.rotated[0]) == ("recovery", "owner"):
            return False
        return self.world.height < self.rotated[1] + ROTATION_BLOCKS

    def _expired(self, found: Granted) -> bool:
        return self.world.time_ms >= found.body.expires_at_ms

    def _why_no_access(self, found: Granted, commitment: bytes) -> str | None:
        if found.revoked:
            return "grant.revoked"
        if self.world.time_ms < found.body.not_before_ms:
            return "grant.not_yet_valid"
        if self._expired(found):
            return "grant.expired"
        return "entry.exists" if commitment in found.entries else None

    def _worked(self, tx: HealthTx) -> bool:
        """Whether what this transaction says has happened already."""
        found = self.opened[tx.body.payload.grant_id]
        return found.revoked if tx.body.kind == "grant.revoke" else tx.body.payload.commitment in found.entries


TestGrantGame = GrantGame.TestCase
TestGrantGame.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
