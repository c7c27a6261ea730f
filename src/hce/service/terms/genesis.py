"""The first block's content: what everybody must agree on before anything can be checked (`docs/formats.md`, section Genesis)."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from hce.foundation.codec.cid import cid_of_dag_cbor
from hce.foundation.codec.dagcbor import encode
from hce.foundation.crypto.hashing import digest
from hce.foundation.types.blocks import RULES_VERSION, Node
from hce.foundation.types.scalars import Address, AmountBytes, ChainId, TimeMs
from hce.service.terms.states import KeyholderState

TOTAL_SUPPLY_AHCE = 182_500_000 * 10**18
"""HCET that can ever exist (white paper 5)."""


class Params(Struct, frozen=True, array_like=True):
    """Numbers of the network. Their digest is in every ledger header."""

    block_interval_ms: Annotated[int, Meta(ge=50, le=60_000)] = 1_000
    """Target time between blocks (white paper 6.1)."""
    slots_per_turn: Annotated[int, Meta(ge=1, le=255)] = 6
    """Consecutive blocks of one producer (white paper 6.1)."""
    replay_window: Annotated[int, Meta(ge=10, le=10_000)] = 600
    """Blocks a transaction id is remembered, and how far ahead valid_until may lie."""
    block_steps: Annotated[int, Meta(ge=1_000)] = 275_000
    """Steps a block may hold: less than 300 ms of the reference core in the worst case."""
    tx_steps: Annotated[int, Meta(ge=1_000)] = 150_000
    """Steps one transaction may take; more fails like out-of-gas."""
    step_price_ahce: Annotated[int, Meta(ge=0)] = 10**10
    """Fee of one step: a record costs about 0.000002 HCET."""
    gas_limit: Annotated[int, Meta(ge=21_000, le=2**40)] = 28_875_000
    """Of transfers; the steps have room for all of them."""
    base_fee_wei: Annotated[int, Meta(ge=7, le=2**60)] = 10**9
    """Base fee of genesis (EIP-1559 moves it afterwards)."""
    entry_max_blocks: Annotated[int, Meta(ge=1, le=10_000)] = 60
    """An access entry opens records only while it is this young, in blocks ..."""
    entry_max_ms: Annotated[int, Meta(ge=1_000)] = 600_000
    """... and in local time, so that a halted chain stops opening."""
    rotation_blocks: Annotated[int, Meta(ge=1, le=100_000)] = 60
    """Blocks between two rotations of a compartment by the same key: rotating is free, and must not fill blocks."""
    anchor_blocks: Annotated[int, Meta(ge=1, le=100_000)] = 600
    """Blocks between two anchors of a node's release receipts."""


class GenesisNode(Struct, frozen=True, array_like=True):
    node: Node
    link_certificate: bytes
    """DER; the only trust anchor of the node-to-node link. Empty with one node, which has no links."""


class GenesisBalance(Struct, frozen=True, array_like=True):
    address: Address
    amount: AmountBytes


class Genesis(Struct, frozen=True, array_like=True):
    version: Annotated[int, Meta(ge=1, le=RULES_VERSION)]
    chain: ChainId
    eip155_id: Annotated[int, Meta(ge=1, le=2**32)]
    time_ms: TimeMs
    params: Params
    nodes: Annotated[list[GenesisNode], Meta(min_length=1, max_length=9)]
    balances: Annotated[list[GenesisBalance], Meta(max_length=10_000)]
    keyholders: KeyholderState

    @property
    def node_list(self) -> list[Node]:
        """The set of height 1, in schedule order."""
        return [member.node for member in self.nodes]


def genesis_cid(genesis: Genesis) -> bytes:
    """What an operator compares by telephone before joining."""
    return cid_of_dag_cbor(encode(genesis))


def params_hash(params: Params) -> bytes:
    return digest("hce/params/1", params)


def validators_cid(nodes: list[Node]) -> bytes:
    return cid_of_dag_cbor(encode(nodes))
