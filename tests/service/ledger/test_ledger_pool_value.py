"""The pool's lane of transfers: by nonce within a sender, by tip between senders, never more than the account holds."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.service.ledger.chain import ALICE, BOB, GWEI, HCET, Chain, address_of, pay

from hce.service.contracts.value.errors import CannotPay, NonceWrong
from hce.service.ledger.errors import PoolFull, TxPending

SHOP = b"\x77" * 20


def test_transfers_wait_for_the_nonce_before_them(chain: Chain) -> None:
    chain.ledger.check_tx(pay(ALICE, SHOP, 1, 1))
    assert chain.propose().value_txs == []
    chain.ledger.check_tx(pay(ALICE, SHOP, 1, 0))
    chain.finish(chain.propose())
    assert chain.queries.account(address_of(ALICE)).nonce == 2
    assert len(chain.ledger.pool) == 0


def test_the_better_tip_goes_first(chain: Chain) -> None:
    generous = pay(BOB, SHOP, 1, 0, maxPriorityFeePerGas=GWEI)
    thrifty = [pay(ALICE, SHOP, 1, nonce, maxPriorityFeePerGas=1) for nonce in range(2)]
    for raw in (*thrifty, generous):
        chain.ledger.check_tx(raw)
    assert chain.propose().value_txs == [generous, *thrifty]


def test_a_transfer_is_replaced_for_a_tenth_more(chain: Chain) -> None:
    chain.ledger.check_tx(pay(ALICE, SHOP, 1, 0))
    with pytest.raises(TxPending):
        chain.ledger.check_tx(pay(ALICE, SHOP, 2, 0, maxFeePerGas=2 * GWEI + 1, maxPriorityFeePerGas=2 * GWEI))
    better = pay(ALICE, SHOP, 2, 0, maxFeePerGas=22 * GWEI // 10, maxPriorityFeePerGas=11 * GWEI // 10)
    chain.ledger.check_tx(better)
    assert chain.propose().value_txs == [better]
    assert len(chain.ledger.pool) == 1


def test_waiting_transfers_never_add_up_to_more_than_the_account(chain: Chain) -> None:
    everything = chain.balance(address_of(ALICE))
    chain.ledger.check_tx(pay(ALICE, SHOP, everything - HCET, 0))
    with pytest.raises(CannotPay):
        chain.ledger.check_tx(pay(ALICE, SHOP, HCET, 1))
    chain.ledger.check_tx(pay(ALICE, SHOP, HCET // 2, 1))
    chain.add([], [pay(ALICE, SHOP, 3 * HCET // 4, 0)])
    assert len(chain.ledger.pool) == 1
    chain.add([], [pay(ALICE, SHOP, everything - HCET, 1)])
    assert len(chain.ledger.pool) == 0


def test_the_value_lane_is_bounded_by_sender_and_in_all(small: Callable[..., Chain]) -> None:
    chain = small(value_per_sender=2, value_count=3)
    first = chain.queries.account(address_of(ALICE)).nonce
    with pytest.raises(NonceWrong):
        chain.ledger.check_tx(pay(ALICE, SHOP, 1, first + 2))
    for raw in (pay(ALICE, SHOP, 1, first), pay(ALICE, SHOP, 1, first + 1), pay(BOB, SHOP, 1, 0)):
        chain.ledger.check_tx(raw)
    with pytest.raises(PoolFull):
        chain.ledger.check_tx(pay(BOB, SHOP, 1, 1))
