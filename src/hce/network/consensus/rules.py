"""The rules of the paper: upon ... while ... do. Each looks at the state and either applies (new state, effects) or does not.

Function names and line numbers are those of arXiv 1807.04938, Algorithm 1. Every rule makes its own guard false, so trying them
in order until none applies comes to an end. The texts in the decorators are the rows of `python -m hce.network.consensus.table`.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct
from msgspec.structs import replace

from hce.foundation.types.scalars import Cid, Round
from hce.network.consensus.commit import make_commit
from hce.network.consensus.events import (
    NO_ROUND,
    Decide,
    Effect,
    Lock,
    MakeBlock,
    ScheduleTimeout,
    SignAndBroadcastProposal,
    SignAndBroadcastVote,
    SignStep,
    TimeoutKind,
    ValidateBlock,
)
from hce.network.consensus.state import State, Step, forget, valid_prevotes
from hce.network.consensus.turns import claim, proposer_index

Effects = list[Effect]


class Transition(Struct, frozen=True):
    """One row of the table. A rule's `apply` returns the new state, or None when its guard does not hold."""

    lines: str
    """Lines of Algorithm 1; '-' where the paper has none."""
    enter: str
    """Steps in which it can happen."""
    upon: str
    then: str
    name: str
    apply: Callable[..., State | None]


def transition(lines: str, enter: str, upon: str, then: str) -> Callable[[Callable[..., State | None]], Transition]:
    """Turns a function into its row; the row is what runs."""

    def bind(apply: Callable[..., State | None]) -> Transition:
        return Transition(lines, enter, upon, then, apply.__name__, apply)

    return bind


@transition("49-54", "any step", "known valid block with a quorum of precommits of one round c, r0 <= c", "Decide -> decided")
def upon_precommits_for_block(s: State, out: Effects) -> State | None:
    # Enter: VoteArrived, BlockValidated, ProposalArrived
    for round, kept in s.rounds.items():
        for block_id, first_round in s.known.items():
            if first_round <= round and s.judged.get(block_id) and kept.precommits.count(block_id) >= s.quorum:
                commit = make_commit(block_id, round, kept.precommits.votes_for(block_id), s.n)
                out.append(Decide(s.height, block_id, commit))
                return replace(s, step=Step.DECIDED)
    return None


@transition("55-56", "any step", "votes of f + 1 nodes in a later round", "StartRound(that round) -> propose")
def upon_later_round(s: State, out: Effects) -> State | None:
    # Enter: VoteArrived
    later = [r for r, kept in s.rounds.items() if r > s.round and len(kept.senders()) > s.faulty]
    return start_round(s, max(later), out) if later else None


@transition("-", "any step", "block proposed in this round or with a quorum of precommits, not yet judged", "ValidateBlock")
def upon_unjudged_block(s: State, out: Effects) -> State | None:
    # Enter: ProposalArrived, VoteArrived, StartRound
    wanted = {received.proposal.block_id for received in s.at(s.round).proposals}
    for kept in s.rounds.values():
        wanted |= {id for id in s.known if kept.precommits.count(id) >= s.quorum}
    for block_id in sorted(wanted):
        if block_id not in s.judged and (after := once(s, "judge", 0, block_id)) is not None:
            out.append(ValidateBlock(s.height, block_id))
            return after
    return None


@transition(
    "22-27",
    "propose",
    "fresh proposal of this round, judged",
    "prevote it if valid, timely and not locked on another, else nil -> prevote",
)
def upon_fresh_proposal(s: State, out: Effects) -> State | None:
    # Enter: ProposalArrived, BlockValidated, StartRound
    if s.step != Step.PROPOSE:
        return None
    for received in s.at(s.round).proposals:
        proposal = received.proposal
        if proposal.valid_round is None and (not received.timely or proposal.block_id in s.judged):
            free = s.lock.locked_round == NO_ROUND or s.lock.locked_id == proposal.block_id
            good = received.timely and s.judged[proposal.block_id] and free
            return prevote(s, proposal.block_id if good else None, out)
    return None


@transition(
    "28-33",
    "propose",
    "re-proposal with valid round v, judged, and a quorum of prevotes for it in round v",
    "prevote it if valid and (locked round <= v or locked on it), else nil -> prevote",
)
def upon_re_proposal(s: State, out: Effects) -> State | None:
    # Enter: ProposalArrived, VoteArrived, BlockValidated, StartRound
    if s.step != Step.PROPOSE:
        return None
    for received in s.at(s.round).proposals:
        proposal = received.proposal
        if proposal.valid_round is None or proposal.block_id not in s.judged:
            continue
        if s.at(proposal.valid_round).prevotes.count(proposal.block_id) >= s.quorum:
            free = s.lock.locked_round <= proposal.valid_round or s.lock.locked_id == proposal.block_id
            return prevote(s, proposal.block_id if free and s.judged[proposal.block_id] else None, out)
    return None


