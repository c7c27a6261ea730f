"""From a peer's bytes to an input of the state machine: everything that can be checked without executing a block.

Cheap checks come first; a signature is verified once (a vote that is already counted is dropped before).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from hce.foundation.codec.cid import cid_of_dag_cbor
from hce.foundation.codec.dagcbor import encode
from hce.foundation.crypto.sign import verify
from hce.foundation.types.blocks import Block, LedgerBlock, Node, Vote
from hce.foundation.types.errors import Refused
from hce.foundation.types.scalars import ChainId
from hce.network.consensus.blockrules import Tip, check_block
from hce.network.consensus.commit import commit_cid, verify_commit
from hce.network.consensus.errors import BlockInvalid, ProposalInvalid, VoteInvalid
from hce.network.consensus.events import CommitArrived, VoteArrived
from hce.network.consensus.messages import (
    FinalBlock,
    Proposal,
    Votes,
    block_id_of,
    proposal_signing_bytes,
    vote_signing_bytes,
)
from hce.network.consensus.state import State
from hce.network.consensus.turns import claim, proposer_index

CheckLists = Callable[[LedgerBlock], None]
"""`Application.check_lists`."""


def check_body(block: Block, check_lists: CheckLists) -> None:
    """`BlockInvalid` unless the body is the one the header names.

    Votes and signatures cover the header alone. Without this a peer could hand one node another body under the id all others vote on.
    """
    header, commit = block.header, block.last_commit
    if header.ledger_header != cid_of_dag_cbor(encode(block.ledger.header)):
        raise BlockInvalid("another ledger header than the block names", height=header.height)
    if header.last_commit != (None if commit is None else commit_cid(commit)):
        raise BlockInvalid("another last commit than the block names", height=header.height)
    if block.evidence:
        raise BlockInvalid("rules version 1 carries no evidence", height=header.height)
    try:
        check_lists(block.ledger)
    except Refused as error:
        raise BlockInvalid("other lists than the ledger header names", height=header.height, reason=error.code) from error


def accept_proposal(chain: ChainId, nodes: Sequence[Node], state: State, proposal: Proposal, check_lists: CheckLists) -> None:
    """`ProposalInvalid` unless the proposer of this round signed it for this chain, height and epoch; `BlockInvalid` for its body."""
    if proposal.epoch != state.epoch:
        raise ProposalInvalid("another epoch", expected=state.epoch, actual=proposal.epoch)
    if block_id_of(proposal.block.header) != proposal.block_id:
        raise ProposalInvalid("the block is not the one it names", height=proposal.height, round=proposal.round)
    proposer = nodes[proposer_index(claim(state.base, proposal.round), len(nodes))]
    message = proposal_signing_bytes(
        chain, proposal.epoch, proposal.height, proposal.round, proposal.valid_round, proposal.block_id
    )
    if not verify(proposer.consensus_key, message, proposal.signature):
        raise ProposalInvalid("not signed by the proposer of its round", height=proposal.height, round=proposal.round)
    check_body(proposal.block, check_lists)


def accept_votes(chain: ChainId, nodes: Sequence[Node], state: State, message: Votes) -> Iterator[VoteArrived]:
    """The new votes of this height; `VoteInvalid` at the first that its sender did not sign."""
    for vote in message.votes:
        if vote.height == state.height and not state.at(vote.round).tally(vote.type).has(vote.index, vote.block_id):
            check_vote(chain, nodes, state, vote)
            yield VoteArrived(vote)


def check_vote(chain: ChainId, nodes: Sequence[Node], state: State, vote: Vote) -> None:
    """`VoteInvalid` unless a node of the list signed exactly this for this chain and epoch."""
    if vote.index >= len(nodes) or vote.epoch != state.epoch:
        raise VoteInvalid("not of this node list", index=vote.index, epoch=vote.epoch, height=vote.height)
    message = vote_signing_bytes(chain, vote.type, vote.epoch, vote.height, vote.round, vote.block_id)
    if not verify(nodes[vote.index].consensus_key, message, vote.signature):
        raise VoteInvalid("wrong signature", index=vote.index, height=vote.height, round=vote.round)


def accept_final_block(
    chain: ChainId, nodes: Sequence[Node], tip: Tip, message: FinalBlock, check_lists: CheckLists
) -> CommitArrived:
    """A peer's final block of the next height; `BlockInvalid` or `CommitInvalid` when it is not."""
    if message.block.header.height != tip.next_height:
        raise BlockInvalid("height", expected=tip.next_height, actual=message.block.header.height)
    check_block(chain, nodes, tip, message.block)
    verify_commit(chain, nodes, message.block.header, message.commit, tip.base)
    check_body(message.block, check_lists)
    return CommitArrived(message.block, message.commit)
