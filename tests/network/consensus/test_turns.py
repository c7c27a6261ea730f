"""The proposer rule, by arithmetic alone."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.simulate.world import genesis_block, make_nodes

from hce.network.consensus.turns import Position, base, claim, claimed_round, position_of, proposer_index

GENESIS = genesis_block(make_nodes(1)).header
SLOTS = 6

rounds_of_heights = st.lists(st.sampled_from([0, 0, 0, 0, 1, 2, 5]), min_size=1, max_size=60)
node_counts = st.integers(1, 9)


def at(position: Position, height: int):
    return replace(
        GENESIS, height=height, epoch=position.epoch, turn=position.turn, slot=position.slot, parent=GENESIS.ledger_header
    )


def chain_of(rounds: list[int], slots: int = SLOTS):
    """Headers of heights 1, 2, ... where height i was first proposed in round rounds[i - 1]."""
    headers = [GENESIS]
    for height, round in enumerate(rounds, start=1):
        headers.append(at(claim(base(headers[-1], 0, slots), round), height))
    return headers[1:]


def test_the_first_block_is_epoch_0_turn_0_slot_0():
    assert base(GENESIS, 0, SLOTS) == Position(0, 0, 0)


def test_a_genesis_made_by_recovery_opens_its_own_epoch_whatever_its_height():
    assert base(replace(GENESIS, height=500, epoch=3, turn=9, slot=2), 4, SLOTS) == Position(4, 0, 0)


def test_without_failures_every_producer_makes_exactly_six_blocks_in_a_row():
    authors = [proposer_index(position_of(header), 4) for header in chain_of([0] * 48)]
    assert authors == [author for lap in range(2) for author in range(4) for _ in range(6)]


def test_a_dead_producer_costs_one_timeout_a_lap():
    n, dead, timeouts, header = 4, 2, 0, GENESIS
    for height in range(1, 3 * (n - 1) * SLOTS + 1):
        here = base(header, 0, SLOTS)
        round = 0
        while proposer_index(claim(here, round), n) == dead:
            round, timeouts = round + 1, timeouts + 1
        header = at(claim(here, round), height)
    assert timeouts == 3


@settings(max_examples=100, deadline=None)
@given(rounds_of_heights, node_counts, st.integers(1, 12))
def test_positions_only_grow_and_a_turn_has_one_producer(rounds, n, slots):
    headers = chain_of(rounds, slots)
    positions = [(header.turn, header.slot) for header in headers]
    assert positions == sorted(set(positions))
    authors: dict[int, set[int]] = {}
    for header in headers:
        authors.setdefault(header.turn, set()).add(proposer_index(position_of(header), n))
        assert header.slot < slots
    assert all(len(of_turn) == 1 for of_turn in authors.values())


@settings(max_examples=100, deadline=None)
@given(rounds_of_heights, st.integers(0, 2**31))
def test_the_header_alone_tells_the_round_it_was_proposed_in(rounds, round):
    here = base(chain_of(rounds)[-1], 0, SLOTS)
    assert claimed_round(here, at(claim(here, round), len(rounds) + 1)) == round


@settings(max_examples=100, deadline=None)
@given(rounds_of_heights, st.integers(0, 200), st.integers(0, 9), st.integers(0, 2))
def test_any_other_position_claims_no_round(rounds, turn, slot, epoch):
    here = base(chain_of(rounds)[-1], 0, SLOTS)
    position = Position(epoch, turn, slot)
    round = claimed_round(here, at(position, len(rounds) + 1))
    assert (round is not None) == any(claim(here, r) == position for r in range(201))


@settings(max_examples=100, deadline=None)
@given(rounds_of_heights)
def test_a_pending_set_waits_for_the_end_of_the_turn_and_then_starts_from_zero(rounds):
    prev = chain_of(rounds)[-1]
    now, pending = base(prev, 0, SLOTS), base(prev, 1, SLOTS)
    assert pending == (Position(1, 0, 0) if now.slot == 0 else now)


@settings(max_examples=50, deadline=None)
@given(rounds_of_heights, st.integers(1, 50))
def test_a_failed_round_never_activates_a_pending_set(rounds, round):
    """The set of a height is the same in all its rounds."""
    here = base(chain_of(rounds)[-1], 1, SLOTS)
    assert claim(here, round).epoch == here.epoch
