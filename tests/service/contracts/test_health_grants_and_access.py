"""Grants open once, end at once, and count every access under them."""

from __future__ import annotations

import msgspec
import pytest
from tests.service.contracts.world import DAY_MS, START_MS, World, bytes32, key

from hce.service.contracts.health.grants import MAX_GRANT_MS
from hce.service.terms.payloads import GrantOpen, GrantRevoke, entries_hash, entry_id, grant_id
from hce.service.terms.states import EntryState, GrantState

replace = msgspec.structs.replace


@pytest.fixture
def world() -> World:
    made = World(1)
    made.certify("clinic")
    made.certify("rival")
    return made


def granted(world: World, name: str = "g") -> bytes:
    [made] = world.run(world.open_grant(name, world.grant(name), "clinic"))
    return made


def test_a_grant_shows_its_public_half_and_who_paid(world: World) -> None:
    grant = world.grant("g")
    [made] = world.run(world.open_grant("g", grant, "clinic"))
    assert made == grant_id(world.env.chain, grant)
    assert world.state.grant(made) == GrantState(
        grant.commitment,
        grant.reader_key,
        grant.revoke_key,
        grant.not_before_ms,
        grant.expires_at_ms,
        world.org("clinic"),
        world.height,
        None,
        0,
        bytes(32),
    )


def test_an_old_grant_gets_no_new_id_from_another_payer_or_another_signature(world: World) -> None:
    grant = world.grant("g")
    first = world.open_grant("g", grant, "clinic")
    made = world.run(first)
    world.next_block(blocks=700)
    again = world.open_grant("g", grant, "rival", valid_for=200)
    assert again.id != first.id
    assert world.refused(again) == "grant.exists"
    world.run(world.revoke_grant("g", made[0]))
    assert world.refused(world.open_grant("g", grant, "rival")) == "grant.exists"
    world.next_block(ms=2 * DAY_MS)
    assert world.refused(world.open_grant("g", grant, "rival")) == "dates.refused"


def test_a_grant_is_opened_with_its_own_revoke_key(world: World) -> None:
    signers = [("revoke_key", "h revoke"), ("payer", "clinic")]
    assert world.refused(world.tx("grant.open", world.grant("g"), signers, "clinic")) == "grant.wrong_key"


def test_the_reader_never_holds_the_key_that_revokes(world: World) -> None:
    grant = replace(world.grant("g"), reader_key=key("g revoke").public)
    assert world.refused(world.open_grant("g", grant, "clinic")) == "grant.keys_equal"


@pytest.mark.parametrize(
    ("since_ms", "until_ms"),
    [
        (START_MS + DAY_MS, START_MS + DAY_MS),
        (START_MS + DAY_MS, START_MS),
        (0, START_MS),
        (START_MS, START_MS + MAX_GRANT_MS + 1),
        (START_MS + MAX_GRANT_MS, START_MS + MAX_GRANT_MS + 1),
    ],
)
def test_a_grant_that_is_empty_over_or_longer_than_ten_years_is_refused(world: World, since_ms: int, until_ms: int) -> None:
    assert world.refused(world.open_grant("g", world.grant("g", since_ms=since_ms, until_ms=until_ms), "clinic")) == "dates.refused"


@pytest.mark.parametrize("until_ms", [START_MS + 1, START_MS + MAX_GRANT_MS])
def test_a_grant_may_last_from_an_instant_to_ten_years(world: World, until_ms: int) -> None:
    world.run(world.open_grant("g", world.grant("g", until_ms=until_ms), "clinic"))


def test_an_access_is_written_counted_and_chained_under_its_grant(world: World) -> None:
    made = granted(world)
    running = bytes(32)
    for ordinal in range(3):
        commitment = bytes32(f"access {ordinal}")
        [entry] = world.run(world.access("g", made, commitment, "clinic"))
        assert entry == entry_id(world.env.chain, made, commitment)
        assert world.state.entry(entry) == EntryState(made, commitment, world.height, world.time_ms, ordinal)
        running = entries_hash(running, entry)
        found = world.state.grant(made)
        assert found is not None
        assert (found.entries, found.entries_hash) == (ordinal + 1, running)
        world.next_block()


