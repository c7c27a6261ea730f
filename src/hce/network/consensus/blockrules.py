"""What a block of the next height must look like, before anybody executes it, and how to make one that does."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from hce.foundation.codec.cid import cid_of_dag_cbor
from hce.foundation.codec.dagcbor import encode
from hce.foundation.types.blocks import RULES_VERSION, Block, Commit, ConsensusHeader, LedgerBlock, LedgerHeader, Node
from hce.foundation.types.scalars import ChainId, Cid, Height, TimeMs
from hce.network.consensus.application import BlockContext
from hce.network.consensus.commit import commit_cid, verify_commit
from hce.network.consensus.errors import BlockInvalid, CommitInvalid
from hce.network.consensus.messages import block_id_of
from hce.network.consensus.turns import Position, base, claimed_round, proposer_index


class Tip(Struct, frozen=True):
    """The last final block, as far as the next height needs it."""

    header: ConsensusHeader
    ledger: LedgerHeader
    commit: Commit | None
    """None for genesis only."""
    block_id: Cid
    base: Position
    """base(h) of the next height."""
    own_base: Position | None
    """base of the tip's own height; None when its parent was not at hand (genesis)."""

    @property
    def next_height(self) -> Height:
        return self.header.height + 1


def tip_of(block: Block, commit: Commit | None, slots_per_turn: int, own_base: Position | None) -> Tip:
    header, ledger = block.header, block.ledger.header
    return Tip(header, ledger, commit, block_id_of(header), base(header, ledger.next_epoch, slots_per_turn), own_base)


def nodes_cid(nodes: Sequence[Node]) -> Cid:
    """CID of the ordered node list, as `next_validators` names it."""
    return cid_of_dag_cbor(encode(list(nodes)))


def context_of(nodes: Sequence[Node], height: Height, position: Position, time_ms: TimeMs, parent: Cid) -> BlockContext:
    """What execution may know of the block at this position. Its author is proposer(h, r0), whoever proposes it again."""
    author = nodes[proposer_index(position, len(nodes))]
    return BlockContext(height, position.epoch, time_ms, author.operator, parent)


def assemble(chain: ChainId, tip: Tip, position: Position, time_ms: TimeMs, ledger: LedgerBlock) -> Block:
    """Wraps what execution made into a block on this tip. Rules version 1 carries no evidence."""
    header = ConsensusHeader(
        version=RULES_VERSION,
        chain=chain,
        height=tip.next_height,
        epoch=position.epoch,
        turn=position.turn,
        slot=position.slot,
        time_ms=time_ms,
        parent=tip.block_id,
        last_commit=None if tip.commit is None else commit_cid(tip.commit),
        evidence=None,
        ledger_header=cid_of_dag_cbor(encode(ledger.header)),
    )
    return Block(header, tip.commit, [], ledger)


def check_block(chain: ChainId, nodes: Sequence[Node], tip: Tip, block: Block) -> None:
    """`BlockInvalid` or `CommitInvalid` unless the block extends the tip. Lists and roots are the ledger's to check.

    `nodes` made both the tip and this block: a set change is refused until the version that brings it.
    """
    header, ledger = block.header, block.ledger.header
    _same("version", RULES_VERSION, header.version)
    _same("chain", chain, header.chain)
    _same("height", tip.next_height, header.height)
    _same("parent", tip.block_id, header.parent)
    _same("ledger_header", cid_of_dag_cbor(encode(ledger)), header.ledger_header)
    _same("evidence", (None, []), (header.evidence, block.evidence))
    _same("next_validators", nodes_cid(nodes), ledger.next_validators)
    _same("next_epoch", tip.base.epoch, ledger.next_epoch)
    if claimed_round(tip.base, header) is None:
        raise BlockInvalid("claims no position of this height", expected=tip.base, actual=(header.epoch, header.turn, header.slot))
    if header.time_ms <= tip.header.time_ms:
        raise BlockInvalid("time does not increase", expected_above=tip.header.time_ms, actual=header.time_ms)
    _check_last_commit(chain, nodes, tip, block)


def _check_last_commit(chain: ChainId, nodes: Sequence[Node], tip: Tip, block: Block) -> None:
    """Any commit of the tip serves: honest nodes may hold different ones."""
    commit = block.last_commit
    _same("last_commit", None if commit is None else commit_cid(commit), block.header.last_commit)
    if (commit is None) != (tip.header.parent is None):
        raise CommitInvalid("every block but the first carries the commit before it", height=tip.next_height)
    if commit is not None:
        verify_commit(chain, nodes, tip.header, commit, tip.own_base)


def _same(what: str, expected: object, actual: object) -> None:
    if expected != actual:
        raise BlockInvalid(what, expected=expected, actual=actual)
