"""Hypothesis plays both chains at once: tanks run dry, transactions fail, repeat and come too early. A proposer and a validator follow.

What must hold after every block: the validator accepts what the proposer made, both come to the same bytes as a third execution without
memory, no coin appeared or vanished, and the fee pool grew by exactly what the receipts say.
"""

from __future__ import annotations

import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from tests.service.ledger.chain import (
    ALICE,
    BOB,
    GWEI,
    Chain,
    access,
    address_of,
    enrol,
    open_grant,
    pay,
    revoke_grant,
    tank,
    vote,
)

from hce.foundation.types.blocks import LedgerBlock
from hce.foundation.types.errors import Refused
from hce.foundation.types.scalars import amount_from_bytes
from hce.service.contracts.value.header import decode_header
from hce.service.terms.genesis import TOTAL_SUPPLY_AHCE
from hce.service.terms.payloads import FEE_POOL

ORGANISATIONS = st.sampled_from(["clinic", "clinic", "clinic", "rival"])
SENDERS = st.sampled_from([ALICE, BOB])
GRANTS = st.sampled_from(["g", "h"])
OWNERS = st.sampled_from(["ann", "ben"])
AHEAD = st.sampled_from([3, 0, 10, 5, 6, 7, 8, -1, 11])
"""valid_until beyond the next height: too low, just right and too high."""
MEMORY = Path("/dev/shm")
"""Nothing here tests the disk, and two ledgers sync a lot."""
ABOUT_TWO_FEES = 2 * 700 * 10**10


class TwoChains(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None)
        self.proposer = Chain(Path(self.folder.name) / "proposer")
        self.validator = Chain(Path(self.folder.name) / "validator")
        self.offered: list[bytes] = []

    def teardown(self) -> None:
        self.proposer.close()
        self.validator.close()
        self.folder.cleanup()

    @initialize(coins=st.integers(1, 4))
    def found(self, coins: int) -> None:
        """One organisation with a few fees in its tank, one with an empty tank."""
        transfer = pay(ALICE, tank("clinic"), coins * ABOUT_TWO_FEES, 0)
        self.settle(self.proposer.forge([vote("clinic", 5), vote("rival", 5)], [transfer]))

    def until(self, ahead: int) -> int:
        return max(0, self.proposer.next_height + ahead)

    def offer(self, raw: bytes) -> None:
        self.offered.append(raw)
        with suppress(Refused):
            self.proposer.ledger.check_tx(raw)

    @rule(name=ORGANISATIONS, ahead=AHEAD)
    def certify(self, name: str, ahead: int) -> None:
        self.offer(vote(name, self.until(ahead)))

    @rule(name=ORGANISATIONS, sender=SENDERS, coins=st.integers(0, 3 * ABOUT_TWO_FEES), gap=st.sampled_from([0, 0, 1]))
    def fund(self, name: str, sender: Any, coins: int, gap: int) -> None:
        nonce = self.proposer.queries.account(address_of(sender)).nonce
        self.offer(pay(sender, tank(name), coins, nonce + gap))

    @rule(sender=SENDERS, to=SENDERS, tip=st.integers(0, 3), gap=st.sampled_from([0, 0, 1, 2, -1]))
    def transfer(self, sender: Any, to: Any, tip: int, gap: int) -> None:
        nonce = max(0, self.proposer.queries.account(address_of(sender)).nonce + gap)
        fields = {"maxFeePerGas": GWEI * (tip + 1) // 2, "maxPriorityFeePerGas": GWEI * tip // 8}
        self.offer(pay(sender, address_of(to), 7, nonce, **fields))

    @rule(owner=OWNERS, payer=ORGANISATIONS, ahead=AHEAD)
    def enrol(self, owner: str, payer: str, ahead: int) -> None:
        self.offer(enrol(owner, payer, self.until(ahead)))

    @rule(name=GRANTS, payer=ORGANISATIONS, ahead=AHEAD)
    def grant(self, name: str, payer: str, ahead: int) -> None:
        self.offer(open_grant(name, payer, self.until(ahead)))

    @rule(name=GRANTS, payer=ORGANISATIONS, number=st.integers(0, 2), ahead=AHEAD)
    def read(self, name: str, payer: str, number: int, ahead: int) -> None:
        self.offer(access(name, number, payer, self.until(ahead)))

    @rule(name=GRANTS, ahead=AHEAD)
    def revoke(self, name: str, ahead: int) -> None:
        self.offer(revoke_grant(name, self.until(ahead)))

    @rule()
    def propose(self) -> None:
        self.settle(self.proposer.propose())

    @rule(data=st.data())
    def propose_what_the_pool_would_not(self, data: st.DataObject) -> None:
        """Any order of anything ever offered: execution takes it or names why not, and then so does every validator."""
        chosen = data.draw(st.lists(st.sampled_from(self.offered), max_size=4)) if self.offered else []
        health, value = [raw for raw in chosen if raw[0] == 0x82], [raw for raw in chosen if raw[0] != 0x82]
        try:
            block = self.proposer.forge(health, value)
        except Refused:
            return
        self.settle(block)

    def settle(self, block: LedgerBlock) -> None:
        before = {address: self.proposer.balance(address) for address in (FEE_POOL, tank("clinic"), tank("rival"))}
        afresh, _ = self.proposer.run(block.health_txs, block.value_txs)
        assert afresh == block.header
        assert self.validator.finish(block) == block.header
        self.proposer.finish(block)
        assert self.proposer.supply() == TOTAL_SUPPLY_AHCE == self.validator.supply()
        self.check_fees(block, before)

    def check_fees(self, block: LedgerBlock, before: dict[bytes, int]) -> None:
        results = self.validator.queries.results_at(self.validator.ledger.height)
        head = decode_header(block.header.value_head)
        fees = sum(amount_from_bytes(receipt.fee) for receipt in results.health)
        assert self.validator.balance(FEE_POOL) == before[FEE_POOL] + fees + head.gas_used * head.base_fee
        assert head.gas_used == sum(receipt.gas_used for receipt in results.value)
        for address in (tank("clinic"), tank("rival")):
            paid = sum(amount_from_bytes(moved.amount) for moved in results.transfers if moved.sender == address)
            assert self.validator.balance(address) >= before[address] - paid >= 0


TestTwoChains = TwoChains.TestCase
TestTwoChains.settings = settings(
    max_examples=25, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