def test_a_revoked_grant_stops_the_next_read_in_the_same_block(world: World) -> None:
    made = granted(world)
    world.run(world.access("g", made, bytes32("a"), "clinic"))
    assert world.run(world.revoke_grant("g", made)) == []
    assert world.refused(world.access("g", made, bytes32("b"), "clinic")) == "grant.revoked"
    found = world.state.grant(made)
    assert found is not None
    assert (found.revoked_height, found.entries) == (world.height, 1)


def test_a_grant_lives_from_its_first_instant_to_just_before_its_last(world: World) -> None:
    grant = world.grant("g", since_ms=START_MS + 1_000, until_ms=START_MS + 3_000)
    [made] = world.run(world.open_grant("g", grant, "clinic"))
    assert world.refused(world.access("g", made, bytes32("early"), "clinic")) == "grant.not_yet_valid"
    world.time_ms = START_MS + 1_000
    world.run(world.access("g", made, bytes32("first"), "clinic"))
    world.time_ms = START_MS + 2_999
    world.run(world.access("g", made, bytes32("last"), "clinic"))
    world.time_ms = START_MS + 3_000
    assert world.refused(world.access("g", made, bytes32("late"), "clinic")) == "grant.expired"


def test_revoking_takes_the_revoke_key_and_happens_once(world: World) -> None:
    made = granted(world)
    for signer in ("g reader", "clinic", "h revoke"):
        forged = world.tx("grant.revoke", GrantRevoke(made), [("revoke_key", signer)])
        assert world.refused(forged) == "grant.wrong_key"
    world.run(world.revoke_grant("g", made))
    world.next_block()
    assert world.refused(world.revoke_grant("g", made)) == "grant.revoked"


def test_revoking_needs_no_payer_and_no_living_organisation(world: World) -> None:
    made = granted(world)
    world.revoke("clinic")
    world.next_block(ms=2 * DAY_MS)
    world.run(world.revoke_grant("g", made))


def test_a_grant_nobody_opened_gives_nothing(world: World) -> None:
    assert world.refused(world.access("g", bytes(32), bytes32("a"), "clinic")) == "grant.unknown"
    assert world.refused(world.revoke_grant("g", bytes(32))) == "grant.unknown"


def test_an_access_takes_the_readers_key_of_this_grant(world: World) -> None:
    made = granted(world)
    granted(world, "h")
    assert world.refused(world.access("h", made, bytes32("a"), "clinic")) == "grant.wrong_key"


def test_the_same_access_is_one_entry(world: World) -> None:
    made = granted(world)
    world.run(world.access("g", made, bytes32("a"), "clinic"))
    world.next_block()
    assert world.refused(world.access("g", made, bytes32("a"), "rival")) == "entry.exists"


def test_reading_is_paid_by_an_organisation_that_may_read(world: World) -> None:
    made = granted(world)
    world.certify("writer", ["write"])
    assert world.refused(world.access("g", made, bytes32("a"), "writer")) == "organisation.not_certified"
    world.revoke("clinic")
    assert world.refused(world.access("g", made, bytes32("a"), "clinic")) == "organisation.not_certified"


def test_a_changed_field_makes_another_grant_that_the_old_body_does_not_fit(world: World) -> None:
    """The chain sees no body: it gives each public half its own id, and the quorum compares half and body."""
    grant = world.grant("g")
    changes = {
        "commitment": bytes32("x"),
        "reader_key": key("x").public,
        "not_before_ms": START_MS - 1,
        "expires_at_ms": START_MS + DAY_MS + 1,
    }
    made = {tuple(world.run(world.open_grant("g", grant, "clinic")))}
    for field, value in changes.items():
        made.add(tuple(world.run(world.open_grant("g", replace(grant, **{field: value}), "clinic"))))
    made.add(tuple(world.run(world.open_grant("x", replace(grant, revoke_key=key("x revoke").public), "clinic"))))
    assert len(made) == 1 + len(GrantOpen.__struct_fields__)
