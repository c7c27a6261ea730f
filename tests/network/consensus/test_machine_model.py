"""Three honest cores, one liar, and an adversary that owns the network and all timeouts, against an abstract model of the rules.

The model knows nothing of the implementation: it sees which votes each node was given and which it signed, and claims
  - nobody signs two values in one place,
  - a precommit for a block has a quorum of prevotes of its round behind it,
  - a block of an earlier round is prevoted again only after a quorum prevoted it in between,
  - whoever precommitted v in round r prevotes another block only after a quorum prevoted that block in some round >= r,
  - a decision has a quorum of precommits of one round behind it, not before the round the block claims,
  - all decisions are equal.
"""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from tests.network.consensus.core import PRECOMMIT, PREVOTE, TIP, Core, N, block, vote

from hce.foundation.types.quorum import quorum
from hce.network.consensus.events import (
    BlockMade,
    BlockValidated,
    Decide,
    MakeBlock,
    ProposalArrived,
    Recovered,
    ScheduleTimeout,
    SignAndBroadcastProposal,
    SignAndBroadcastVote,
    SignStep,
    TimeoutFired,
    TimeoutKind,
    ValidateBlock,
    VoteArrived,
)
from hce.network.consensus.messages import Proposal, block_id_of
from hce.network.consensus.state import votes_to_share
from hce.network.consensus.turns import claim, claimed_round, proposer_index

NODES = st.integers(0, N - 2)


