"""The Tendermint algorithm (arXiv 1807.04938, Algorithm 1) as a pure function: step(state, input) -> (state, effects).

An input handler writes what arrived into the state; then the rules (rules.py) are tried in order until none applies.

Differences from the paper, none of them in a guard that protects safety:
  - the proposer rule (turns.py), and with it: a fresh proposal of round r must claim r; a re-proposal and a commit never precede
    the round their block claims;
  - valid(v) is asked of execution and answered later; until then the rules that need it wait;
  - a fresh proposal that is not timely is prevoted nil (it never touches a lock);
  - the proposer arms timeoutPropose too, for it may fail to make a block;
  - line 49 accepts the block from a proposal of any round: the precommits decide, the proposal only brings the bytes.

Checked before an input gets here: signatures, block ids, sizes. Wrong by the rules: `ProposalInvalid` or `VoteInvalid`, and the
caller keeps its old state. Old or useless: ignored, and the very same state object comes back.
"""

from __future__ import annotations

from msgspec.structs import replace

from hce.foundation.types.blocks import Vote
from hce.foundation.types.errors import Bug
from hce.foundation.types.scalars import Round
from hce.network.consensus.errors import ProposalInvalid, VoteInvalid
from hce.network.consensus.events import (
    NO_ROUND,
    BlockMade,
    BlockValidated,
    CommitArrived,
    Decide,
    Evidence,
    Input,
    ProposalArrived,
    Rebroadcast,
    Recovered,
    ReportEvidence,
    ScheduleTimeout,
    SignStep,
    StartHeight,
    TimeoutFired,
    TimeoutKind,
    VoteArrived,
)
from hce.network.consensus.messages import Proposal
from hce.network.consensus.rules import (
    RULES,
    Effects,
    Transition,
    once,
    precommit,
    prevote,
    propose,
    sign_vote,
    start_round,
    transition,
)
from hce.network.consensus.state import (
    MAX_FUTURE_ROUNDS,
    MAX_PROPOSALS_PER_ROUND,
    Received,
    State,
    Step,
    add_vote,
    keeps,
    votes_to_share,
)
from hce.network.consensus.turns import claimed_round

MAX_RULES_PER_STEP = 64
"""More rules than this on one input would mean a rule that does not make its guard false."""
RESTING = (Step.IDLE, Step.DECIDED)
"""Steps in which only StartHeight means something."""


def step(state: State, event: Input) -> tuple[State, Effects]:
    """One input and all its consequences. The given state is never changed."""
    out: Effects = []
    handler = _handler_of(event)
    if state.step in RESTING and not isinstance(event, StartHeight):
        return state, out
    s = handler.apply(state, event, out)
    if s is None:
        return state, out
    for _ in range(MAX_RULES_PER_STEP):
        after = None if s.step in RESTING else _first_that_applies(s, out)
        if after is None:
            return s, out
        s = after
    raise Bug("consensus rules do not settle")


def _first_that_applies(s: State, out: Effects) -> State | None:
    for rule in RULES:
        after = rule.apply(s, out)
        if after is not None:
            return after
    return None


def _handler_of(event: Input) -> Transition:
    return TIMEOUTS[event.kind] if isinstance(event, TimeoutFired) else HANDLERS[type(event)]


# Input handlers: the new state, or None when the input means nothing now


@transition(
    "10", "idle, decided", "StartHeight", "StartRound(0) -> propose; after a crash: back to the last signature, signed again"
)
def on_start_height(s: State, event: StartHeight, out: Effects) -> State | None:
    # Enter: the runtime starts, or height - 1 is durable
    if s.step not in RESTING or (s.step == Step.DECIDED and event.height != s.height + 1):
        raise Bug(f"height {event.height} started while {s.height} is at {s.step.name}")
    fresh = State(height=event.height, base=event.base, n=event.n, me=event.me)
    out.append(ScheduleTimeout(TimeoutKind.REBROADCAST, event.height, 0))
    if event.recovered is None:
        return start_round(fresh, 0, out)
    return _resume(fresh, event.recovered, out)


def _resume(s: State, last: Recovered, out: Effects) -> State:
    """Continues in the round of the last signature. It is signed again, byte for byte: it may never have left."""
    resumed = Step.PROPOSE if last.step == SignStep.PROPOSAL else Step(last.step + 1)
    s = replace(s, round=last.round, step=resumed, lock=last.lock)
    for vote in last.votes:
        s = add_vote(s, vote) or s
    if last.block_id is not None and last.step == SignStep.PROPOSAL:
        propose(s, last.lock.valid_round, last.block_id, out)
        out.append(ScheduleTimeout(TimeoutKind.PROPOSE, s.height, s.round))
        return s
    return sign_vote(s, last.step, last.block_id, out)


@transition("-", "propose, prevote, precommit", "proposal that the turn rule allows", "keep it, bounded")
def on_proposal(s: State, event: ProposalArrived, out: Effects) -> State | None:
    # Enter: a peer's message, or our own proposal after it was signed
    proposal = event.proposal
    if proposal.height != s.height:
        return None
    first_round = _check_proposal(s, proposal)
    if proposal.round > s.round + MAX_FUTURE_ROUNDS or (proposal.round <= s.round and not keeps(s, proposal.round)):
        return None
    kept = s.at(proposal.round)
    if any(old.proposal.block_id == proposal.block_id for old in kept.proposals) or not _proposal_fits(s, proposal):
        return None
    received = Received(proposal, event.timely or proposal.valid_round is not None)
    s = s.with_round(proposal.round, replace(kept, proposals=(*kept.proposals, received)))
    return replace(s, known={**s.known, proposal.block_id: first_round})


