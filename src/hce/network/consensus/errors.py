"""What consensus refuses, and whom it blames."""

from __future__ import annotations

from hce.foundation.types.errors import PeerFault


class ProposalInvalid(PeerFault):
    """A proposal that no honest proposer of its round would sign."""

    code = "consensus.proposal_invalid"


class VoteInvalid(PeerFault):
    """A vote with a wrong signature, or from outside the node list."""

    code = "consensus.vote_invalid"


class BlockInvalid(PeerFault):
    """A block whose header breaks a rule that needs no execution."""

    code = "consensus.block_invalid"


class CommitInvalid(PeerFault):
    """A commit that does not prove its block final."""

    code = "consensus.commit_invalid"


class BlocksUnneeded(PeerFault):
    """Many blocks that this node neither asked for nor can use."""

    code = "consensus.blocks_unneeded"
