"""Height 0: the state and the headers that follow from a genesis, the same on every machine."""

from __future__ import annotations

from hce.foundation.codec.cid import cid_of_dag_cbor
from hce.foundation.codec.dagcbor import encode
from hce.foundation.proofs.listhash import list_root
from hce.foundation.store.journal import HEALTH, VALUE, Journal
from hce.foundation.store.kv import KeyValueStore
from hce.foundation.store.mapnodes import MapDelta
from hce.foundation.types.blocks import Block, ConsensusHeader, HealthHead, LedgerBlock, LedgerHeader
from hce.foundation.types.errors import Bug
from hce.foundation.types.scalars import amount_from_bytes, amount_to_bytes
from hce.service.contracts.health import genesis_writes
from hce.service.contracts.value.accounts import KEY_SUPPLY, Account, account_key, write_account
from hce.service.contracts.value.header import ZERO_HASH, ValueHeader, encode_header
from hce.service.contracts.value.tries import EMPTY_TRIE_ROOT
from hce.service.ledger.errors import GenesisInvalid
from hce.service.ledger.final import MAPS, META, Head, Meta, put_head
from hce.service.ledger.headers import health_txs_root, require_version
from hce.service.terms.genesis import TOTAL_SUPPLY_AHCE, Genesis, genesis_cid, params_hash, validators_cid

NO_PRODUCER = bytes(20)
"""Coinbase of height 0."""


class _Nothing:
    """Reader of an empty store."""

    def get(self, table: str, key: bytes) -> bytes | None:
        return None


def genesis_block(genesis: Genesis) -> Block:
    """The block of height 0. Nobody voted on it: it follows from the genesis file. `GenesisInvalid`, `UnknownVersion`."""
    ledger = genesis_header(genesis, *_state_deltas(genesis))
    header = ConsensusHeader(
        version=genesis.version,
        chain=genesis.chain,
        height=0,
        epoch=0,
        turn=0,
        slot=0,
        time_ms=genesis.time_ms,
        parent=None,
        last_commit=None,
        evidence=None,
        ledger_header=cid_of_dag_cbor(encode(ledger)),
    )
    return Block(header, None, [], LedgerBlock(ledger, [], []))


def write_genesis(store: KeyValueStore, genesis: Genesis) -> None:
    """Write state and header of height 0 into an empty store, in one batch."""
    health, value = _state_deltas(genesis)
    header = genesis_header(genesis, health, value)
    with store.write() as txn:
        if txn.get(META, Meta.HEIGHT.value) is not None:
            raise Bug("a genesis over a ledger that has one")
        MAPS[HEALTH].apply(txn, health)
        MAPS[VALUE].apply(txn, value)
        txn.put(META, Meta.GENESIS.value, genesis_cid(genesis))
        put_head(txn, 0, Head(genesis.time_ms, header))


def genesis_header(genesis: Genesis, health: MapDelta, value: MapDelta) -> LedgerHeader:
    value_head = ValueHeader(
        parent_hash=ZERO_HASH,
        coinbase=NO_PRODUCER,
        state_root=value.root,
        transactions_root=EMPTY_TRIE_ROOT,
        receipts_root=EMPTY_TRIE_ROOT,
        number=0,
        gas_limit=genesis.params.gas_limit,
        gas_used=0,
        timestamp=genesis.time_ms // 1_000,
        base_fee=genesis.params.base_fee_wei,
        parent_beacon_root=ZERO_HASH,
    )
    return LedgerHeader(
        version=genesis.version,
        value_head=encode_header(value_head),
        health_head=HealthHead(health_txs_root([]), list_root([]), health.root),
        cross_root=list_root([]),
        next_epoch=0,
        next_validators=validators_cid(genesis.node_list),
        params_hash=params_hash(genesis.params),
    )


def _state_deltas(genesis: Genesis) -> tuple[MapDelta, MapDelta]:
    """Both maps of height 0 as deltas over nothing."""
    require_version(genesis.version)
    journal = Journal(lambda space, key: None)
    genesis_writes(journal, genesis)
    _write_balances(journal, genesis)
    health, value = (MAPS[space].compute_root(_Nothing(), journal.changes(space))[1] for space in (HEALTH, VALUE))
    return health, value


def _write_balances(journal: Journal, genesis: Genesis) -> None:
    total = 0
    for balance in genesis.balances:
        amount = _amount(balance.amount)
        if amount == 0 or journal.get(VALUE, account_key(balance.address)) is not None:
            raise GenesisInvalid("an account without coins, or named twice", address=balance.address.hex())
        write_account(journal, balance.address, Account(0, amount))
        total += amount
    if total != TOTAL_SUPPLY_AHCE:
        raise GenesisInvalid("balances are not the total supply", expected=TOTAL_SUPPLY_AHCE, actual=total)
    journal.put(VALUE, KEY_SUPPLY, amount_to_bytes(total))


def _amount(raw: bytes) -> int:
    try:
        return amount_from_bytes(raw)
    except ValueError as error:
        raise GenesisInvalid("an amount is not minimal") from error
