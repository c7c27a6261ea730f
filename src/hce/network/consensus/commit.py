"""Commits: the proof that a block is final. Nodes, followers and light clients check it with the same function."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

from hce.foundation.codec.cid import cid_of_dag_cbor
from hce.foundation.codec.dagcbor import encode
from hce.foundation.crypto.sign import verify
from hce.foundation.types.blocks import Commit, CommitSignature, ConsensusHeader, Node, Vote, VoteType
from hce.foundation.types.errors import Bug
from hce.foundation.types.quorum import quorum
from hce.foundation.types.scalars import ChainId, Cid, Round
from hce.network.consensus.errors import CommitInvalid
from hce.network.consensus.messages import block_id_of, vote_signing_bytes
from hce.network.consensus.turns import Position, claimed_round


def commit_cid(commit: Commit) -> Cid:
    """What `last_commit` of the next header names."""
    return cid_of_dag_cbor(encode(commit))


def make_commit(block_id: Cid, round: Round, precommits: Iterable[Vote], n: int) -> Commit:
    """The commit of these precommits, sorted by index. `Bug` when they prove nothing; signatures are not checked here."""
    votes = sorted(precommits, key=lambda vote: vote.index)
    fitting = all(v.type == VoteType.PRECOMMIT and v.round == round and v.block_id == block_id for v in votes)
    if not fitting or len({v.index for v in votes}) != len(votes) or len(votes) < quorum(n):
        raise Bug("a commit needs quorum(n) precommits of one round for one block")
    return Commit(block_id, round, [CommitSignature(v.index, v.signature) for v in votes])


def verify_commit(
    chain: ChainId, nodes: Sequence[Node], header: ConsensusHeader, commit: Commit, base: Position | None = None
) -> None:
    """`CommitInvalid` unless quorum(n) of `nodes` precommitted this header in the round the commit names.

    `nodes` is the list of the header's own height, in schedule order. `base` is base(h), for callers that hold header h - 1:
    then a round before the header's own is refused too (a block cannot be final before it was proposed).
    Cost: about 40 us a signature.
    """
    if header.chain != chain:
        raise CommitInvalid("another chain", expected=chain, actual=header.chain)
    if commit.block_id != block_id_of(header):
        raise CommitInvalid("another block", expected=block_id_of(header), actual=commit.block_id)
    _check_indexes(len(nodes), [signature.index for signature in commit.signatures])
    _check_round(header, commit.round, base)
    message = vote_signing_bytes(chain, VoteType.PRECOMMIT, header.epoch, header.height, commit.round, commit.block_id)
    for signed in commit.signatures:
        if not verify(nodes[signed.index].consensus_key, message, signed.signature):
            raise CommitInvalid("wrong signature", index=signed.index, height=header.height)


def _check_indexes(n: int, indexes: list[int]) -> None:
    if len(indexes) < quorum(n):
        raise CommitInvalid("too few precommits", expected=quorum(n), actual=len(indexes))
    if any(left >= right for left, right in pairwise(indexes)) or indexes[-1] >= n:
        raise CommitInvalid("indexes repeat, are unsorted or outside the node list", actual=indexes)


def _check_round(header: ConsensusHeader, round: Round, base: Position | None) -> None:
    if base is None:
        return
    first = claimed_round(base, header)
    if first is None or first > round:
        raise CommitInvalid("the block claims a later round than its commit", expected=first, actual=round)
