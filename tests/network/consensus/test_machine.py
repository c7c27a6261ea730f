"""The algorithm line by line (arXiv 1807.04938), on one node of four. Node 0 proposes round 0, node 1 round 1, ..."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from tests.network.consensus.core import PRECOMMIT, PREVOTE, TIP, Core, another_height, block, proposal, vote

from hce.foundation.types.errors import Bug
from hce.network.consensus.errors import ProposalInvalid, VoteInvalid
from hce.network.consensus.events import (
    NO_ROUND,
    BlockMade,
    BlockValidated,
    CommitArrived,
    Decide,
    Lock,
    MakeBlock,
    ProposalArrived,
    Rebroadcast,
    Recovered,
    ReportEvidence,
    ScheduleTimeout,
    SignAndBroadcastProposal,
    SignAndBroadcastVote,
    SignStep,
    StartHeight,
    TimeoutFired,
    TimeoutKind,
    ValidateBlock,
    VoteArrived,
)
from hce.network.consensus.machine import step
from hce.network.consensus.messages import MAX_VOTES_PER_MESSAGE, block_id_of
from hce.network.consensus.state import MAX_FUTURE_ROUNDS, PAST_ROUNDS, State, Step
from hce.network.consensus.turns import Position

FRESH = proposal(0)
B0 = FRESH.block_id


def signed(effects) -> list[tuple[SignStep, int, bytes | None]]:
    return [(e.step, e.round, e.block_id) for e in effects if isinstance(e, SignAndBroadcastVote)]


def armed(effects) -> list[tuple[TimeoutKind, int]]:
    return [(e.kind, e.round) for e in effects if isinstance(e, ScheduleTimeout) and e.kind != TimeoutKind.REBROADCAST]


def timeout(kind: TimeoutKind, round: int) -> TimeoutFired:
    return TimeoutFired(kind, 1, round)


def locked_on_b0(me: int = 2) -> Core:
    """A node that precommitted block B0 in round 0."""
    core = Core(me)
    core.proposed(FRESH)
    core.votes(PREVOTE, (0, 1, 3), 0, B0)
    assert core.state.lock == Lock(0, B0, 0, B0)
    return core


def at_round(core: Core, round: int) -> Core:
    core.votes(PRECOMMIT, (0, 1), round, None)
    assert (core.state.round, core.state.step) == (round, Step.PROPOSE)
    return core


# Lines 11-21: StartRound


def test_the_proposer_asks_for_a_block_and_proposes_it_once():
    core = Core(0)
    assert core.all(MakeBlock) == [MakeBlock(1, 0, Position(0, 0, 0))]
    assert core.give(BlockMade(1, 0, B0)) == [SignAndBroadcastProposal(1, 0, 0, NO_ROUND, B0, Lock())]
    assert core.give(BlockMade(1, 0, block_id_of(block(0, salt=1).header))) == []


def test_a_block_made_too_late_is_never_signed():
    core = Core(0)
    core.give(timeout(TimeoutKind.PROPOSE, 0))
    assert core.give(BlockMade(1, 0, B0)) == []


def test_everybody_else_waits_for_the_proposal():
    core = Core(2)
    assert core.all(MakeBlock) == []
    assert armed(core.effects) == [(TimeoutKind.PROPOSE, 0)]


def test_the_proposer_of_a_later_round_proposes_the_valid_block_again_with_its_prevotes():
    out = at_round(locked_on_b0(me=2), 2).effects
    again = [e for e in out if isinstance(e, SignAndBroadcastProposal)]
    assert [(e.round, e.valid_round, e.block_id) for e in again] == [(2, 0, B0)]
    assert {v.index for v in again[0].valid_prevotes} == {0, 1, 3}
    assert not [e for e in out if isinstance(e, MakeBlock)]


# Lines 22-27: a fresh proposal


def test_a_valid_fresh_proposal_is_prevoted_after_execution_has_judged_it():
    core = Core(2)
    assert core.give(ProposalArrived(FRESH)) == [ValidateBlock(1, B0)]
    assert signed(core.give(BlockValidated(1, B0, True))) == [(SignStep.PREVOTE, 0, B0)]


def test_an_invalid_proposal_is_prevoted_nil():
    assert signed(Core(2).proposed(FRESH, ok=False)) == [(SignStep.PREVOTE, 0, None)]


def test_a_proposal_that_is_not_timely_is_prevoted_nil():
    assert signed(Core(2).proposed(FRESH, timely=False)) == [(SignStep.PREVOTE, 0, None)]


def test_a_locked_node_prevotes_nil_for_another_fresh_block():
    core = at_round(locked_on_b0(), 1)
    assert signed(core.proposed(proposal(1))) == [(SignStep.PREVOTE, 1, None)]


def test_a_fresh_proposal_must_claim_its_own_round():
    core = Core(2)
    at_round(core, 1)
    before = core.state
    with pytest.raises(ProposalInvalid):
        step(core.state, ProposalArrived(proposal(1, of=block(0))))
    with pytest.raises(ProposalInvalid):
        step(core.state, ProposalArrived(proposal(0, of=block(1))))
    assert core.state is before


# Lines 28-33: a re-proposal


def test_a_re_proposal_waits_for_the_prevotes_of_its_valid_round():
    core = at_round(Core(2), 1)
    again = proposal(1, valid_round=0, of=block(0))
    assert signed(core.proposed(again)) == []
    assert signed(core.votes(PREVOTE, (0, 1), 0, B0)) == []
    assert signed(core.votes(PREVOTE, (3,), 0, B0)) == [(SignStep.PREVOTE, 1, B0)]


def test_a_node_locked_in_a_later_round_refuses_an_older_valid_block():
    core = at_round(Core(2), 1)
    core.proposed(proposal(1))
    core.votes(PREVOTE, (0, 1, 3), 1, proposal(1).block_id)
    assert core.state.lock.locked_round == 1
    at_round(core, 3)
    core.votes(PREVOTE, (0, 1, 3), 0, B0)
    assert signed(core.proposed(proposal(3, valid_round=0, of=block(0)))) == [(SignStep.PREVOTE, 3, None)]


def test_a_node_locked_in_an_earlier_round_follows_a_newer_quorum():
    core = at_round(locked_on_b0(), 3)
    newer = block(1)
    core.votes(PREVOTE, (0, 1, 3), 1, block_id_of(newer.header))
    out = core.proposed(proposal(3, valid_round=1, of=newer))
    assert signed(out) == [(SignStep.PREVOTE, 3, block_id_of(newer.header))]


@pytest.mark.parametrize(
    ("round", "valid_round", "claims"),
    [(2, 2, 0), (2, 3, 0), (2, 0, 1), (2, 1, 2)],
    ids=["valid round is its own", "valid round ahead", "claims more than the valid round", "claims the round itself"],
)
def test_a_re_proposal_outside_the_turn_rule_is_refused(round, valid_round, claims):
    core = at_round(Core(3), 2)
    with pytest.raises(ProposalInvalid):
        step(core.state, ProposalArrived(proposal(round, valid_round, of=block(claims))))


# Lines 34-48: votes


def test_a_quorum_of_prevotes_locks_and_precommits():
    assert (SignStep.PRECOMMIT, 0, B0) in signed(locked_on_b0().effects)


def test_a_quorum_without_the_block_locks_nothing():
    core = Core(2)
    core.votes(PREVOTE, (0, 1, 3), 0, B0)
    assert core.state.lock == Lock()


def test_prevotes_that_come_after_the_precommit_make_the_block_valid_but_not_locked():
    core = Core(2)
    core.proposed(FRESH)
    core.votes(PREVOTE, (0, 3), 0, B0)
    core.votes(PREVOTE, (1,), 0, None)
    core.give(timeout(TimeoutKind.PREVOTE, 0))
    core.votes(PREVOTE, (1,), 0, B0)
    assert core.state.lock == Lock(NO_ROUND, None, 0, B0)


def test_a_quorum_of_nil_prevotes_precommits_nil_at_once():
    core = Core(2)
    core.give(timeout(TimeoutKind.PROPOSE, 0))
    assert signed(core.votes(PREVOTE, (0, 1, 3), 0, None)) == [(SignStep.PRECOMMIT, 0, None)]


def test_mixed_prevotes_start_a_timeout_once_and_then_precommit_nil():
    core = Core(2)
    core.proposed(FRESH)
    out = core.votes(PREVOTE, (0, 1), 0, None) + core.votes(PREVOTE, (2, 3), 0, B0)
    assert armed(out) == [(TimeoutKind.PREVOTE, 0)]
    assert signed(core.give(timeout(TimeoutKind.PREVOTE, 0))) == [(SignStep.PRECOMMIT, 0, None)]


def test_mixed_prevotes_start_no_timeout_before_our_own_prevote():
    core = Core(2)
    assert armed(core.votes(PREVOTE, (0, 1, 3), 0, B0)) == []
    assert armed(core.proposed(FRESH, ok=False)) == [(TimeoutKind.PREVOTE, 0)]


def test_mixed_precommits_start_a_timeout_once_and_then_the_next_round():
    core = Core(2)
    out = core.votes(PRECOMMIT, (0, 1), 0, None) + core.votes(PRECOMMIT, (2, 3), 0, B0)
    assert armed(out) == [(TimeoutKind.PRECOMMIT, 0)]
    assert armed(core.give(timeout(TimeoutKind.PRECOMMIT, 0))) == [(TimeoutKind.PROPOSE, 1)]


# Lines 49-56: decide, skip


def test_a_quorum_of_precommits_decides():
    core = locked_on_b0()
    core.votes(PRECOMMIT, (0, 1, 3), 0, B0)
    decided = core.all(Decide)
    assert [(d.block_id, d.commit.round, [s.index for s in d.commit.signatures]) for d in decided] == [(B0, 0, [0, 1, 3])]


def test_precommits_of_two_rounds_do_not_add_up():
    core = locked_on_b0()
    core.votes(PRECOMMIT, (0, 1), 0, B0)
    core.votes(PRECOMMIT, (3,), 1, B0)
    assert core.all(Decide) == []


def test_prevotes_do_not_decide():
    core = locked_on_b0()
    core.votes(PREVOTE, (0, 1, 2, 3), 0, B0)
    assert core.all(Decide) == []


def test_a_late_quorum_of_an_earlier_round_still_decides():
    core = at_round(locked_on_b0(), 2)
    core.votes(PRECOMMIT, (0, 1, 3), 0, B0)
    assert [d.commit.round for d in core.all(Decide)] == [0]


def test_a_block_that_execution_refuses_is_never_decided():
    core = Core(2)
    core.proposed(FRESH, ok=False)
    core.votes(PRECOMMIT, (0, 1, 3), 0, B0)
    assert core.all(Decide) == []


def test_a_commit_before_the_round_the_block_claims_is_no_decision():
    core = at_round(Core(2), 1)
    core.proposed(proposal(1))
    core.votes(PRECOMMIT, (0, 1, 3), 0, proposal(1).block_id)
    assert core.all(Decide) == []


def test_f_plus_one_votes_of_a_later_round_pull_a_node_there():
    core = Core(2)
    core.votes(PREVOTE, (0,), 5, None)
    assert core.state.round == 0
    core.votes(PRECOMMIT, (1,), 5, None)
    assert core.state.round == 5


def test_one_liar_pulls_nobody_however_many_rounds_it_votes_in():
    core = Core(2)
    for round in range(1, 40):
        core.votes(PREVOTE, (3,), round, None)
        core.votes(PRECOMMIT, (3,), round, None)
    assert core.state.round == 0
    assert len(core.state.rounds) <= MAX_FUTURE_ROUNDS + 1


def test_a_commit_from_a_peer_decides_whatever_we_are_locked_on():
    core = locked_on_b0()
    other = block(1)
    voters = Core(3)
    at_round(voters, 1)
    voters.proposed(proposal(1))
    voters.votes(PRECOMMIT, (0, 1, 2), 1, block_id_of(other.header))
    commit = voters.all(Decide)[0].commit
    assert core.give(CommitArrived(other, commit)) == [Decide(1, block_id_of(other.header), commit)]


# Bounds and double signers


def test_both_values_of_a_double_signer_count_and_evidence_is_reported_once():
    core = Core(2)
    core.proposed(FRESH)
    core.votes(PREVOTE, (3,), 0, None)
    core.votes(PREVOTE, (0, 1, 3), 0, B0)
    assert core.state.lock.locked_id == B0
    core.votes(PREVOTE, (3,), 0, block_id_of(block(0, salt=9).header))
    evidence = [e.evidence for e in core.all(ReportEvidence)]
    assert [(e.first.block_id, e.second.block_id) for e in evidence] == [(None, B0)]


def test_a_flood_of_values_is_bounded_but_never_hides_a_value_that_others_vote_for():
    core = Core(2)
    for salt in range(1, 30):
        core.votes(PREVOTE, (3,), 0, block_id_of(block(0, salt=salt).header))
    assert len(list(core.state.at(0).prevotes.all())) == 2
    core.proposed(FRESH)
    core.votes(PREVOTE, (0, 1), 0, B0)
    core.votes(PREVOTE, (3,), 0, B0)
    assert core.state.lock.locked_id == B0


def test_a_flood_of_proposals_is_bounded_but_never_hides_one_that_others_vote_for():
    core = Core(2)
    for salt in range(1, 10):
        core.give(ProposalArrived(proposal(0, of=block(0, salt=salt))))
    assert len(core.state.at(0).proposals) == 2
    core.votes(PRECOMMIT, (0, 1, 3), 0, B0)
    core.proposed(FRESH)
    assert [d.block_id for d in core.all(Decide)] == [B0]


def test_a_long_halt_keeps_few_rounds_but_never_the_quorum_of_the_valid_block():
    core = locked_on_b0()
    for round in range(1, 60):
        at_round(core, round)
    assert len(core.state.rounds) <= PAST_ROUNDS + 3
    assert core.state.at(0).prevotes.count(B0) == 3


def test_what_is_shared_is_bounded_and_holds_what_others_need():
    core = Core(2, n=9)
    core.proposed(FRESH)
    for index in range(9):
        for salt in range(3):
            core.votes(PREVOTE, (index,), 0, block_id_of(block(0, salt=salt).header))
            core.votes(PRECOMMIT, (index,), 0, block_id_of(block(0, salt=salt + 5).header))
    core.votes(PRECOMMIT, range(3), 1, None)
    shared = core.give(timeout(TimeoutKind.REBROADCAST, 0))[0]
    assert isinstance(shared, Rebroadcast)
    assert 0 < len(shared.votes) <= MAX_VOTES_PER_MESSAGE


def test_the_votes_that_let_us_move_on_are_shared_whoever_cast_them():
    """They may have reached nobody else, and we may have cast none ourselves."""
    core = Core(2)
    core.votes(PREVOTE, (0, 1), 0, None)
    core.votes(PRECOMMIT, (0, 1, 3), 0, None)
    core.give(timeout(TimeoutKind.PRECOMMIT, 0))
    assert core.state.round == 1
    core.votes(PREVOTE, (0,), 1, None)
    shared = core.give(timeout(TimeoutKind.REBROADCAST, 1))[0].votes
    places = {(v.type, v.index, v.round) for v in shared}
    assert places == {(1, 0, 0), (1, 1, 0), (2, 0, 0), (2, 1, 0), (2, 3, 0), (1, 0, 1)}


def test_the_quorum_of_the_valid_block_is_shared_for_as_long_as_the_height_lasts():
    core = locked_on_b0()
    at_round(core, 9)
    shared = core.give(timeout(TimeoutKind.REBROADCAST, 9))[0].votes
    assert {v.index for v in shared if (v.type, v.round, v.block_id) == (PREVOTE, 0, B0)} == {0, 1, 3}


# Illegal and late inputs


@pytest.mark.parametrize("bad", [replace(vote(PREVOTE, 0, 0, None), epoch=1), vote(PREVOTE, 4, 0, None)])
def test_a_vote_from_outside_the_set_is_refused(bad):
    core = Core(2)
    before = core.state
    with pytest.raises(VoteInvalid):
        step(core.state, VoteArrived(bad))
    assert core.state is before


@pytest.mark.parametrize(
    "late",
    [
        VoteArrived(replace(vote(PREVOTE, 0, 0, None), height=2)),
        ProposalArrived(another_height(FRESH)),
        BlockValidated(2, B0, True),
        BlockMade(2, 0, B0),
        TimeoutFired(TimeoutKind.PROPOSE, 2, 0),
        TimeoutFired(TimeoutKind.PROPOSE, 1, 1),
        TimeoutFired(TimeoutKind.PREVOTE, 1, 0),
        TimeoutFired(TimeoutKind.PRECOMMIT, 1, 3),
        TimeoutFired(TimeoutKind.REBROADCAST, 2, 0),
    ],
)
def test_what_belongs_elsewhere_changes_nothing(late):
    core = Core(2)
    assert step(core.state, late) == (core.state, [])


def test_before_the_start_and_after_the_decision_nothing_counts():
    for state in (State(), replace(Core(2).state, step=Step.DECIDED)):
        assert step(state, VoteArrived(vote(PREVOTE, 0, 0, None))) == (state, [])


def test_a_height_cannot_be_started_twice_nor_skipped():
    core = Core(2)
    with pytest.raises(Bug):
        step(core.state, StartHeight(2, TIP.base, 4, 2))
    with pytest.raises(Bug):
        step(replace(core.state, step=Step.DECIDED), StartHeight(3, TIP.base, 4, 2))


def test_one_node_alone_decides_with_its_own_votes():
    core = Core(0, n=1)
    core.give(BlockMade(1, 0, B0))
    core.give(ProposalArrived(FRESH))
    core.votes(PREVOTE, (0,), 0, B0)
    core.votes(PRECOMMIT, (0,), 0, B0)
    assert [d.block_id for d in core.all(Decide)] == [B0]


def test_a_follower_decides_and_signs_nothing():
    core = Core(None)
    core.proposed(FRESH)
    core.votes(PREVOTE, (0, 1, 3), 0, B0)
    core.votes(PRECOMMIT, (0, 1, 3), 0, B0)
    assert len(core.all(Decide)) == 1
    assert core.all(SignAndBroadcastVote) == []


# After a crash


def test_a_restart_signs_its_last_vote_again_and_stays_locked():
    votes = tuple(vote(PREVOTE, index, 0, B0) for index in (0, 1, 3))
    core = Core(2, recovered=Recovered(0, SignStep.PRECOMMIT, B0, Lock(0, B0, 0, B0), votes))
    assert signed(core.effects) == [(SignStep.PRECOMMIT, 0, B0)]
    at_round(core, 1)
    assert signed(core.proposed(proposal(1))) == [(SignStep.PREVOTE, 1, None)]


def test_a_restart_after_proposing_proposes_the_same_block_and_makes_no_other():
    core = Core(0, recovered=Recovered(0, SignStep.PROPOSAL, B0, Lock(), ()))
    assert [e.block_id for e in core.all(SignAndBroadcastProposal)] == [B0]
    assert core.all(MakeBlock) == []
    assert armed(core.effects) == [(TimeoutKind.PROPOSE, 0)]


def test_a_restart_in_a_later_round_goes_on_there():
    core = Core(2, recovered=Recovered(7, SignStep.PREVOTE, None, Lock(), ()))
    assert (core.state.round, core.state.step) == (7, Step.PREVOTE)
