"""What the nodes vote on: headers, votes, commits and blocks (`docs/formats.md`, section Blocks)."""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated

from msgspec import Meta, Struct

from hce.foundation.types.ladder import MAX_NODES
from hce.foundation.types.scalars import (
    Address,
    ChainId,
    Cid,
    Digest,
    Epoch,
    Height,
    NodeIndex,
    PublicKey,
    Round,
    Signature,
    Slot,
    TimeMs,
    Turn,
)

RULES_VERSION = 1
"""The only rules version this code executes; an unknown one stops the node with `version.unknown`."""
MAX_LISTS_BYTES = 4 * 1024 * 1024
"""Transactions of one block, both lists together. The bounds of every message that holds a block follow from it."""
MAX_LISTED_TXS = MAX_LISTS_BYTES // 64
"""Transactions of one list: each holds a signature, 64 bytes. Bounds the work of decoding, which goes by items and not by bytes."""


class Node(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One super node as consensus sees it. The order of the list is the schedule."""

    operator: Address
    consensus_key: PublicKey
    link_key: PublicKey
    service_key: PublicKey
    power: Annotated[int, Meta(ge=1, le=1)] = 1


class ConsensusHeader(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The only thing voted on. Block id = CID of its DAG-CBOR."""

    version: Annotated[int, Meta(ge=1, le=65535)]
    chain: ChainId
    height: Height
    epoch: Epoch
    turn: Turn
    slot: Slot
    time_ms: TimeMs
    parent: Cid | None
    """Block id of height - 1; null at genesis."""
    last_commit: Cid | None
    """CID of the commit of height - 1; null at heights 0 and 1."""
    evidence: Cid | None
    """CID of the evidence list; null when empty."""
    ledger_header: Cid


class HealthHead(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The health chain's half of the ledger header."""

    txs_root: Digest
    receipts_root: Digest
    state_root: Digest


class LedgerHeader(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Made by execution; never sees a round."""

    version: Annotated[int, Meta(ge=1, le=65535)]
    value_head: Annotated[bytes, Meta(max_length=2048)]
    """Ethereum header, RLP."""
    health_head: HealthHead
    cross_root: Digest
    next_epoch: Epoch
    next_validators: Cid
    params_hash: Digest


class VoteType(IntEnum):
    PREVOTE = 1
    PRECOMMIT = 2


class Vote(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One node's word about one block (or nil) in one round."""

    type: Annotated[int, Meta(ge=1, le=2)]
    epoch: Epoch
    height: Height
    round: Round
    block_id: Cid | None
    index: NodeIndex
    """Position of the voter in the node list of this height."""
    signature: Signature


class CommitSignature(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    index: NodeIndex
    signature: Signature


class Commit(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Precommits of quorum(n) nodes for one block in one round, sorted by index. Its round is never used for anything else."""

    block_id: Cid
    round: Round
    signatures: Annotated[list[CommitSignature], Meta(max_length=MAX_NODES)]


class LedgerBlock(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What execution makes and checks: the ledger header and the lists under its roots."""

    header: LedgerHeader
    health_txs: Annotated[list[bytes], Meta(max_length=MAX_LISTED_TXS)]
    """Signed health transactions, DAG-CBOR."""
    value_txs: Annotated[list[bytes], Meta(max_length=MAX_LISTED_TXS)]
    """Signed Ethereum transactions, as in eth_sendRawTransaction."""


class Block(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A whole block as stored and sent."""

    header: ConsensusHeader
    last_commit: Commit | None
    evidence: Annotated[list[bytes], Meta(max_length=0)]
    """Empty in rules version 1."""
    ledger: LedgerBlock
