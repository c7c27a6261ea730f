"""What a starting node reads before it acts: where the chain ended, whether its sign state is its own, the block it had promised."""

from __future__ import annotations

from collections.abc import Sequence

from hce.foundation.types.blocks import Block, Commit, Node
from hce.foundation.types.scalars import ChainId, Cid, Height, NodeIndex
from hce.network.consensus.blockrules import Tip, nodes_cid, tip_of
from hce.network.consensus.events import Recovered
from hce.network.consensus.turns import base
from hce.network.runtime.blocklog import BlockLog
from hce.network.runtime.errors import BlocksMissing, ChainMismatch
from hce.network.runtime.signstate import SignState

COMMITS_ASKED = 8
"""Newest commits in which a node looks for its own precommits; in most it has one."""


def load_tip(blocklog: BlockLog, chain: ChainId, nodes: Sequence[Node], slots_per_turn: int) -> Tip:
    """The last final block of the log; `ChainMismatch` when the log is not this chain's."""
    head = blocklog.head
    own_base = None
    if blocklog.height > blocklog.base_height:
        before = blocklog.read(blocklog.height - 1).block
        own_base = base(before.header, before.ledger.header.next_epoch, slots_per_turn)
    if head.block.header.chain != chain or head.block.ledger.header.next_validators != nodes_cid(nodes):
        raise ChainMismatch("the log is of another chain or node list")
    return tip_of(head.block, head.commit, slots_per_turn, own_base)


def require_own_sign_state(signstate: SignState | None, blocklog: BlockLog, me: NodeIndex | None) -> None:
    """`require_known` of the newest commits."""
    for height in range(max(blocklog.base_height + 1, blocklog.height - COMMITS_ASKED + 1), blocklog.height + 1):
        require_known(signstate, height, blocklog.read(height).commit, me)


def require_known(signstate: SignState | None, height: Height, commit: Commit | None, me: NodeIndex | None) -> None:
    """A precommit of this node in the commit of a height is one that its sign state knows of. `SignStateCorrupt`.

    A machine that was set back as a whole, log and tables with it, learns so from the first blocks it fetches.
    """
    if signstate is not None and commit is not None and any(signed.index == me for signed in commit.signatures):
        signstate.require_known(height, commit.round)


def require_source(blocklog: BlockLog, executed: Height, nodes: int) -> None:
    """A log that lost blocks which were executed needs peers to get them from: `BlocksMissing` for a lone node."""
    if executed > blocklog.height and nodes == 1:
        raise BlocksMissing(expected=executed, actual=blocklog.height)


def kept_blocks(signstate: SignState | None, recovered: Recovered | None) -> dict[Cid, Block]:
    """The bytes of the blocks the sign state names: what was proposed and what is locked."""
    if recovered is None or signstate is None:
        return {}
    named = [block_id for block_id in (recovered.block_id, recovered.lock.valid_id) if block_id is not None]
    found = {block_id: signstate.kept_block(block_id) for block_id in named}
    return {block_id: block for block_id, block in found.items() if block is not None}