@transition(
    "36-43",
    "prevote, precommit",
    "valid block proposed in this round with a quorum of prevotes in it, first time",
    "valid value := it; if in prevote: lock it, precommit it -> precommit",
)
def upon_prevotes_for_block(s: State, out: Effects) -> State | None:
    # Enter: VoteArrived, ProposalArrived, BlockValidated
    if s.step not in (Step.PREVOTE, Step.PRECOMMIT):
        return None
    for received in s.at(s.round).proposals:
        block_id = received.proposal.block_id
        if not s.judged.get(block_id) or s.at(s.round).prevotes.count(block_id) < s.quorum:
            continue
        after = once(s, "valid", s.round)
        if after is None:
            continue
        if s.step == Step.PRECOMMIT:
            return replace(after, lock=replace(s.lock, valid_round=s.round, valid_id=block_id))
        return precommit(replace(after, lock=Lock(s.round, block_id, s.round, block_id)), block_id, out)
    return None


@transition("44-46", "prevote", "quorum of prevotes for nil", "precommit nil -> precommit")
def upon_prevotes_for_nil(s: State, out: Effects) -> State | None:
    # Enter: VoteArrived
    if s.step != Step.PREVOTE or s.at(s.round).prevotes.count(None) < s.quorum:
        return None
    return precommit(s, None, out)


@transition("34-35", "prevote", "quorum of prevotes for anything, first time", "arm timeoutPrevote")
def upon_prevotes_for_any(s: State, out: Effects) -> State | None:
    # Enter: VoteArrived
    if s.step != Step.PREVOTE or len(s.at(s.round).prevotes.senders()) < s.quorum:
        return None
    return _armonce(s, TimeoutKind.PREVOTE, out)


@transition("47-48", "any step", "quorum of precommits of this round for anything, first time", "arm timeoutPrecommit")
def upon_precommits_for_any(s: State, out: Effects) -> State | None:
    # Enter: VoteArrived
    if len(s.at(s.round).precommits.senders()) < s.quorum:
        return None
    return _armonce(s, TimeoutKind.PRECOMMIT, out)


RULES: tuple[Transition, ...] = (
    upon_precommits_for_block,
    upon_later_round,
    upon_unjudged_block,
    upon_fresh_proposal,
    upon_re_proposal,
    upon_prevotes_for_block,
    upon_prevotes_for_nil,
    upon_prevotes_for_any,
    upon_precommits_for_any,
)


# What the rules do


def start_round(s: State, round: Round, out: Effects) -> State:
    """Lines 11-21."""
    # Enter: StartHeight (round 0), timeoutPrecommit (next round), upon_later_round
    s = forget(replace(s, round=round, step=Step.PROPOSE))
    position = claim(s.base, round)
    if proposer_index(position, s.n) == s.me:
        if s.lock.valid_id is None:
            out.append(MakeBlock(s.height, round, position))
        else:
            propose(s, s.lock.valid_round, s.lock.valid_id, out)
    out.append(ScheduleTimeout(TimeoutKind.PROPOSE, s.height, round))
    return s


def propose(s: State, valid_round: int, block_id: Cid, out: Effects) -> None:
    prevotes = () if valid_round == NO_ROUND else valid_prevotes(s)
    out.append(SignAndBroadcastProposal(s.height, s.epoch, s.round, valid_round, block_id, s.lock, prevotes))


def prevote(s: State, block_id: Cid | None, out: Effects) -> State:
    return sign_vote(replace(s, step=Step.PREVOTE), SignStep.PREVOTE, block_id, out)


def precommit(s: State, block_id: Cid | None, out: Effects) -> State:
    return sign_vote(replace(s, step=Step.PRECOMMIT), SignStep.PRECOMMIT, block_id, out)


def sign_vote(s: State, sign_step: SignStep, block_id: Cid | None, out: Effects) -> State:
    if s.me is not None:
        out.append(SignAndBroadcastVote(s.height, s.epoch, s.round, sign_step, block_id, s.lock))
    return s


def once(s: State, what: str, round: Round, block_id: Cid | None = None) -> State | None:
    key = (what, round, block_id)
    return None if key in s.done else replace(s, done=s.done | {key})


def _armonce(s: State, kind: TimeoutKind, out: Effects) -> State | None:
    after = once(s, kind.value, s.round)
    if after is not None:
        out.append(ScheduleTimeout(kind, s.height, s.round))
    return after
