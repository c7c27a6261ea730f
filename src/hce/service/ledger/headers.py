"""The ledger header that execution gives, and the comparison that makes a proposal right or wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final as Constant

from hce.foundation.codec.cid import digest_of_cid
from hce.foundation.codec.dagcbor import encode
from hce.foundation.proofs.listhash import list_root
from hce.foundation.types.blocks import RULES_VERSION, HealthHead, LedgerHeader, Node
from hce.foundation.types.scalars import Digest
from hce.network.consensus.application import BlockContext
from hce.service.contracts.health import BlockEnv
from hce.service.contracts.value.accounts import encode_transfers
from hce.service.contracts.value.header import ValueHeader, encode_header, next_base_fee, value_hash
from hce.service.contracts.value.tries import ordered_root
from hce.service.ledger.errors import HeaderMismatch, UnknownVersion
from hce.service.ledger.execution import Executed, ExecutionEnv
from hce.service.terms.genesis import Genesis, params_hash, validators_cid

RULES: Constant = frozenset({RULES_VERSION})
"""Versions whose rules this code holds. Version 1 is the only one, so nothing selects among them yet."""


def require_version(version: int) -> None:
    """Stop before rules this code does not know."""
    if version not in RULES:
        raise UnknownVersion(known=sorted(RULES), actual=version)


def execution_env(genesis: Genesis, nodes: list[Node], parent: ValueHeader, context: BlockContext) -> ExecutionEnv:
    """The numbers of the block after `parent`."""
    health = BlockEnv(
        chain=genesis.chain,
        height=context.height,
        time_ms=context.time_ms,
        epoch=context.epoch,
        nodes=nodes,
        params=genesis.params,
    )
    return ExecutionEnv(health=health, coinbase=context.proposer, base_fee=next_base_fee(parent))


def ledger_header(
    env: ExecutionEnv, executed: Executed, parent_head: bytes, parent_id: bytes, health_root: Digest, value_root: Digest
) -> LedgerHeader:
    """Header of an executed block. `parent_head` is the value head, `parent_id` the block id of the height before."""
    value_head = ValueHeader(
        parent_hash=value_hash(parent_head),
        coinbase=env.coinbase,
        state_root=value_root,
        transactions_root=value_txs_root([tx.raw for tx in executed.value_txs]),
        receipts_root=ordered_root([receipt.encode() for receipt in executed.value_receipts]),
        number=env.health.height,
        gas_limit=env.health.params.gas_limit,
        gas_used=executed.gas_used,
        timestamp=env.health.time_ms // 1_000,
        base_fee=env.base_fee,
        parent_beacon_root=digest_of_cid(parent_id),
    )
    return LedgerHeader(
        version=RULES_VERSION,
        value_head=encode_header(value_head),
        health_head=HealthHead(
            txs_root=health_txs_root([tx.raw for tx in executed.health_txs]),
            receipts_root=list_root([encode(receipt) for receipt in executed.health_receipts]),
            state_root=health_root,
        ),
        cross_root=list_root(encode_transfers(executed.system_transfers)),
        next_epoch=env.health.epoch,
        next_validators=validators_cid(env.health.nodes),
        params_hash=params_hash(env.health.params),
    )


def health_txs_root(raw_txs: Sequence[bytes]) -> Digest:
    """List hash over signed health transactions."""
    return list_root(raw_txs)


def value_txs_root(raw_txs: Sequence[bytes]) -> Digest:
    """Ethereum's transaction trie over raw transactions."""
    return ordered_root(raw_txs)


def require_equal(expected: LedgerHeader, actual: LedgerHeader) -> None:
    """`HeaderMismatch` names the first field in which a proposal differs from execution."""
    for field in LedgerHeader.__struct_fields__:
        if getattr(expected, field) != getattr(actual, field):
            raise HeaderMismatch(field=field)
