"""What cannot be a transaction of rules version 1, each by its name."""

from __future__ import annotations

from typing import Any

import pytest
import rlp
from eth_account import Account
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.service.ledger.chain import ALICE, BOB, EIP155, GWEI, HCET, Chain, address_of, pay, tank

from hce.foundation.crypto.errors import BadEthSignature
from hce.foundation.crypto.secp import ORDER
from hce.foundation.types.errors import HceError, Refused, TooLarge
from hce.service.contracts.value.errors import (
    CannotPay,
    CarriesData,
    CreatesContract,
    FeeTooLow,
    GasTooLow,
    NonceWrong,
    ReservedAddress,
    TypeNotSupported,
    Unprotected,
    ValueMalformed,
    WrongEthChain,
)
from hce.service.contracts.value.transactions import MAX_VALUE_TX_BYTES, decode_value_tx
from hce.service.ledger.errors import BlockFull
from hce.service.terms.genesis import TOTAL_SUPPLY_AHCE
from hce.service.terms.payloads import FEE_POOL

SHOP = b"\x77" * 20
LEGACY = {"gasPrice": GWEI}


def refused(raw: bytes) -> type[HceError]:
    with pytest.raises(Refused) as caught:
        decode_value_tx(raw, EIP155)
    return type(caught.value)


def fields_of(raw: bytes) -> list[Any]:
    return list(rlp.decode(raw))


@pytest.mark.parametrize("fields", [LEGACY, {"gasPrice": GWEI, "type": 1, "accessList": []}, {}])
def test_a_transfer_has_no_data_and_a_recipient(fields: dict[str, Any]) -> None:
    assert refused(pay(ALICE, SHOP, 1, 0, data=b"\x01", gas=30_000, **fields)) is CarriesData
    assert refused(pay(ALICE, b"", 1, 0, gas=60_000, **fields)) is CreatesContract


@pytest.mark.parametrize("number", [0, 1, 0x11, 0x100, 0x1FF])
def test_precompiles_are_not_paid(number: int) -> None:
    assert refused(pay(ALICE, number.to_bytes(20, "big"), 1, 0)) is ReservedAddress


def test_the_fee_pool_is_not_paid_and_the_next_address_is() -> None:
    assert refused(pay(ALICE, FEE_POOL, 1, 0)) is ReservedAddress
    assert decode_value_tx(pay(ALICE, (0x200).to_bytes(20, "big"), 1, 0), EIP155).value == 1
    assert decode_value_tx(pay(ALICE, tank("clinic"), 1, 0), EIP155).to == tank("clinic")


@pytest.mark.parametrize("fields", [LEGACY, {"gasPrice": GWEI, "type": 1, "accessList": []}, {}])
def test_another_chain_id_is_refused(fields: dict[str, Any]) -> None:
    assert refused(pay(ALICE, SHOP, 1, 0, chainId=EIP155 + 1, **fields)) is WrongEthChain


def test_a_signature_without_chain_id_is_refused() -> None:
    unprotected = fields_of(pay(ALICE, SHOP, 1, 0, **LEGACY))
    for v in (27, 28):
        assert refused(rlp.encode([*unprotected[:6], bytes([v]), *unprotected[7:]])) is Unprotected


@pytest.mark.parametrize("type_", [3, 4, 5, 0x7F])
def test_other_types_are_refused(type_: int) -> None:
    assert refused(bytes([type_]) + pay(ALICE, SHOP, 1, 0)[1:]) is TypeNotSupported


def test_a_high_s_is_another_spelling_and_refused() -> None:
    fields = list(rlp.decode(pay(ALICE, SHOP, 1, 0)[1:]))
    s = ORDER - int.from_bytes(fields[-1], "big")
    parity = b"" if fields[-3] == b"\x01" else b"\x01"
    assert refused(b"\x02" + rlp.encode([*fields[:-3], parity, fields[-2], s.to_bytes(32, "big")])) is BadEthSignature


def test_gas_must_cover_the_access_list() -> None:
    access = [{"address": ALICE.address, "storageKeys": ["0x" + "00" * 32]}]
    needed = 21_000 + 2_400 + 1_900
    assert decode_value_tx(pay(ALICE, SHOP, 1, 0, accessList=access, gas=needed), EIP155).gas_limit == needed
    assert refused(pay(ALICE, SHOP, 1, 0, accessList=access, gas=needed - 1)) is GasTooLow
    assert refused(pay(ALICE, SHOP, 1, 0, gas=20_999)) is GasTooLow


