"""A flood takes the flooder's own share and nobody else's: how many blocks a stranger's transaction waits is a number."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from eth_account import Account
from tests.service.ledger.chain import ALICE, BOB, GWEI, Chain, address_of, enrol, pay

from hce.service.ledger.errors import PoolFull
from hce.service.ledger.pool import PoolLimits
from hce.service.terms.genesis import Params

IN_A_BLOCK = 8
"""Enrolments that fit the small blocks of these tests."""
FULL = 60
UNTIL = 40
SHOP = b"\x77" * 20
BEGGARS = [Account.from_key(hashlib.sha256(b"beggar %d" % number).digest()) for number in range(10)]


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[Chain]:
    """Blocks of eight enrolments, lanes of sixty, seven organisations that can pay."""
    steps = Chain(tmp_path / "measured")
    steps.found("clinic")
    _, executed = steps.run([enrol("one", "clinic", 5)])
    steps.close()
    params = Params(replay_window=100, block_steps=executed.steps * IN_A_BLOCK + 1)
    made = Chain(tmp_path / "small", params=params, pool_limits=PoolLimits(paid_count=FULL, value_count=FULL))
    for name in ("clinic", "rival", *(f"flooder {number}" for number in range(5))):
        made.found(name)
    yield made
    made.close()


def flood(chain: Chain, payers: Sequence[str], each: int) -> None:
    for number in range(each):
        for payer in payers:
            chain.ledger.check_tx(enrol(f"{payer} patient {number}", payer, UNTIL))


def blocks_until(chain: Chain, raw: bytes) -> int:
    """Blocks made until this one is in a block."""
    for count in range(1, 20):
        block = chain.propose()
        chain.finish(block)
        if raw in (*block.health_txs, *block.value_txs):
            return count
    raise AssertionError("never")


def test_one_payer_who_fills_the_pool_keeps_nobody_out_of_the_next_block(chain: Chain) -> None:
    flood(chain, ["clinic"], FULL)
    stranger = enrol("stranger", "rival", UNTIL)
    chain.ledger.check_tx(stranger)
    assert blocks_until(chain, stranger) == 1


def test_among_many_who_flood_a_stranger_waits_one_round_of_payers(chain: Chain) -> None:
    flooders = ["clinic", *(f"flooder {number}" for number in range(5))]
    flood(chain, flooders, FULL // len(flooders))
    stranger = enrol("stranger", "rival", UNTIL)
    chain.ledger.check_tx(stranger)
    assert blocks_until(chain, stranger) <= -(-(len(flooders) + 1) // IN_A_BLOCK)


def test_a_flooder_who_goes_on_flooding_keeps_the_same_stranger_out_no_longer(chain: Chain) -> None:
    """Ten transactions of a stranger among a thousand of a flooder: every block has one of the stranger's at least."""
    wanted = [enrol(f"stranger {number}", "rival", UNTIL) for number in range(10)]
    for raw in wanted:
        chain.ledger.check_tx(raw)
    number = 0
    for _ in range(10):
        while True:
            try:
                chain.ledger.check_tx(enrol(f"flood {number}", "clinic", UNTIL))
            except PoolFull:
                break
            number += 1
        block = chain.propose()
        chain.finish(block)
        assert not wanted or any(raw in wanted for raw in block.health_txs)
        wanted = [raw for raw in wanted if raw not in block.health_txs]
    assert wanted == []


def give_to_beggars(chain: Chain) -> None:
    nonce = chain.queries.account(address_of(ALICE)).nonce
    gifts = [pay(ALICE, address_of(one), 10**6 * GWEI, nonce + place) for place, one in enumerate(BEGGARS)]
    for start in range(0, len(gifts), 2):
        chain.add([], gifts[start : start + 2])


def test_accounts_that_offer_next_to_nothing_keep_no_transfer_out(chain: Chain) -> None:
    """They would wait for ever, for the base fee is above what they offer; full of them, the lane is open to who pays."""
    give_to_beggars(chain)
    for beggar in BEGGARS:
        for nonce in range(FULL // len(BEGGARS)):
            chain.ledger.check_tx(pay(beggar, SHOP, 0, nonce, maxFeePerGas=7, maxPriorityFeePerGas=0))
    assert len(chain.ledger.pool) == FULL
    for nonce in range(3):
        chain.ledger.check_tx(pay(BOB, SHOP, 1, nonce))
    last = pay(BOB, SHOP, 1, 3)
    chain.ledger.check_tx(last)
    assert len(chain.ledger.pool) <= FULL
    assert blocks_until(chain, last) == 1


def test_whoever_offers_no_more_than_those_that_wait_pushes_nobody_out(chain: Chain) -> None:
    give_to_beggars(chain)
    waiting = [pay(beggar, SHOP, 0, nonce) for beggar in BEGGARS for nonce in range(FULL // len(BEGGARS))]
    for raw in waiting:
        chain.ledger.check_tx(raw)
    with pytest.raises(PoolFull):
        chain.ledger.check_tx(pay(BOB, SHOP, 1, 0, maxFeePerGas=2 * GWEI + 1))
    assert len(chain.ledger.pool) == FULL


def test_transfers_behind_gaps_take_no_more_than_half_of_the_lane(chain: Chain) -> None:
    """However much they offer: they cost nothing until the gap is filled."""
    give_to_beggars(chain)
    taken = refused = 0
    for beggar in BEGGARS:
        for nonce in range(1, 1 + FULL // len(BEGGARS)):
            try:
                chain.ledger.check_tx(pay(beggar, SHOP, 0, nonce, maxFeePerGas=5 * GWEI))
                taken += 1
            except PoolFull:
                refused += 1
    assert (taken, refused) == (FULL // 2, FULL // 2)
    honest = pay(BOB, SHOP, 1, 0)
    chain.ledger.check_tx(honest)
    assert blocks_until(chain, honest) == 1
