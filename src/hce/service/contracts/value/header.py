"""The Ethereum header of a block, with the fields of Prague (`docs/formats.md`, section Value head). `value_hash` is its eth hash."""

from __future__ import annotations

import hashlib

from msgspec import Struct

from hce.foundation.codec.rlp import RlpItem, rlp_decode, rlp_encode, rlp_integer, rlp_to_integer
from hce.foundation.crypto.hashing import keccak256
from hce.foundation.types.errors import Malformed
from hce.foundation.types.scalars import Address, Digest
from hce.service.contracts.value.execute import EMPTY_BLOOM
from hce.service.contracts.value.tries import EMPTY_TRIE_ROOT

EMPTY_OMMERS_HASH = keccak256(rlp_encode([]))
EMPTY_REQUESTS_HASH = hashlib.sha256(b"").digest()
"""EIP-7685 hash of no requests."""
ELASTICITY = 2
BASE_FEE_CHANGE_DENOMINATOR = 8
"""EIP-1559: the target is half of the gas limit; a full block raises the base fee by an eighth."""
ZERO_HASH = bytes(32)
FIELDS = 21


class ValueHeader(Struct, frozen=True):
    """What differs from block to block; every other field of the Ethereum header is fixed in this rules version."""

    parent_hash: Digest
    coinbase: Address
    state_root: Digest
    """Root of HCE's own value map: `eth_getProof` is refused."""
    transactions_root: Digest
    receipts_root: Digest
    number: int
    gas_limit: int
    gas_used: int
    timestamp: int
    """Unix seconds."""
    base_fee: int
    parent_beacon_root: Digest
    """SHA-256 inside the HCE block id of the parent."""


def encode_header(header: ValueHeader) -> bytes:
    """RLP in Ethereum's order of fields."""
    fields: list[RlpItem] = [
        header.parent_hash,
        EMPTY_OMMERS_HASH,
        header.coinbase,
        header.state_root,
        header.transactions_root,
        header.receipts_root,
        EMPTY_BLOOM,
        b"",  # difficulty
        rlp_integer(header.number),
        rlp_integer(header.gas_limit),
        rlp_integer(header.gas_used),
        rlp_integer(header.timestamp),
        b"",  # extra data
        hashlib.sha256(header.parent_beacon_root).digest(),  # prevRandao
        bytes(8),  # nonce
        rlp_integer(header.base_fee),
        EMPTY_TRIE_ROOT,  # withdrawals
        b"",  # blob gas used
        b"",  # excess blob gas
        header.parent_beacon_root,
        EMPTY_REQUESTS_HASH,
    ]
    return rlp_encode(fields)


def decode_header(raw: bytes) -> ValueHeader:
    """The header of its one spelling; `Malformed` for any other bytes."""
    fields = rlp_decode(raw)
    if not isinstance(fields, list) or len(fields) != FIELDS:
        raise Malformed("not a value header")
    flat = [field for field in fields if isinstance(field, bytes)]
    if len(flat) != FIELDS:
        raise Malformed("not a value header")
    header = ValueHeader(
        parent_hash=flat[0],
        coinbase=flat[2],
        state_root=flat[3],
        transactions_root=flat[4],
        receipts_root=flat[5],
        number=rlp_to_integer(flat[8]),
        gas_limit=rlp_to_integer(flat[9]),
        gas_used=rlp_to_integer(flat[10]),
        timestamp=rlp_to_integer(flat[11]),
        base_fee=rlp_to_integer(flat[15]),
        parent_beacon_root=flat[19],
    )
    if encode_header(header) != raw:
        raise Malformed("a fixed field of the value header differs")
    return header


def value_hash(head: bytes) -> Digest:
    """The eth hash of a block: keccak of its header's RLP."""
    return keccak256(head)


def next_base_fee(parent: ValueHeader) -> int:
    """Base fee of the block after `parent`, aHCE per gas (EIP-1559)."""
    target = parent.gas_limit // ELASTICITY
    if parent.gas_used == target:
        return parent.base_fee
    step = parent.base_fee * abs(parent.gas_used - target) // target // BASE_FEE_CHANGE_DENOMINATOR
    return parent.base_fee + max(step, 1) if parent.gas_used > target else parent.base_fee - step