def test_a_tip_above_the_fee_is_refused() -> None:
    assert refused(pay(ALICE, SHOP, 1, 0, maxFeePerGas=5, maxPriorityFeePerGas=6)) is FeeTooLow


@pytest.mark.parametrize("raw", [b"", b"\x00", b"\x02", b"\x80", b"\xc0", b"\x02\xc0", b"\xbf", b"\x02\x80"])
def test_bytes_that_are_no_transaction_are_refused(raw: bytes) -> None:
    assert refused(raw) is ValueMalformed


def test_numbers_have_one_spelling() -> None:
    fields = fields_of(pay(ALICE, SHOP, 1, 0, **LEGACY))
    assert refused(rlp.encode([b"\x00", *fields[1:]])) is ValueMalformed
    assert refused(rlp.encode([*fields[:4], b"\x00\x01", *fields[5:]])) is ValueMalformed
    assert refused(rlp.encode([*fields[:4], [], *fields[5:]])) is ValueMalformed
    assert refused(pay(ALICE, SHOP, 1, 0, **LEGACY) + b"\x00") is ValueMalformed
    assert refused(pay(ALICE, SHOP, 1, 2**64 - 1)) is ValueMalformed


def test_a_broken_access_list_is_refused() -> None:
    fields = list(rlp.decode(pay(ALICE, SHOP, 1, 0)[1:]))
    for access in (b"", [b""], [[b"\x01" * 19, []]], [[b"\x01" * 20, [b"\x01" * 31]]], [[b"\x01" * 20, b""]], [[b"\x01" * 20]]):
        assert refused(b"\x02" + rlp.encode([*fields[:8], access, *fields[9:]])) is ValueMalformed


def test_a_transaction_beyond_the_bound_is_refused_unread() -> None:
    assert refused(b"\x02" + bytes(MAX_VALUE_TX_BYTES + 1)) is TooLarge


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_changed_bytes_are_refused_or_another_transaction(data: st.DataObject) -> None:
    raw = bytearray(pay(ALICE, SHOP, HCET, 3))
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        tx = decode_value_tx(bytes(raw), EIP155)
    except Refused:
        return
    assert tx.sender != address_of(ALICE) or bytes(raw) == pay(ALICE, SHOP, HCET, 3)


def test_a_sender_needs_the_whole_possible_fee(chain: Chain) -> None:
    poor = Account.from_key(b"\x05" * 32)
    cost = 21_000 * 2 * GWEI + 5
    chain.add([], [pay(ALICE, address_of(poor), cost - 1, 0)])
    with pytest.raises(CannotPay):
        chain.forge([], [pay(poor, SHOP, 5, 0)])
    with pytest.raises(CannotPay):
        chain.ledger.check_tx(pay(poor, SHOP, 5, 0))
    chain.add([], [pay(ALICE, address_of(poor), 1, 1)])
    chain.add([], [pay(poor, SHOP, 5, 0)])
    assert chain.balance(SHOP) == 5


def test_an_account_that_gave_everything_away_keeps_its_nonce(chain: Chain) -> None:
    price = 4 * GWEI
    everything = TOTAL_SUPPLY_AHCE // 2 - 21_000 * price
    chain.add([], [pay(ALICE, SHOP, everything, 0, gasPrice=price)])
    account = chain.queries.account(address_of(ALICE))
    assert (account.nonce, account.balance) == (1, 0)
    with pytest.raises(NonceWrong):
        chain.forge([], [pay(ALICE, SHOP, everything, 0, gasPrice=price)])


def test_a_fee_below_the_base_fee_waits_for_another_block(chain: Chain) -> None:
    with pytest.raises(FeeTooLow):
        chain.forge([], [pay(BOB, SHOP, 1, 0, maxFeePerGas=7, maxPriorityFeePerGas=0)])
    chain.ledger.check_tx(pay(BOB, SHOP, 1, 0, maxFeePerGas=7, maxPriorityFeePerGas=0))
    assert chain.propose().value_txs == []
    assert len(chain.ledger.pool) == 1


def test_a_gas_limit_beyond_the_block_does_not_fit(chain: Chain) -> None:
    with pytest.raises(BlockFull) as caught:
        chain.forge([], [pay(BOB, SHOP, 1, 0, gas=chain.params.gas_limit + 1)])
    assert caught.value.fields["what"] == "gas"
