"""Height 0 follows from the genesis file alone, and a folder belongs to one genesis."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from tests.service.ledger.chain import ALICE, BOB, Chain, address_of, genesis_of

from hce.foundation.codec.cid import cid_of_dag_cbor
from hce.foundation.codec.dagcbor import encode
from hce.foundation.store.kv import KeyValueStore
from hce.foundation.types.errors import Bug
from hce.foundation.types.scalars import amount_from_bytes, amount_to_bytes
from hce.service.contracts.value.accounts import KEY_SUPPLY
from hce.service.contracts.value.header import decode_header
from hce.service.ledger.errors import GenesisInvalid, GenesisMismatch, UnknownVersion
from hce.service.ledger.final import HEADS, Head, height_key
from hce.service.ledger.genesis import genesis_block
from hce.service.ledger.ledger import Ledger
from hce.service.terms.genesis import TOTAL_SUPPLY_AHCE, Genesis, GenesisBalance, Params, validators_cid

replace = msgspec.structs.replace
GENESIS = genesis_of()


def open_store(folder: Path) -> KeyValueStore:
    return KeyValueStore.open(folder, tables=Ledger.tables(), map_size=1 << 24)


def open_ledger(store: KeyValueStore, genesis: Genesis) -> Ledger:
    return Ledger(store, genesis, on_revokes=lambda grants: None, monotonic_ns=lambda: 0)


def test_the_first_block_is_the_same_everywhere(chain: Chain) -> None:
    block = genesis_block(GENESIS)
    assert block == genesis_block(GENESIS)
    assert block.ledger.header == chain.queries.header_at(0)
    assert block.header.ledger_header == cid_of_dag_cbor(encode(block.ledger.header))
    assert (block.header.height, block.header.parent, block.last_commit) == (0, None, None)
    assert block.ledger.header.next_validators == validators_cid(GENESIS.node_list)
    assert decode_header(block.ledger.header.value_head).base_fee == GENESIS.params.base_fee_wei


def test_the_state_of_height_0_holds_the_balances_and_the_nodes(chain: Chain) -> None:
    assert chain.ledger.height == 0
    assert chain.supply() == TOTAL_SUPPLY_AHCE
    assert chain.balance(address_of(BOB)) == TOTAL_SUPPLY_AHCE // 2
    supply, _, _ = chain.queries.prove("value", KEY_SUPPLY)
    assert supply is not None
    assert amount_from_bytes(supply) == TOTAL_SUPPLY_AHCE
    assert chain.health.keyholders() == GENESIS.keyholders
    with chain.queries.snapshot() as view:
        assert view.nodes() == GENESIS.node_list


@pytest.mark.parametrize("change", [-1, 1])
def test_balances_are_exactly_the_total_supply(tmp_path: Path, change: int) -> None:
    first, second = GENESIS.balances
    wrong = replace(first, amount=amount_to_bytes(amount_from_bytes(first.amount) + change))
    with open_store(tmp_path) as store:
        with pytest.raises(GenesisInvalid):
            Ledger.create(store, replace(GENESIS, balances=[wrong, second]))
        assert not Ledger.exists(store)


def test_an_account_is_named_once_and_has_coins() -> None:
    half = amount_to_bytes(TOTAL_SUPPLY_AHCE // 2)
    twice = [GenesisBalance(address_of(ALICE), half), GenesisBalance(address_of(ALICE), half)]
    empty = [*GENESIS.balances, GenesisBalance(bytes(20), b"")]
    padded = [GenesisBalance(address_of(ALICE), b"\x00" + half), GENESIS.balances[1]]
    for balances in (twice, empty, padded):
        with pytest.raises(GenesisInvalid):
            genesis_block(replace(GENESIS, balances=balances))


def test_a_folder_of_another_genesis_is_refused(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        with pytest.raises(GenesisMismatch):
            open_ledger(store, GENESIS)
        Ledger.create(store, GENESIS)
        assert open_ledger(store, GENESIS).height == 0
        with pytest.raises(GenesisMismatch):
            open_ledger(store, genesis_of(Params(replay_window=11)))
        with pytest.raises(Bug):
            Ledger.create(store, GENESIS)


def test_newer_rules_stop_with_a_name(tmp_path: Path) -> None:
    with pytest.raises(UnknownVersion):
        genesis_block(replace(GENESIS, version=2))
    with open_store(tmp_path) as store:
        Ledger.create(store, GENESIS)
        head = Head(GENESIS.time_ms, replace(genesis_block(GENESIS).ledger.header, version=2))
        with store.write() as batch:
            batch.put(HEADS, height_key(0), encode(head))
        with pytest.raises(UnknownVersion):
            open_ledger(store, GENESIS)
