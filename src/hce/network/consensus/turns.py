"""Who may propose which block: the only part of consensus that is ours.

A producer makes `slots_per_turn` consecutive blocks, its turn. Positions are counted along the chain, not by clock:

    base(h)     where the chain continues if nobody fails: the next slot, or slot 0 of the next turn
    claim(h, r) what round r proposes: base(h) in round 0; round r > 0 skips to slot 0 of turn base.turn + r
    proposer    schedule[claim.turn mod n]

Because round 1 already opens the next turn, a failed producer forfeits the rest of its own: a dead node costs one timeout a
lap, not six. Everything comes from header h - 1, never from the round of a commit (honest nodes may hold different ones).
"""

from __future__ import annotations

from msgspec import Struct

from hce.foundation.types.blocks import ConsensusHeader
from hce.foundation.types.scalars import Epoch, NodeIndex, Round, Slot, Turn

SLOTS_PER_TURN = 6
"""Consecutive blocks of one producer (white paper 6.1); a genesis parameter."""


class Position(Struct, frozen=True, array_like=True):
    """A place in the order of production. Turns restart at 0 in each epoch."""

    epoch: Epoch
    turn: Turn
    slot: Slot


def position_of(header: ConsensusHeader) -> Position:
    return Position(header.epoch, header.turn, header.slot)


def base(prev: ConsensusHeader, next_epoch: Epoch, slots_per_turn: int = SLOTS_PER_TURN) -> Position:
    """Where the height after `prev` continues. `next_epoch` is the field of prev's ledger header.

    A pending set (next_epoch above prev.epoch) waits for the end of the running turn, then opens (0, 0) of its epoch.
    Genesis has no producer: the block after it opens the first turn.
    """
    if prev.parent is None:
        return Position(next_epoch, 0, 0)
    if prev.slot + 1 < slots_per_turn:
        return Position(prev.epoch, prev.turn, prev.slot + 1)
    if next_epoch != prev.epoch:
        return Position(next_epoch, 0, 0)
    return Position(prev.epoch, prev.turn + 1, 0)


def claim(base: Position, round: Round) -> Position:
    """What a fresh proposal of this round must carry."""
    if round == 0:
        return base
    return Position(base.epoch, base.turn + round, 0)


def proposer_index(position: Position, n: int) -> NodeIndex:
    """Index in the node list of the producer of this position."""
    return position.turn % n


def claimed_round(base: Position, header: ConsensusHeader) -> Round | None:
    """r0: the round in which this header can have been proposed fresh; None when it claims no position of this height."""
    round = header.turn - base.turn
    if round < 0 or position_of(header) != claim(base, round):
        return None
    return round
