"""A reader who tries everything, against a model that knows only what people were promised.

The machine grants, revokes, rotates, lets time pass, opens entries and sends requests: honest ones, old ones again, and ones with a
re-salted policy, a swapped envelope, another record's opening, another grant's body or more records than committed. The model keeps a
handful of facts in plain words. Whatever the model does not allow must be refused, and whatever it allows must be released.
"""

from __future__ import annotations

from typing import Any, ClassVar

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from msgspec import structs

from hce.foundation.codec.dagcbor import encode
from hce.foundation.types.errors import Refused
from hce.service.keyholders.release import may_release
from hce.service.terms import grants, payloads, states
from hce.service.terms.genesis import Params
from hce.service.terms.states import HealthReader

PARAMS = Params(entry_max_blocks=5, entry_max_ms=20_000)
BLOCK_MS = 1_000
PICKS = ([0], [0, 1], [1, 0], [1], [0, 2], [3, 1])
"""Records an entry lists: the first two may be read, the third is of a later year, the fourth of another compartment."""
TRICKS = (
    "none",
    "none",
    "re-salted policy",
    "swapped envelope",
    "replayed opening",
    "other grant's body",
    "more records",
    "other response key",
)


class ReleaseMachine(RuleBasedStateMachine):
    """Grants, entries and requests by index; `facts` of the model beside the state the code reads."""

    make_world: ClassVar[Any]
    counts: ClassVar[dict[str, int]]

    @initialize()
    def begin(self) -> None:
        self.world = type(self).make_world()
        world = self.world
        world.records = [
            world.record("inside"),
            world.record("also inside"),
            world.record("too late", date="2021-02-02"),
            world.record("of another", compartment_id=b"\x09" * 32),
        ]
        self.fitting = {piece.record_id for piece in world.records[:2]}
        self.table, _ = world.bind()
        self.height, self.time_ms, self.local_ms = world.now.height, world.now.block_time_ms, world.now.local_ms
        self.version = 1
        self.seen_revoked: set[bytes] = set()
        self.grants: list[dict[str, Any]] = []
        self.entries: list[dict[str, Any]] = []
        self._grant(lives_ms=3_600_000, begins_ms=-1_000)
        self._open_entry(self.grants[0], [0, 1])

    @rule(lives_ms=st.sampled_from([3_600_000, 30_000, 3_000]), begins_ms=st.sampled_from([-1_000, -1_000, 5_000]))
    def grant(self, lives_ms: int, begins_ms: int) -> None:
        self._grant(lives_ms, begins_ms)

    def _grant(self, lives_ms: int, begins_ms: int) -> None:
        now_ms = max(self.time_ms, self.local_ms)
        body = structs.replace(
            self.world.body,
            compartment_version=self.version,
            not_before_ms=now_ms + begins_ms,
            expires_at_ms=now_ms + lives_ms,
            nonce=len(self.grants).to_bytes(32, "big"),
        )
        grant_id = grants.grant_id_of(body)
        public = structs.astuple(grants.public_grant(body))
        state = states.GrantState(*public, self.world.reader_org, self.height, None, 0, bytes(32))
        self.table[states.key_grant(grant_id)] = encode(state)
        self.grants.append({"id": grant_id, "body": body, "state": state, "version": self.version, "revoked": False})

    @rule(data=st.data(), final=st.booleans())
    def revoke(self, data: st.DataObject, final: bool) -> None:
        grant = data.draw(st.sampled_from(self.grants))
        grant["revoked"] = True
        if final:
            self.table[states.key_grant(grant["id"])] = encode(structs.replace(grant["state"], revoked_height=self.height))
        else:
            self.seen_revoked.add(grant["id"])

    @rule(new_owner=st.booleans())
    def rotate(self, new_owner: bool) -> None:
        """Every older grant is void; with a new owner key the test's owner can grant no more."""
        if new_owner and self.version < 3:
            return
        self.version += 1
        owner = b"\x05" * 32 if new_owner else self.world.owner.public
        compartment = structs.replace(
            self.world.compartment,
            owner_digest=payloads.owner_digest(owner),
            version=self.version,
            grants_valid_from=self.height + 1,
        )
        self.world.compartment = compartment
        self.table[states.key_compartment(self.world.compartment_id)] = encode(compartment)
        self.owner_lost = new_owner
        self.produce_blocks(1)

    @rule(count=st.integers(1, 4))
    def produce_blocks(self, count: int) -> None:
        self.height += count
        self.time_ms += count * BLOCK_MS
        self.local_ms = max(self.local_ms, self.time_ms)

    @rule(elapsed_ms=st.sampled_from([500, 8_000]))
    def halt(self, elapsed_ms: int) -> None:
        """The chain stands still, the clock on the wall does not."""
        self.local_ms += elapsed_ms

    @rule(data=st.data(), picks=st.sampled_from(PICKS))
    def open_entry(self, data: st.DataObject, picks: list[int]) -> None:
        """The ledger's own refusals are not modelled: an entry may stand under any grant."""
        self._open_entry(data.draw(st.sampled_from(self.grants[::-1])), picks)

    def _open_entry(self, grant: dict[str, Any], picks: list[int]) -> None:
        listed = [self.world.records[pick].record_id for pick in picks]
        access = grants.AccessBody(
            salt=len(self.entries).to_bytes(32, "big"),
            records_root=grants.records_root(listed),
            records_count=len(listed),
            grant_id=grant["id"],
            credential_id=self.world.reader_id,
            response_key=self.world.response_key,
            purpose="treatment",
            reason_hash=bytes(32),
        )
        commitment = grants.access_commitment(access)
        entry_id = payloads.entry_id(self.world.chain, grant["id"], commitment)
        self.table[states.key_entry(entry_id)] = encode(states.EntryState(grant["id"], commitment, self.height, self.time_ms, 0))
        self.entries.append(
            {"id": entry_id, "access": access, "grant": grant, "listed": listed, "height": self.height, "time_ms": self.time_ms}
        )

    @rule(data=st.data(), trick=st.sampled_from(TRICKS))
    def request(self, data: st.DataObject, trick: str) -> None:
        """Any entry, however old: sending a request again is the same as sending it late."""
        entry = data.draw(st.sampled_from(self.entries[::-1]))
        honest = self._honest(entry)
        spoiled = self._spoil(honest, entry, trick)
        allowed = spoiled == honest and self._promised(entry)
        now = self.world.now._replace(
            height=self.height, block_time_ms=self.time_ms, local_ms=self.local_ms, revoked=self.seen_revoked
        )
        reader = HealthReader(self.table.get)
        if allowed:
            approved = may_release(reader, spoiled, now, PARAMS)
            assert [record.record_id for record in approved.records] == entry["listed"]
            assert approved.response_key == entry["access"].response_key
            self.counts["released"] += 1
        else:
            with pytest.raises(Refused):
                may_release(reader, spoiled, now, PARAMS)
            self.counts["refused"] += 1

    @invariant()
    def nothing_was_written(self) -> None:
        """Deciding changes nothing: the state holds what the rules above put there."""
        expected = 6 + len(self.world.records) + len(self.grants) + len(self.entries) + 2
        assert len(self.table) == expected

    def _promised(self, entry: dict[str, Any]) -> bool:
        """What the owner was told, in plain words."""
        grant, now_ms = entry["grant"], max(self.time_ms, self.local_ms)
        live = grant["body"].not_before_ms <= now_ms < grant["body"].expires_at_ms and not grant["revoked"]
        current = grant["version"] == self.version and not getattr(self, "owner_lost", False)
        young = self.height - entry["height"] <= PARAMS.entry_max_blocks and now_ms - entry["time_ms"] <= PARAMS.entry_max_ms
        return live and current and young and set(entry["listed"]) <= self.fitting

    def _honest(self, entry: dict[str, Any]) -> grants.ReleaseRequest:
        by_id = {piece.record_id: piece for piece in self.world.records}
        return self._signed(
            grants.ReleaseRequest(
                entry_id=entry["id"],
                access=entry["access"],
                grant=entry["grant"]["body"],
                owner_signature=self.world.owner.sign(grants.grant_message(entry["grant"]["body"])),
                entry_records=entry["listed"],
                requested=entry["listed"],
                openings=[by_id[record_id].opening for record_id in entry["listed"]],
                credential_signature=bytes(64),
                together=None,
            )
        )

    def _spoil(self, request: grants.ReleaseRequest, entry: dict[str, Any], trick: str) -> grants.ReleaseRequest:
        first, others = request.openings[0], request.openings[1:]
        donor = next(piece for piece in self.world.records if piece.opening != first)
        if trick == "re-salted policy":
            spoiled = structs.replace(request, openings=[structs.replace(first, policy=_resalted(first.policy)), *others])
        elif trick == "swapped envelope":
            spoiled = structs.replace(request, openings=[structs.replace(first, capsule=donor.capsule), *others])
        elif trick == "replayed opening":
            spoiled = structs.replace(request, openings=[donor.opening, *others])
        elif trick == "other grant's body":
            body = self.grants[0]["body"]
            spoiled = structs.replace(request, grant=body, owner_signature=self.world.owner.sign(grants.grant_message(body)))
        elif trick == "more records":
            added = next((piece for piece in self.world.records if piece.record_id not in request.requested), donor)
            spoiled = structs.replace(
                request,
                entry_records=[*request.entry_records, added.record_id],
                requested=[*request.requested, added.record_id],
                openings=[*request.openings, added.opening],
            )
        elif trick == "other response key":
            spoiled = structs.replace(request, access=structs.replace(request.access, response_key=bytes(1216)))
        else:
            spoiled = request
        return self._signed(spoiled)

    def _signed(self, request: grants.ReleaseRequest) -> grants.ReleaseRequest:
        """The individual signs whatever the reader wants: the rule must hold against him too."""
        message = grants.release_message(self.world.chain, request.entry_id, request.access.response_key, request.requested)
        return structs.replace(request, credential_signature=self.world.person.sign(message))


def _resalted(policy: Any) -> Any:
    return structs.replace(policy, salt=bytes(32))


def test_a_reader_gets_what_was_promised_and_nothing_else(make_world: Any) -> None:
    class Machine(ReleaseMachine):
        pass

    Machine.make_world = staticmethod(make_world)
    Machine.counts = {"released": 0, "refused": 0}
    test_case = Machine.TestCase
    test_case.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
    test_case("runTest").runTest()
    assert min(Machine.counts.values()) > 0  # the machine got somewhere, both ways
