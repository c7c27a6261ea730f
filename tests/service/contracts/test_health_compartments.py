"""Compartments are opened once, and rotated by their own keys only."""

from __future__ import annotations

import pytest
from tests.service.contracts.world import World, key

from hce.service.terms.payloads import CompartmentOpen, CompartmentRotate, compartment_id, owner_digest
from hce.service.terms.states import CompartmentState
from hce.service.terms.transactions import HealthTx


@pytest.fixture
def world() -> World:
    made = World(1)
    made.certify("clinic")
    return made


def opened(world: World) -> bytes:
    [name] = world.run(world.compartment("owner", "recovery", "clinic"))
    return name


def rotate(world: World, name: bytes, role: str, signer: str, owner: str = "owner", recovery: str = "recovery") -> HealthTx:
    payload = CompartmentRotate(name, owner_digest(key(owner).public), owner_digest(key(recovery).public))
    return world.tx("compartment.rotate", payload, [(role, signer)])


def test_a_compartment_shows_two_digests_and_no_person(world: World) -> None:
    name = opened(world)
    owner, recovery = (owner_digest(key(person).public) for person in ("owner", "recovery"))
    assert name == compartment_id(world.env.chain, CompartmentOpen(owner, recovery))
    assert world.state.compartment(name) == CompartmentState(owner, recovery, 1, world.height, world.height, None)


def test_a_compartment_is_not_opened_twice(world: World) -> None:
    opened(world)
    assert world.refused(world.compartment("owner", "recovery", "clinic")) == "compartment.exists"


def test_opening_first_with_another_recovery_key_takes_nobodys_compartment(world: World) -> None:
    [stolen] = world.run(world.compartment("owner", "thief", "clinic"))
    assert opened(world) != stolen


def test_nobody_enrols_without_a_certified_organisation(world: World) -> None:
    assert world.refused(world.compartment("owner", "recovery", "stranger")) == "organisation.not_certified"


def test_the_recovery_key_replaces_both_keys_voids_older_grants_and_locks_the_old_keys_out(world: World) -> None:
    name = opened(world)
    first = world.height
    world.next_block(blocks=5)
    assert world.run(rotate(world, name, "recovery", "recovery", "owner 2", "recovery 2")) == []
    found = world.state.compartment(name)
    assert found is not None
    assert (found.version, found.grants_valid_from, found.opened_height) == (2, world.height, first)
    world.next_block(blocks=world.params.rotation_blocks)
    for old in ("owner", "recovery"):
        assert world.refused(rotate(world, name, old, old, "thief", "thief 2")) == "compartment.wrong_key"
    world.run(rotate(world, name, "recovery", "recovery 2", "owner 3", "recovery 3"))


def test_the_owner_key_replaces_itself_and_never_the_recovery_key(world: World) -> None:
    name = opened(world)
    assert world.refused(rotate(world, name, "owner", "owner", "thief", "thief 2")) == "compartment.recovery_kept"
    world.run(rotate(world, name, "owner", "owner", "owner 2"))
    found = world.state.compartment(name)
    assert found is not None
    assert (found.owner_digest, found.recovery_digest) == tuple(owner_digest(key(who).public) for who in ("owner 2", "recovery"))


@pytest.mark.parametrize("role", ["owner", "recovery"])
def test_a_rotation_to_the_same_keys_is_refused(world: World, role: str) -> None:
    name = opened(world)
    assert world.refused(rotate(world, name, role, role)) == "compartment.unchanged"


@pytest.mark.parametrize("role", ["owner", "recovery"])
def test_a_key_that_rotated_waits_before_it_rotates_again(world: World, role: str) -> None:
    name = opened(world)
    world.run(rotate(world, name, role, role, "owner 2"))
    signer = "owner 2" if role == "owner" else "recovery"
    world.next_block(blocks=world.params.rotation_blocks - 1)
    assert world.refused(rotate(world, name, role, signer, "owner 3")) == "compartment.rotated_recently"
    world.next_block()
    world.run(rotate(world, name, role, signer, "owner 3"))


def test_the_recovery_key_never_waits_for_a_thief_of_the_owner_key(world: World) -> None:
    name = opened(world)
    for again in range(3):
        world.run(rotate(world, name, "owner", f"owner {again}" if again else "owner", f"thief {again}"))
        world.run(rotate(world, name, "recovery", "recovery", f"owner {again + 1}"))
        assert world.refused(rotate(world, name, "owner", f"owner {again + 1}", "thief")) == "compartment.rotated_recently"
        assert world.refused(rotate(world, name, "recovery", "recovery", "owner 9")) == "compartment.rotated_recently"
        world.next_block(blocks=world.params.rotation_blocks)


def test_only_owner_or_recovery_key_rotates_each_in_its_own_role(world: World) -> None:
    name = opened(world)
    for role, signer in (("owner", "thief"), ("recovery", "thief"), ("owner", "recovery"), ("recovery", "owner")):
        assert world.refused(rotate(world, name, role, signer)) == "compartment.wrong_key"


def test_a_compartment_that_was_never_opened_cannot_be_rotated(world: World) -> None:
    assert world.refused(rotate(world, bytes(32), "owner", "owner")) == "compartment.unknown"


def test_rotating_needs_no_payer_and_no_organisation(world: World) -> None:
    name = opened(world)
    world.revoke("clinic")
    world.run(rotate(world, name, "owner", "owner", "owner 2"))
