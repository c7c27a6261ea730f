"""Inputs for the pure core: blocks, proposals and votes without signatures (the core never looks at one)."""

from __future__ import annotations

from msgspec.structs import replace
from tests.simulate.world import CHAIN, genesis_block, make_nodes

from hce.foundation.types.blocks import Block, Vote, VoteType
from hce.network.consensus.blockrules import assemble, tip_of
from hce.network.consensus.events import BlockValidated, Effect, ProposalArrived, StartHeight, VoteArrived
from hce.network.consensus.machine import step
from hce.network.consensus.messages import Proposal, block_id_of
from hce.network.consensus.state import State
from hce.network.consensus.turns import claim

N = 4
GENESIS = genesis_block(make_nodes(N))
TIP = tip_of(GENESIS, None, 6, None)
PREVOTE, PRECOMMIT = VoteType.PREVOTE, VoteType.PRECOMMIT


def block(round: int = 0, salt: int = 0) -> Block:
    """A block that claims this round of height 1."""
    return assemble(CHAIN, TIP, claim(TIP.base, round), TIP.header.time_ms + 1 + salt, GENESIS.ledger)


def proposal(round: int, valid_round: int | None = None, of: Block | None = None) -> Proposal:
    of = of or block(round)
    return Proposal(1, 0, round, valid_round, block_id_of(of.header), bytes(64), of)


def vote(type: int, index: int, round: int, block_id: bytes | None) -> Vote:
    return Vote(int(type), 0, 1, round, block_id, index, bytes(64))


class Core:
    """One state machine and everything it asked for."""

    def __init__(self, me: int | None, n: int = N, **start) -> None:
        self.state = State()
        self.effects: list[Effect] = []
        self.give(StartHeight(1, TIP.base, n, me, **start))

    def give(self, event) -> list[Effect]:
        """The effects of this input alone."""
        self.state, out = step(self.state, event)
        self.effects += out
        return out

    def votes(self, type: int, indexes, round: int, block_id: bytes | None) -> list[Effect]:
        return [effect for index in indexes for effect in self.give(VoteArrived(vote(type, index, round, block_id)))]

    def proposed(self, proposal: Proposal, ok: bool = True, timely: bool = True) -> list[Effect]:
        """The proposal arrives and execution says what it thinks of it."""
        return self.give(ProposalArrived(proposal, timely)) + self.give(BlockValidated(1, proposal.block_id, ok))

    def all(self, kind: type) -> list:
        return [effect for effect in self.effects if isinstance(effect, kind)]


def another_height(p: Proposal) -> Proposal:
    return replace(p, height=2)
