"""What goes into the state machine (inputs) and what comes out (effects). Both are plain values; doing is the runtime's part."""

from __future__ import annotations

from enum import IntEnum, StrEnum

from msgspec import Struct

from hce.foundation.types.blocks import Block, Commit, Vote
from hce.foundation.types.scalars import Cid, Epoch, Height, NodeIndex, Round
from hce.network.consensus.messages import Proposal
from hce.network.consensus.turns import Position

NO_ROUND = -1
"""The paper's -1: never locked, never valid, fresh."""


class TimeoutKind(StrEnum):
    PROPOSE = "propose"
    PREVOTE = "prevote"
    PRECOMMIT = "precommit"
    REBROADCAST = "rebroadcast"


class SignStep(IntEnum):
    """What a signature is for, in the order in which one round may sign them. Votes keep the numbers of `VoteType`."""

    PROPOSAL = 0
    PREVOTE = 1
    PRECOMMIT = 2


class Lock(Struct, frozen=True, array_like=True):
    """The paper's lockedRound, lockedValue, validRound, validValue. It travels with every signature into the sign state."""

    locked_round: int = NO_ROUND
    locked_id: Cid | None = None
    valid_round: int = NO_ROUND
    valid_id: Cid | None = None


class Evidence(Struct, frozen=True, array_like=True):
    """Two votes of one node, one round and one type for different values, in canonical order."""

    first: Vote
    second: Vote


class Recovered(Struct, frozen=True):
    """What the sign state knew when the node stopped: its last signature and the votes it would have shared."""

    round: Round
    step: SignStep
    block_id: Cid | None
    lock: Lock
    votes: tuple[Vote, ...]


# Inputs


class StartHeight(Struct, frozen=True):
    """The previous block is final (or the node starts). `me` is None for a node that follows without voting."""

    height: Height
    base: Position
    n: int
    me: NodeIndex | None
    recovered: Recovered | None = None


class ProposalArrived(Struct, frozen=True):
    """Its signature, block id and size were checked. `timely` is judged by the runtime's clock, on arrival, for fresh ones."""

    proposal: Proposal
    timely: bool = True


class VoteArrived(Struct, frozen=True):
    """Its signature was checked. One's own votes come back this way too."""

    vote: Vote


class BlockMade(Struct, frozen=True):
    """The block asked for by MakeBlock; execution made it, so it is valid."""

    height: Height
    round: Round
    block_id: Cid


class BlockValidated(Struct, frozen=True):
    """The verdict asked for by ValidateBlock."""

    height: Height
    block_id: Cid
    ok: bool


class TimeoutFired(Struct, frozen=True):
    kind: TimeoutKind
    height: Height
    round: Round


class CommitArrived(Struct, frozen=True):
    """A whole block with its commit; both were checked."""

    block: Block
    commit: Commit


Input = StartHeight | ProposalArrived | VoteArrived | BlockMade | BlockValidated | TimeoutFired | CommitArrived


# Effects


class MakeBlock(Struct, frozen=True):
    """It is our turn and nothing is valid yet: ask execution for a block at `position`."""

    height: Height
    round: Round
    position: Position


class ValidateBlock(Struct, frozen=True):
    height: Height
    block_id: Cid


class SignAndBroadcastProposal(Struct, frozen=True):
    """`valid_round` is NO_ROUND when the block is fresh."""

    height: Height
    epoch: Epoch
    round: Round
    valid_round: int
    block_id: Cid
    lock: Lock
    valid_prevotes: tuple[Vote, ...] = ()
    """Prevotes of valid_round: without them nobody accepts a re-proposal."""


class SignAndBroadcastVote(Struct, frozen=True):
    """Sign state first, then sign, then send; the signed vote comes back as VoteArrived."""

    height: Height
    epoch: Epoch
    round: Round
    step: SignStep
    block_id: Cid | None
    lock: Lock


class ScheduleTimeout(Struct, frozen=True):
    kind: TimeoutKind
    height: Height
    round: Round


class Rebroadcast(Struct, frozen=True):
    """Nothing moved for a while: send these votes again (and our own proposal of this round, if any)."""

    height: Height
    round: Round
    votes: tuple[Vote, ...]


class ReportEvidence(Struct, frozen=True):
    evidence: Evidence


class Decide(Struct, frozen=True):
    """The height is final."""

    height: Height
    block_id: Cid
    commit: Commit


Effect = (
    MakeBlock
    | ValidateBlock
    | SignAndBroadcastProposal
    | SignAndBroadcastVote
    | ScheduleTimeout
    | Rebroadcast
    | ReportEvidence
    | Decide
)
