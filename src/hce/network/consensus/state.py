"""The state of one height, and its tallies. Everything here is a value: a change makes a new one and shares what stayed.

Votes are counted per (value, sender), never first-vote-wins: a double signer counts once for each value it signed, so that
two halves of a healed partition still find their quorums. Bounds keep a liar from filling memory:

    values     of one sender in one round: the first MAX_VALUES_PER_SENDER, and any value that f + 1 others voted for
    rounds     ahead of ours, per sender: the highest MAX_FUTURE_ROUNDS; behind ours: the last PAST_ROUNDS, and the rounds
               that a lock, a valid value or a re-proposal still refers to
    proposals  in one round: MAX_PROPOSALS_PER_ROUND, and any with a quorum of votes
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import IntEnum

from msgspec import Struct
from msgspec.structs import replace

from hce.foundation.types.blocks import Vote, VoteType
from hce.foundation.types.quorum import quorum
from hce.foundation.types.scalars import Cid, Epoch, Height, NodeIndex, Round
from hce.network.consensus.events import Lock
from hce.network.consensus.messages import MAX_VOTES_PER_MESSAGE, Proposal
from hce.network.consensus.turns import Position

MAX_VALUES_PER_SENDER = 2
MAX_FUTURE_ROUNDS = 3
PAST_ROUNDS = 16
MAX_PROPOSALS_PER_ROUND = 2


class Step(IntEnum):
    """Where a node stands in its round."""

    IDLE = 0
    PROPOSE = 1
    PREVOTE = 2
    PRECOMMIT = 3
    DECIDED = 4


class Tally(Struct, frozen=True):
    """Votes of one type in one round: value -> sender -> vote."""

    values: Mapping[Cid | None, Mapping[NodeIndex, Vote]] = {}

    def count(self, block_id: Cid | None) -> int:
        return len(self.values.get(block_id, ()))

    def votes_for(self, block_id: Cid | None) -> tuple[Vote, ...]:
        return tuple(self.values.get(block_id, {}).values())

    def senders(self) -> set[NodeIndex]:
        return {index for votes in self.values.values() for index in votes}

    def of(self, sender: NodeIndex) -> list[Vote]:
        return [votes[sender] for votes in self.values.values() if sender in votes]

    def all(self) -> Iterator[Vote]:
        for votes in self.values.values():
            yield from votes.values()

    def has(self, sender: NodeIndex, block_id: Cid | None) -> bool:
        return sender in self.values.get(block_id, ())

    def add(self, vote: Vote) -> Tally:
        votes = {**self.values.get(vote.block_id, {}), vote.index: vote}
        return Tally({**self.values, vote.block_id: votes})

    def without(self, sender: NodeIndex) -> Tally:
        kept = {value: {i: vote for i, vote in votes.items() if i != sender} for value, votes in self.values.items()}
        return Tally({value: votes for value, votes in kept.items() if votes})


class Received(Struct, frozen=True):
    proposal: Proposal
    timely: bool


class RoundState(Struct, frozen=True):
    proposals: tuple[Received, ...] = ()
    prevotes: Tally = Tally()
    precommits: Tally = Tally()

    def tally(self, type: int) -> Tally:
        return self.prevotes if type == VoteType.PREVOTE else self.precommits

    def with_tally(self, type: int, tally: Tally) -> RoundState:
        return replace(self, prevotes=tally) if type == VoteType.PREVOTE else replace(self, precommits=tally)

    def senders(self) -> set[NodeIndex]:
        return self.prevotes.senders() | self.precommits.senders()


EMPTY_ROUND = RoundState()


class State(Struct, frozen=True):
    """One node in one height. Field names follow the paper (h_p, round_p, step_p, lockedRound, ...)."""

    height: Height = 0
    base: Position = Position(0, 0, 0)
    n: int = 1
    me: NodeIndex | None = None
    round: Round = 0
    step: Step = Step.IDLE
    lock: Lock = Lock()
    rounds: Mapping[Round, RoundState] = {}
    known: Mapping[Cid, Round] = {}
    """Blocks whose bytes the runtime holds, with r0: the round each claims."""
    judged: Mapping[Cid, bool] = {}
    """valid(v), once execution has answered."""
    done: frozenset[tuple[str, Round, Cid | None]] = frozenset()
    """What the paper does 'for the first time' only."""
    reported: frozenset[tuple[NodeIndex, Round, int]] = frozenset()

    @property
    def epoch(self) -> Epoch:
        return self.base.epoch

    @property
    def quorum(self) -> int:
        """2f + 1 in the paper."""
        return quorum(self.n)

    @property
    def faulty(self) -> int:
        """f: how many may lie."""
        return self.n - self.quorum

    def at(self, round: Round) -> RoundState:
        return self.rounds.get(round, EMPTY_ROUND)

    def with_round(self, round: Round, changed: RoundState) -> State:
        return replace(self, rounds={**self.rounds, round: changed})


def keeps(s: State, round: Round) -> bool:
    """Whether a round at or behind ours is still of use."""
    if round >= s.round - PAST_ROUNDS or round in (s.lock.locked_round, s.lock.valid_round):
        return True
    return any(received.proposal.valid_round == round for received in s.at(s.round).proposals)


def forget(s: State) -> State:
    """Drops what no rule can use any more; called when a round starts."""
    rounds = {r: kept for r, kept in s.rounds.items() if keeps(s, r)}
    ids = {received.proposal.block_id for kept in rounds.values() for received in kept.proposals} | {s.lock.valid_id}
    return replace(
        s,
        rounds=rounds,
        known={id: r0 for id, r0 in s.known.items() if id in ids},
        judged={id: ok for id, ok in s.judged.items() if id in ids},
        done=frozenset(item for item in s.done if item[1] in rounds or item[1] >= s.round - 1),
        reported=frozenset(item for item in s.reported if item[1] in rounds),
    )


def add_vote(s: State, vote: Vote) -> State | None:
    """The state with the vote counted; None when it is already there or beyond a bound."""
    if vote.round <= s.round and not keeps(s, vote.round):
        return None
    tally = s.at(vote.round).tally(vote.type)
    if tally.has(vote.index, vote.block_id) or not _value_fits(s, tally, vote):
        return None
    s = s.with_round(vote.round, s.at(vote.round).with_tally(vote.type, tally.add(vote)))
    return s if vote.round <= s.round else _bound_future(s, vote)


def _value_fits(s: State, tally: Tally, vote: Vote) -> bool:
    return len(tally.of(vote.index)) < MAX_VALUES_PER_SENDER or tally.count(vote.block_id) > s.faulty


def _bound_future(s: State, vote: Vote) -> State | None:
    """Of the rounds ahead of ours a sender keeps the highest few; None when that drops the vote just added."""
    ahead = sorted(r for r, kept in s.rounds.items() if r > s.round and vote.index in kept.senders())
    if len(ahead) <= MAX_FUTURE_ROUNDS:
        return s
    lowest = ahead[0]
    if lowest == vote.round:
        return None
    cut = s.at(lowest)
    cut = replace(cut, prevotes=cut.prevotes.without(vote.index), precommits=cut.precommits.without(vote.index))
    if cut.proposals or cut.senders():
        return s.with_round(lowest, cut)
    return replace(s, rounds={r: kept for r, kept in s.rounds.items() if r != lowest})


def votes_to_share(s: State) -> tuple[Vote, ...]:
    """The paper's gossip property, bounded: all that brought us here (this round, the one before, the valid round).

    Not only our own: the vote that let us move on may have reached nobody else, and its sender may be gone.
    """
    if s.step in (Step.IDLE, Step.DECIDED):
        return ()
    chosen = list(valid_prevotes(s))
    for round in (s.round, s.round - 1):
        for tally in (s.at(round).precommits, s.at(round).prevotes):
            chosen += (vote for vote in tally.all() if vote not in chosen)
    chosen.sort(key=lambda vote: vote.index != s.me)
    return tuple(chosen[:MAX_VOTES_PER_MESSAGE])


def valid_prevotes(s: State) -> tuple[Vote, ...]:
    """The quorum that made the valid value valid."""
    if s.lock.valid_id is None:
        return ()
    return s.at(s.lock.valid_round).prevotes.votes_for(s.lock.valid_id)