class Player:
    """One honest node as the model sees it."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.core: Core | None = None
        self.inbox: list = []
        self.given: dict[tuple[int, int, bytes | None], set[int]] = {}
        self.signed: dict[tuple[int, int], bytes | None] = {}
        self.lock: tuple[int, bytes] | None = None
        self.decided: bytes | None = None
        self.last: Recovered | None = None
        self.timeouts: list[TimeoutFired] = []

    def has_quorum(self, type: int, round: int, value: bytes | None) -> bool:
        return len(self.given.get((type, round, value), ())) >= quorum(N)


class ConsensusMachine(RuleBasedStateMachine):
    @initialize(liar=st.integers(0, N - 1))
    def start(self, liar: int) -> None:
        self.liar = liar
        self.blocks = {}
        self.players = [Player(index) for index in range(N) if index != liar]
        for player in self.players:
            self.boot(player, None)

    def boot(self, player: Player, recovered: Recovered | None) -> None:
        player.timeouts = []
        player.core = Core(player.index, recovered=recovered)
        for held in () if recovered is None else recovered.votes:
            self.note(player, held)
        self.perform(player, player.core.effects)

    # What the adversary may do

    @rule(to=NODES, seed=st.randoms(use_true_random=False), share=st.sampled_from([1.0, 1.0, 0.5]))
    def deliver(self, to: int, seed, share: float) -> None:
        player = self.players[to]
        seed.shuffle(player.inbox)
        now, player.inbox = player.inbox, []
        for event in now:
            if seed.random() < share:
                self.give(player, event)
            else:
                player.inbox.append(event)

    @rule(seed=st.randoms(use_true_random=False), reach=st.sampled_from([1.0, 0.8, 0.5]), lie=st.sampled_from([0.0, 0.5, 1.0]))
    def a_round_goes_by(self, seed, reach: float, lie: float) -> None:
        """Proposals, prevotes, precommits in this order, each reaching only some, the liar helping here and there."""
        for player in self.players:
            if seed.random() < lie:
                self.lie_in_proposal(player, seed)
        for kind, votes in ((TimeoutKind.PROPOSE, None), (TimeoutKind.PREVOTE, PREVOTE), (TimeoutKind.PRECOMMIT, PRECOMMIT)):
            for player in self.players:
                self.deliver_some(player, seed, reach, lambda event, votes=votes: _vote_type(event) == votes)
                if votes is not None and seed.random() < lie:
                    value = seed.choice([None, *sorted(self.blocks)])
                    self.give(player, VoteArrived(vote(votes, self.liar, player.core.state.round, value)))
            for player in self.players:
                fired = [timeout for timeout in player.timeouts if timeout.kind == kind]
                player.timeouts = [timeout for timeout in player.timeouts if timeout.kind != kind]
                for timeout in fired:
                    self.give(player, timeout)

    def deliver_some(self, player: Player, seed, reach: float, wanted) -> None:
        now, player.inbox = player.inbox, []
        for event in now:
            if wanted(event) and seed.random() < reach:
                self.give(player, event)
            elif seed.random() < 0.7:
                player.inbox.append(event)

    @rule(to=NODES)
    def expire(self, to: int) -> None:
        player = self.players[to]
        if player.timeouts:
            self.give(player, player.timeouts.pop())

    @rule(to=NODES)
    def crash(self, to: int) -> None:
        player = self.players[to]
        if player.decided is None:
            self.boot(player, player.last)

    @rule(to=NODES, back=st.integers(0, 2), data=st.data())
    def lie_in_votes(self, to: int, back: int, data) -> None:
        """The liar helps any value to a quorum, at one node alone."""
        player = self.players[to]
        round = max(0, player.core.state.round - back)
        value = data.draw(st.sampled_from([None, *sorted(self.blocks)]))
        for type in (PREVOTE, PRECOMMIT):
            self.give(player, VoteArrived(vote(type, self.liar, round, value)))

    @rule(to=NODES, seed=st.randoms(use_true_random=False))
    def lie_in_a_proposal(self, to: int, seed) -> None:
        self.lie_in_proposal(self.players[to], seed)

    def lie_in_proposal(self, player: Player, seed) -> None:
        round = player.core.state.round
        if proposer_index(claim(TIP.base, round), N) != self.liar:
            return
        of, valid_round = block(round, seed.randint(1, 2)), None
        old = [b for _, b in sorted(self.blocks.items()) if claimed_round(TIP.base, b.header) < round]
        if old and seed.random() < 0.7:
            of = seed.choice(old)
            valid_round = seed.randint(claimed_round(TIP.base, of.header), round - 1)
        self.blocks[block_id_of(of.header)] = of
        self.give(player, ProposalArrived(Proposal(1, 0, round, valid_round, block_id_of(of.header), bytes(64), of)))

    # The honest runtime

    def give(self, player: Player, event) -> None:
        if isinstance(event, VoteArrived):
            self.note(player, event.vote)
        self.perform(player, player.core.give(event))

    def note(self, player: Player, held) -> None:
        player.given.setdefault((held.type, held.round, held.block_id), set()).add(held.index)

    def perform(self, player: Player, effects) -> None:
        for effect in list(effects):
            match effect:
                case SignAndBroadcastVote():
                    self.judge_vote(player, effect)
                    self.remember(player, effect, effect.step)
                    self.broadcast(player, VoteArrived(vote(effect.step, player.index, effect.round, effect.block_id)))
                case SignAndBroadcastProposal():
                    self.remember(player, effect, 0)
                    valid_round = None if effect.valid_round < 0 else effect.valid_round
                    of = self.blocks[effect.block_id]
                    for again in effect.valid_prevotes:
                        self.send_others(player, VoteArrived(again))
                    self.broadcast(
                        player, ProposalArrived(Proposal(1, 0, effect.round, valid_round, effect.block_id, bytes(64), of))
                    )
                case MakeBlock():
                    made = block(effect.round)
                    self.blocks[block_id_of(made.header)] = made
                    self.give(player, BlockMade(1, effect.round, block_id_of(made.header)))
                case ValidateBlock():
                    self.give(player, BlockValidated(1, effect.block_id, True))
                case ScheduleTimeout():
                    player.timeouts.append(TimeoutFired(effect.kind, 1, effect.round))
                case Decide():
                    self.judge_decision(player, effect)

    def remember(self, player: Player, effect, step) -> None:
        shared = votes_to_share(player.core.state)
        player.last = Recovered(effect.round, SignStep(step), effect.block_id, effect.lock, shared)

    def broadcast(self, player: Player, event) -> None:
        self.send_others(player, event)
        self.give(player, event)

    def send_others(self, player: Player, event) -> None:
        for other in self.players:
            if other is not player:
                other.inbox.append(event)

    # The model

    def judge_vote(self, player: Player, effect: SignAndBroadcastVote) -> None:
        place, value = (int(effect.step), effect.round), effect.block_id
        assert player.signed.setdefault(place, value) == value, "signed twice"
        if value is None:
            return
        if effect.step == PRECOMMIT:
            assert player.has_quorum(PREVOTE, effect.round, value), "precommit without a quorum of prevotes"
            player.lock = (effect.round, value)
            return
        first = claimed_round(TIP.base, self.blocks[value].header)
        if first < effect.round:
            earlier = range(first, effect.round)
            assert any(player.has_quorum(PREVOTE, round, value) for round in earlier), "re-proposal without a quorum"
        if player.lock is not None and value != player.lock[1]:
            since = range(player.lock[0], effect.round)
            assert any(player.has_quorum(PREVOTE, round, value) for round in since), "lock violated"

    def judge_decision(self, player: Player, effect: Decide) -> None:
        first = claimed_round(TIP.base, self.blocks[effect.block_id].header)
        assert first <= effect.commit.round
        assert player.has_quorum(PRECOMMIT, effect.commit.round, effect.block_id)
        player.decided = effect.block_id

    @invariant()
    def all_decisions_are_equal(self) -> None:
        assert len({player.decided for player in getattr(self, "players", []) if player.decided is not None}) <= 1


def _vote_type(event) -> int | None:
    return event.vote.type if isinstance(event, VoteArrived) else None


ConsensusMachine.TestCase.settings = settings(max_examples=400, stateful_step_count=25, deadline=None)
TestConsensusAgainstTheModel = ConsensusMachine.TestCase
