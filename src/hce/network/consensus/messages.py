"""What nodes send each other about one height, and the exact bytes they sign.

A message is DAG-CBOR([kind, body]). Every kind has a bound that is checked before decoding.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from hce.foundation.codec.cid import cid_of_dag_cbor
from hce.foundation.codec.dagcbor import convert, decode, encode
from hce.foundation.crypto.sign import signing_bytes
from hce.foundation.types.blocks import MAX_LISTS_BYTES, Block, Commit, ConsensusHeader, Vote
from hce.foundation.types.errors import TooLarge
from hce.foundation.types.scalars import ChainId, Cid, Epoch, Height, Round, Signature
from hce.network.consensus.prefix import MessageKind, kind_of

MAX_BLOCK_BYTES = MAX_LISTS_BYTES + MAX_LISTS_BYTES // 8
"""Largest encoded block: full lists, and room for headers and for what stands before each transaction (3 bytes of at least 64)."""
MAX_VOTES_PER_MESSAGE = 64
"""Two rounds of both types from nine nodes, and the prevotes of a valid round: 45, with room for double signers."""
MAX_VOTE_BYTES = 256
"""Upper bound of one encoded vote."""


BOUNDS_BYTES = {
    MessageKind.PROPOSAL: MAX_BLOCK_BYTES + 1024,
    MessageKind.VOTES: MAX_VOTES_PER_MESSAGE * MAX_VOTE_BYTES,
    MessageKind.FINAL_BLOCK: MAX_BLOCK_BYTES + 8 * 1024,
    MessageKind.STATUS: 64,
    MessageKind.HEAD: 8 * 1024,
    MessageKind.FETCH: 64,
}
"""Largest message of each kind, bytes."""


class Proposal(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A block for one round, signed by the proposer of that round (who need not be its author)."""

    height: Height
    epoch: Epoch
    round: Round
    valid_round: Round | None
    """Round of the prevotes that made the block valid; null when it is fresh."""
    block_id: Cid
    signature: Signature
    block: Block


class Votes(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One's own vote, or what a node shares again so that others can follow."""

    votes: Annotated[list[Vote], Meta(min_length=1, max_length=MAX_VOTES_PER_MESSAGE)]


class FinalBlock(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A whole block with its whole commit, for a node that is behind."""

    block: Block
    commit: Commit


class Status(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The height its sender works on; whoever has that block final answers with it, or with its head when it has more."""

    height: Height


class Head(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The newest final header its sender has, and the commit that proves it."""

    header: ConsensusHeader
    commit: Commit


class Fetch(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Its sender has every block below this height and wants those that follow."""

    height: Height


Message = Proposal | Votes | FinalBlock | Status | Head | Fetch

_TYPES: dict[MessageKind, type[Message]] = {
    MessageKind.PROPOSAL: Proposal,
    MessageKind.VOTES: Votes,
    MessageKind.FINAL_BLOCK: FinalBlock,
    MessageKind.STATUS: Status,
    MessageKind.HEAD: Head,
    MessageKind.FETCH: Fetch,
}
_KINDS = {type_: kind for kind, type_ in _TYPES.items()}


def encode_message(message: Message) -> bytes:
    return encode([int(_KINDS[type(message)]), message])


def bounded_kind(raw: bytes) -> MessageKind:
    """`Malformed` or `TooLarge`: the kind and its bound are read from the first two bytes, before anything is decoded."""
    kind = kind_of(raw)
    if len(raw) > BOUNDS_BYTES[kind]:
        raise TooLarge("consensus message", kind=kind.name, actual_bytes=len(raw), max_bytes=BOUNDS_BYTES[kind])
    return kind


def decode_message(raw: bytes) -> Message:
    """`Malformed` or `TooLarge`. A pair, as its first byte says, and its types are exact (`codec.dagcbor.is_exact`): nothing that the
    format does not have is passed over."""
    kind = bounded_kind(raw)
    return convert(_TYPES[kind], decode(raw, max_bytes=BOUNDS_BYTES[kind])[1])


def block_id_of(header: ConsensusHeader) -> Cid:
    """CID of the consensus header: the only thing voted on."""
    return cid_of_dag_cbor(encode(header))


def vote_signing_bytes(chain: ChainId, type: int, epoch: Epoch, height: Height, round: Round, block_id: Cid | None) -> bytes:
    """["hce/vote/1", chain, type, epoch, height, round, id or nil]."""
    return signing_bytes("vote", chain, int(type), epoch, height, round, block_id)


def proposal_signing_bytes(
    chain: ChainId, epoch: Epoch, height: Height, round: Round, valid_round: Round | None, block_id: Cid
) -> bytes:
    """["hce/proposal/1", chain, epoch, height, round, valid_round or nil, id]."""
    return signing_bytes("proposal", chain, epoch, height, round, valid_round, block_id)
