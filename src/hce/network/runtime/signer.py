"""The only holder of the consensus key: sign state first, then the signature."""

from __future__ import annotations

from hce.foundation.crypto.sign import SigningKey
from hce.foundation.types.blocks import Block, Vote
from hce.foundation.types.scalars import ChainId, NodeIndex
from hce.network.consensus.events import NO_ROUND, SignAndBroadcastProposal, SignAndBroadcastVote, SignStep
from hce.network.consensus.messages import Proposal, proposal_signing_bytes, vote_signing_bytes
from hce.network.runtime.signstate import SignState


class Signer:
    """Signs votes and proposals of one node, in an order that never contradicts itself."""

    def __init__(self, chain: ChainId, index: NodeIndex, key: SigningKey, state: SignState) -> None:
        self._chain = chain
        self._index = index
        self._key = key
        self._state = state

    def vote(self, wanted: SignAndBroadcastVote, shared: tuple[Vote, ...]) -> Vote:
        """`SignRefused` when the sign state forbids it. `shared` is kept with the record."""
        self._state.store(wanted.height, wanted.round, wanted.step, wanted.block_id, wanted.lock, shared)
        type_ = int(wanted.step)
        message = vote_signing_bytes(self._chain, type_, wanted.epoch, wanted.height, wanted.round, wanted.block_id)
        return Vote(type_, wanted.epoch, wanted.height, wanted.round, wanted.block_id, self._index, self._key.sign(message))

    def proposal(self, wanted: SignAndBroadcastProposal, block: Block, shared: tuple[Vote, ...]) -> Proposal:
        """`SignRefused` when the sign state forbids it."""
        self._state.store(wanted.height, wanted.round, SignStep.PROPOSAL, wanted.block_id, wanted.lock, shared)
        valid_round = None if wanted.valid_round == NO_ROUND else wanted.valid_round
        message = proposal_signing_bytes(self._chain, wanted.epoch, wanted.height, wanted.round, valid_round, wanted.block_id)
        signature = self._key.sign(message)
        return Proposal(wanted.height, wanted.epoch, wanted.round, valid_round, wanted.block_id, signature, block)
