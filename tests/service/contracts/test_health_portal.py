"""The portal's page on chain: two thirds of the nodes say which one it is, edition after edition, and nobody brings an old one back."""

from __future__ import annotations

import pytest
from tests.service.contracts.world import World, bytes32, key

from hce.foundation.types.errors import Malformed
from hce.service.contracts.health.portal import CHANGE_BLOCKS
from hce.service.contracts.health.steps import count_steps
from hce.service.terms.payloads import PortalRelease, PortalVote
from hce.service.terms.states import PortalState
from hce.service.terms.transactions import HealthTx


@pytest.fixture
def world() -> World:
    return World(4)


def page(name: str = "page", number: int = 1) -> PortalRelease:
    return PortalRelease(number, bytes32(name), "1.0.0")


def vote(world: World, release: PortalRelease, voter: int) -> HealthTx:
    signer = f"node {voter} service"
    return world.tx("portal.vote", PortalVote(release, key(signer).public), [("node", signer)])


def publish(world: World, release: PortalRelease) -> None:
    for voter in range(3):
        world.run(vote(world, release, voter))


def test_two_thirds_of_the_nodes_publish_a_page_and_everybody_sees_when(world: World) -> None:
    assert world.run(vote(world, page(), 0)) == []
    assert world.run(vote(world, page(), 1)) == []
    assert (world.state.portal(), world.state.portal_of(bytes32("page"))) == (None, None)
    world.next_block()
    assert world.run(vote(world, page(), 2)) == [bytes32("page")]
    published = PortalState(page(), world.height, world.time_ms)
    assert world.state.portal() == world.state.portal_of(bytes32("page")) == published
    assert world.state.portal_of(bytes32("another")) is None


def test_votes_for_different_pages_are_not_added_up(world: World) -> None:
    other = PortalRelease(1, bytes32("page"), "1.0.1")
    for voter, release in enumerate([page(), page("forged"), other, other]):
        world.run(vote(world, release, voter))
    assert world.state.portal() is None


def test_a_new_page_replaces_the_old_one_which_is_still_known(world: World) -> None:
    publish(world, page())
    first = world.state.portal()
    world.next_block()
    publish(world, page("better", 2))
    newest = world.state.portal()
    assert newest is not None
    assert newest.release == page("better", 2)
    assert world.state.portal_of(bytes32("page")) == first


def test_a_page_that_was_replaced_comes_back_only_under_a_new_number(world: World) -> None:
    publish(world, page())
    publish(world, page("worse", 2))
    for number in (1, 2, 4):
        assert world.refused(vote(world, page(number=number), 0)) == "portal.wrong_number"
    publish(world, page(number=3))
    newest = world.state.portal()
    assert newest is not None
    assert newest.release.number == 3
    assert world.state.portal_of(bytes32("page")) == newest


def test_a_late_vote_moves_nothing(world: World) -> None:
    publish(world, page())
    assert world.refused(vote(world, page(), 3)) == "portal.wrong_number"


def test_a_node_that_was_outvoted_votes_for_the_next_page_at_once(world: World) -> None:
    world.run(vote(world, page("mine"), 3))
    publish(world, page())
    assert world.run(vote(world, page("mine", 2), 3)) == []


def test_a_node_changes_its_mind_after_a_while_and_has_one_vote(world: World) -> None:
    world.run(vote(world, page(), 0))
    assert world.refused(vote(world, page(), 0)) == "vote.repeated"
    assert world.refused(vote(world, page("other"), 0)) == "portal.voted_recently"
    world.next_block(blocks=CHANGE_BLOCKS - 1)
    assert world.refused(vote(world, page("other"), 0)) == "portal.voted_recently"
    world.next_block()
    world.run(vote(world, page("other"), 0))
    world.run(vote(world, page(), 1))
    world.run(vote(world, page(), 2))
    assert world.state.portal() is None, "the vote that was changed counts no more"
    world.run(vote(world, page(), 3))
    assert world.state.portal() is not None


def test_only_a_nodes_service_key_votes_and_only_for_itself(world: World) -> None:
    world.certify("clinic")
    for stranger in ("node 0 consensus", "node 4 service", "clinic"):
        signed = world.tx("portal.vote", PortalVote(page(), key(stranger).public), [("node", stranger)])
        assert world.refused(signed) == "vote.not_a_node"
    named = PortalVote(page(), key("node 0 service").public)
    assert world.refused(world.tx("portal.vote", named, [("node", "node 1 service")])) == "vote.not_own"


def test_votes_of_nodes_that_left_do_not_count(world: World) -> None:
    world.run(vote(world, page(), 0))
    world.run(vote(world, page(), 1))
    world.nodes = world.nodes[1:]
    assert world.run(vote(world, page(), 2)) == [bytes32("page")], "two of three"
    alone = World(4)
    alone.run(vote(alone, page(), 0))
    alone.nodes = alone.nodes[1:]
    assert alone.run(vote(alone, page(), 1)) == []


@pytest.mark.parametrize(("number", "version"), [(0, "1"), (1, ""), (1, "1 0"), (1, "1" * 33), (1, "1\n")])
def test_an_edition_has_a_number_and_a_plain_version(world: World, number: int, version: str) -> None:
    with pytest.raises(Malformed):
        vote(world, PortalRelease(number, bytes32("page"), version), 0)


def test_a_vote_costs_a_fixed_number_of_steps(world: World) -> None:
    assert count_steps(vote(world, page(), 0)) == 285
