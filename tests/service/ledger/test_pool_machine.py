"""Hypothesis plays arrivals, blocks and evictions against the pool: an id the pool answers for is one that a proposer is offered."""

from __future__ import annotations

import hashlib

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from msgspec import Struct

from hce.foundation.codec.cid import cid_of_raw
from hce.service.contracts.value.accounts import Account
from hce.service.ledger.errors import PayerCannotPay, PoolFull
from hce.service.ledger.pool import LANE_OF_UNPAID, Pool, PoolLimits
from hce.service.terms.payloads import tank_address
from hce.service.terms.transactions import TX_DOMAIN, UNPAID_KINDS, HealthBody, HealthTx, RoleSignature

PAYERS = [hashlib.sha256(bytes([number])).digest() for number in range(4)]
TANK = 9
"""Fees of one each that a full tank covers."""
LIMITS = PoolLimits(
    revoke_count=3,
    rotate_count=2,
    node_count=3,
    node_per_voter=2,
    paid_count=6,
    paid_bytes=6 * 60,
    revoke_bytes=200,
    rotate_bytes=200,
)


class AboutNothing(Struct):
    subject: bytes


def made(number: int, kind: str, payer: bytes | None, size: int, until: int, role: str = "payer", signer: int = 0) -> HealthTx:
    """A transaction that waits; nothing here looks at its signatures or at what its bytes say."""
    raw = number.to_bytes(4, "big") + bytes(size)
    body = HealthBody(TX_DOMAIN, bytes(16), kind, AboutNothing(raw), payer, until)
    return HealthTx(cid_of_raw(raw), body, [RoleSignature(role, bytes([signer]) * 32, bytes(64))], raw)


