"""Anchors on chain: each node says the list of its release receipts once for each period that is over, and nobody says it for it."""

from __future__ import annotations

import pytest
from tests.service.contracts.world import World, bytes32, key

from hce.foundation.types.errors import Malformed
from hce.service.contracts.health.steps import count_steps
from hce.service.terms.genesis import Params
from hce.service.terms.payloads import ANCHOR_LATE_PERIODS, AnchorPost
from hce.service.terms.states import AnchorState
from hce.service.terms.transactions import HealthTx

BLOCKS = 10


@pytest.fixture
def world() -> World:
    made = World(2)
    made.params = Params(anchor_blocks=BLOCKS)
    made.height = 3 * BLOCKS
    return made


def anchor(world: World, period: int, signer: str = "node 0 service", root: str = "root", count: int = 3) -> HealthTx:
    post = AnchorPost(period, count, bytes32(root), key(signer).public)
    return world.tx("anchor.post", post, [("node", signer)])


def test_a_node_anchors_a_period_that_is_over_and_everybody_sees_it(world: World) -> None:
    assert world.run(anchor(world, 2)) == []
    assert world.state.anchor(world.nodes[0].service_key, 2) == AnchorState(3, bytes32("root"), 3 * BLOCKS)
    assert world.state.anchor(world.nodes[1].service_key, 2) is None
    world.run(anchor(world, 2, "node 1 service"))
    assert world.state.anchor(world.nodes[1].service_key, 2) is not None


def test_a_list_is_said_once(world: World) -> None:
    world.run(anchor(world, 2))
    assert world.refused(anchor(world, 2, root="a better one")) == "anchor.exists"
    world.next_block()
    assert world.refused(anchor(world, 2)) == "anchor.exists"


def test_a_period_is_not_anchored_before_its_last_block(world: World) -> None:
    world.height = 3 * BLOCKS - 1
    assert world.refused(anchor(world, 2)) == "anchor.too_early"
    world.next_block()
    assert world.refused(anchor(world, 3)) == "anchor.too_early"
    world.run(anchor(world, 2))


def test_a_node_that_was_down_may_still_anchor_for_a_while(world: World) -> None:
    world.height = (2 + ANCHOR_LATE_PERIODS + 1) * BLOCKS + BLOCKS - 1
    assert world.refused(anchor(world, 1)) == "anchor.too_late"
    world.run(anchor(world, 2))


def test_only_the_nodes_service_key_anchors(world: World) -> None:
    for stranger in ("node 0 consensus", "node 2 service", "clinic"):
        assert world.refused(anchor(world, 2, stranger)) == "vote.not_a_node"
    named = AnchorPost(2, 3, bytes32("root"), key("node 0 service").public)
    assert world.refused(world.tx("anchor.post", named, [("node", "node 1 service")])) == "anchor.not_own"


def test_an_empty_list_is_not_anchored(world: World) -> None:
    with pytest.raises(Malformed):
        anchor(world, 2, count=0)


def test_an_anchor_costs_a_fixed_number_of_steps(world: World) -> None:
    assert count_steps(anchor(world, 0)) == count_steps(anchor(world, 2**53 - 1)) == 125