def _check_proposal(s: State, proposal: Proposal) -> Round:
    """r0 of the block; `ProposalInvalid` when the turn rule forbids it."""
    first_round = claimed_round(s.base, proposal.block.header)
    if proposal.epoch != s.epoch or proposal.block.header.height != s.height or first_round is None:
        raise ProposalInvalid("claims no position of this height", height=s.height, round=proposal.round)
    if proposal.valid_round is None:
        allowed = first_round == proposal.round
    else:
        allowed = first_round <= proposal.valid_round < proposal.round
    if not allowed:
        raise ProposalInvalid("claims another round", round=proposal.round, actual=first_round, valid_round=proposal.valid_round)
    return first_round


def _proposal_fits(s: State, proposal: Proposal) -> bool:
    kept = s.at(proposal.round)
    voted = max(kept.prevotes.count(proposal.block_id), kept.precommits.count(proposal.block_id))
    return len(kept.proposals) < MAX_PROPOSALS_PER_ROUND or voted >= s.quorum


@transition(
    "-", "propose, prevote, precommit", "vote", "count it per (value, sender), bounded; ReportEvidence if its sender voted twice"
)
def on_vote(s: State, event: VoteArrived, out: Effects) -> State | None:
    # Enter: a peer's message, or our own vote after it was signed
    vote = event.vote
    if vote.height != s.height:
        return None
    if vote.index >= s.n or vote.epoch != s.epoch:
        raise VoteInvalid("not of this node list", index=vote.index, epoch=vote.epoch, height=vote.height)
    added = add_vote(s, vote)
    return _report_double_vote(s, vote, out) if added is None else _report_double_vote(added, vote, out) or added


def _report_double_vote(s: State, vote: Vote, out: Effects) -> State | None:
    """Evidence is unique by (node, height, round, type), however many values were signed."""
    key = (vote.index, vote.round, vote.type)
    others = [old for old in s.at(vote.round).tally(vote.type).of(vote.index) if old.block_id != vote.block_id]
    if not others or key in s.reported:
        return None
    first, second = sorted((others[0], vote), key=lambda v: v.block_id or b"")
    out.append(ReportEvidence(Evidence(first, second)))
    return replace(s, reported=s.reported | {key})


@transition("16-19", "propose", "the block that MakeBlock asked for, first time", "SignAndBroadcastProposal, fresh")
def on_block_made(s: State, event: BlockMade, out: Effects) -> State | None:
    # Enter: MakeBlock was answered. Too late (the round or the step went on): the block is dropped, never signed.
    if event.height != s.height or event.round != s.round or s.step != Step.PROPOSE:
        return None
    after = once(s, "made", s.round)
    if after is None:
        return None
    propose(after, NO_ROUND, event.block_id, out)
    return replace(after, judged={**s.judged, event.block_id: True})


@transition("-", "propose, prevote, precommit", "verdict about a block", "remember valid(v)")
def on_block_validated(s: State, event: BlockValidated, out: Effects) -> State | None:
    # Enter: ValidateBlock was answered
    if event.height != s.height or event.block_id in s.judged:
        return None
    return replace(s, judged={**s.judged, event.block_id: event.ok})


@transition("57-60", "propose", "timeoutPropose of this round", "prevote nil -> prevote")
def on_timeout_propose(s: State, event: TimeoutFired, out: Effects) -> State | None:
    # Enter: armed by StartRound
    mine = event.height == s.height and event.round == s.round and s.step == Step.PROPOSE
    return prevote(s, None, out) if mine else None


@transition("61-64", "prevote", "timeoutPrevote of this round", "precommit nil -> precommit")
def on_timeout_prevote(s: State, event: TimeoutFired, out: Effects) -> State | None:
    # Enter: armed by upon_prevotes_for_any
    mine = event.height == s.height and event.round == s.round and s.step == Step.PREVOTE
    return precommit(s, None, out) if mine else None


@transition("65-67", "propose, prevote, precommit", "timeoutPrecommit of this round", "StartRound(round + 1) -> propose")
def on_timeout_precommit(s: State, event: TimeoutFired, out: Effects) -> State | None:
    # Enter: armed by upon_precommits_for_any
    mine = event.height == s.height and event.round == s.round
    return start_round(s, s.round + 1, out) if mine else None


@transition("-", "propose, prevote, precommit", "rebroadcast timer of this height", "Rebroadcast: all votes that brought us here")
def on_timeout_rebroadcast(s: State, event: TimeoutFired, out: Effects) -> State | None:
    # Enter: armed by StartHeight and by itself
    if event.height != s.height:
        return None
    out.append(Rebroadcast(s.height, s.round, votes_to_share(s)))
    out.append(ScheduleTimeout(TimeoutKind.REBROADCAST, s.height, s.round))
    return s


@transition("49-54", "propose, prevote, precommit", "a peer's final block of this height with its commit", "Decide -> decided")
def on_commit(s: State, event: CommitArrived, out: Effects) -> State | None:
    # Enter: catch-up. It needs no round of ours and no lock stands against it.
    if event.block.header.height != s.height:
        return None
    out.append(Decide(s.height, event.commit.block_id, event.commit))
    return replace(s, step=Step.DECIDED)


HANDLERS: dict[type[Input], Transition] = {
    StartHeight: on_start_height,
    ProposalArrived: on_proposal,
    VoteArrived: on_vote,
    BlockMade: on_block_made,
    BlockValidated: on_block_validated,
    CommitArrived: on_commit,
}

TIMEOUTS: dict[TimeoutKind, Transition] = {
    TimeoutKind.PROPOSE: on_timeout_propose,
    TimeoutKind.PREVOTE: on_timeout_prevote,
    TimeoutKind.PRECOMMIT: on_timeout_precommit,
    TimeoutKind.REBROADCAST: on_timeout_rebroadcast,
}