class PoolGame(RuleBasedStateMachine):
    """The model is the set of ids that wait. Whoever leaves it has a reason that a rule names."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = Pool(LIMITS)
        self.waiting: dict[bytes, HealthTx] = {}
        self.balances = dict.fromkeys(PAYERS, TANK)
        self.numbers = 0
        self.height = 1

    def fresh(self, kind: str, payer: bytes | None, size: int, ahead: int, role: str = "payer", signer: int = 0) -> HealthTx:
        self.numbers += 1
        return made(self.numbers, kind, payer, size, self.height + ahead, role, signer)

    @rule(payer=st.sampled_from(PAYERS), size=st.integers(0, 200), ahead=st.integers(1, 4))
    def pay(self, payer: bytes, size: int, ahead: int) -> None:
        tx = self.fresh("grant.open", payer, size, ahead)
        before = {tx_id: self.count_of(waiting.body.payer) for tx_id, waiting in self.waiting.items()}
        try:
            self.pool.add_paid(tx, payer, 1, self.balances[payer])
        except (PoolFull, PayerCannotPay):
            assert tx.id not in self.pool
            assert all(tx_id in self.pool for tx_id in self.waiting), "a refused one took somebody's place"
            return
        self.waiting[tx.id] = tx
        for tx_id in [tx_id for tx_id in self.waiting if tx_id not in self.pool]:
            assert before[tx_id] >= self.count_of(payer) - 1 + 2, "only the clearly busier give way"
            del self.waiting[tx_id]

    @rule(kind=st.sampled_from(sorted(UNPAID_KINDS)), size=st.integers(0, 120), ahead=st.integers(1, 4), signer=st.integers(0, 2))
    def act_free(self, kind: str, size: int, ahead: int, signer: int) -> None:
        tx = self.fresh(kind, None, size, ahead, "node" if LANE_OF_UNPAID[kind] == "node" else "owner", signer)
        try:
            self.pool.add_free(tx)
        except PoolFull:
            assert tx.id not in self.pool
            return
        self.waiting[tx.id] = tx

    @rule(data=st.data())
    def submit_again(self, data: st.DataObject) -> None:
        if not self.waiting:
            return
        tx = data.draw(st.sampled_from(list(self.waiting.values())))
        payer = tx.body.payer
        if payer is None:
            self.pool.add_free(tx)
        else:
            self.pool.add_paid(tx, payer, 1, self.balances[payer])

    @rule(data=st.data())
    def evict(self, data: st.DataObject) -> None:
        if self.waiting:
            tx_id = data.draw(st.sampled_from(list(self.waiting)))
            self.pool.evict(tx_id)
            del self.waiting[tx_id]

    @rule(data=st.data(), drained=st.sampled_from([None, *PAYERS]), left=st.integers(0, TANK))
    def block(self, data: st.DataObject, drained: bytes | None, left: int) -> None:
        included = (
            data.draw(st.lists(st.sampled_from(list(self.waiting.values())), unique_by=lambda tx: tx.id)) if self.waiting else []
        )
        accounts = {} if drained is None else {tank_address(drained): Account(0, left)}
        if drained is not None:
            self.balances[drained] = left
        self.pool.after_block(self.height, included, [], accounts)
        for tx in included:
            del self.waiting[tx.id]
        for tx_id in [tx_id for tx_id, tx in self.waiting.items() if tx.body.valid_until <= self.height]:
            del self.waiting[tx_id]
        for tx_id, tx in reversed(list(self.waiting.items())):
            if drained is not None and tx.body.payer == drained and self.count_of(drained) > left:
                del self.waiting[tx_id]
        self.height += 1

    @invariant()
    def what_it_answers_for_is_what_it_offers(self) -> None:
        offered = self.pool.health_candidates(1_000)
        ids = [tx.id for tx in (*offered.free, *offered.node, *offered.paid)]
        assert len(ids) == len(set(ids))
        assert set(ids) == set(self.waiting) == {tx_id for tx_id in self.waiting if tx_id in self.pool}
        assert len(self.pool) == len(ids)

    @invariant()
    def no_lane_holds_more_than_it_may(self) -> None:
        offered = self.pool.health_candidates(1_000)
        assert len(offered.paid) <= LIMITS.paid_count
        assert sum(len(tx.raw) for tx in offered.paid) <= LIMITS.paid_bytes
        assert len(offered.node) <= LIMITS.node_count
        for payer in PAYERS:
            assert self.count_of(payer) <= self.balances[payer]

    def count_of(self, payer: bytes | None) -> int:
        return sum(tx.body.payer == payer for tx in self.waiting.values())


TestPoolGame = PoolGame.TestCase
TestPoolGame.settings = settings(max_examples=120, stateful_step_count=30, deadline=None)


def test_a_transaction_that_is_refused_in_the_end_costs_nobody_a_place() -> None:
    """Bytes, not count: the busiest would have to lose more than it has over the newcomer."""
    pool = Pool(PoolLimits(paid_bytes=4 * 14))
    waiting = [made(number, "grant.open", PAYERS[0], 10, 9) for number in range(4)]
    for tx in waiting:
        pool.add_paid(tx, PAYERS[0], 1, TANK)
    with pytest.raises(PoolFull):
        pool.add_paid(made(9, "grant.open", PAYERS[1], 52, 9), PAYERS[1], 1, TANK)
    assert [tx.id for tx in pool.health_candidates(9).paid] == [tx.id for tx in waiting]


def test_who_gave_way_may_come_again_and_is_not_answered_for_meanwhile() -> None:
    pool = Pool(PoolLimits(paid_count=3))
    waiting = [made(number, "grant.open", PAYERS[0], 10, 9) for number in range(3)]
    for tx in waiting:
        pool.add_paid(tx, PAYERS[0], 1, TANK)
    pool.add_paid(made(9, "grant.open", PAYERS[1], 10, 9), PAYERS[1], 1, TANK)
    assert waiting[2].id not in pool
    pool.evict(waiting[0].id)
    pool.add_paid(waiting[2], PAYERS[0], 1, TANK)
    assert waiting[2].id in {tx.id for tx in pool.health_candidates(9).paid}
