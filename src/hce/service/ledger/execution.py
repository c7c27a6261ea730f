"""One block over one journal, pure: the same lists over the same state give the same result on every machine.

    begin-block     (nothing in rules version 1)
    health list     fee owed by the payer's tank, a system transfer; then the contract. When the list ends: the fees of every
                    tank -> fee pool
    value list      signed Ethereum transfers
    end-block       base fees -> fee pool

A proposer and a validator run the very same steps. The proposer leaves out what raises; to the validator it makes the block invalid.
So there are two outcomes of a health transaction that must not be mixed up:

* *failed*: the contract refused. It is in the block, its receipt says why, it paid. The fee lies outside of the contract's
  checkpoint, the contract's own writes are rolled back;
* *unincludable*: replayed, expired, no room, no valid payer, a payer that cannot pay. Nothing changed and nobody paid, so a block
  that holds it is refused. A free transaction that fails is unincludable too: nobody would have paid for the work.

Nothing here reads a clock, a disk or a set in its own order; all bounds come from the genesis parameters and the constants below.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import Struct

from hce.foundation.store.journal import HEALTH, VALUE, Journal
from hce.foundation.types.blocks import MAX_LISTS_BYTES
from hce.foundation.types.errors import Bug, Refused
from hce.foundation.types.scalars import Address, amount_to_bytes
from hce.service.contracts.health import BlockEnv, HealthState, apply, payer_key, steps_of
from hce.service.contracts.value.accounts import SystemTransfer
from hce.service.contracts.value.execute import ValueReceipt, apply_transfer, credit_base_fees, transfer_steps
from hce.service.contracts.value.transactions import ValueTx, intrinsic_gas
from hce.service.ledger.errors import BlockFull, TxExpired, TxReplayed, TxTooFarAhead
from hce.service.ledger.fees import Fees
from hce.service.terms.proofs import HealthReceipt
from hce.service.terms.transactions import HealthTx

Seen = Callable[[bytes], bool]
"""Whether a health transaction id stands in a block of the replay window."""


class ExecutionEnv(Struct, frozen=True):
    """The numbers of the block under execution."""

    health: BlockEnv
    coinbase: Address
    """Operator of the block's author: earns the tips."""
    base_fee: int
    """aHCE per gas."""


class Executed(Struct, frozen=True):
    """What the lists did. `changes` are sorted by key; None deletes."""

    health_txs: list[HealthTx]
    value_txs: list[ValueTx]
    health_receipts: list[HealthReceipt]
    value_receipts: list[ValueReceipt]
    system_transfers: list[SystemTransfer]
    health_changes: dict[bytes, bytes | None]
    value_changes: dict[bytes, bytes | None]
    steps: int
    gas_used: int


def execute(
    journal: Journal, env: ExecutionEnv, seen: Seen, health_txs: Sequence[HealthTx], value_txs: Sequence[ValueTx]
) -> Executed:
    """Run a whole block; raises the `Refused` of the first transaction that cannot be in it."""
    block = BlockExecution(journal, env, seen)
    for health_tx in health_txs:
        block.add_health(health_tx)
    for value_tx in value_txs:
        block.add_value(value_tx)
    return block.finish()


class BlockExecution:
    """A block in the making. A transaction whose `add_…` raises left no trace, and the next one may be tried."""

    def __init__(self, journal: Journal, env: ExecutionEnv, seen: Seen) -> None:
        self._journal = journal
        self._env = env
        self._seen = seen
        self._ids: set[bytes] = set()
        self._health_txs: list[HealthTx] = []
        self._value_txs: list[ValueTx] = []
        self._health_receipts: list[HealthReceipt] = []
        self._value_receipts: list[ValueReceipt] = []
        self._fees = Fees(journal)
        self._bytes = 0
        self._gas = 0
        self.steps = 0
        """Steps taken so far."""

    def add_health(self, tx: HealthTx, most_steps: int | None = None) -> HealthReceipt:
        """Execute the next health transaction; its signatures were checked by `Admission`.

        A proposer says by `most_steps` that the block shall not hold more with it, though it might.
        """
        if self._value_txs:
            raise Bug("a health transaction after the value list began")
        check_window(tx, self._env.health, self._seen)
        if tx.id in self._ids:
            raise TxReplayed("twice in one block", tx_id=tx.id.hex())
        steps = steps_of(tx, self._env.health.params)
        if most_steps is not None and self.steps + steps > most_steps:
            raise BlockFull("the lane's share", what="steps", used=self.steps, more=steps, bound=most_steps)
        self._require_room(len(tx.raw), steps, gas=0)
        receipt = self._run_health(tx, steps)
        self._ids.add(tx.id)
        self._health_txs.append(tx)
        self._health_receipts.append(receipt)
        self._take_room(len(tx.raw), steps, gas=0)
        return receipt

    def add_value(self, tx: ValueTx) -> ValueReceipt:
        """Execute the next value transaction; its sender was recovered by `Admission`."""
        self._fees.collect()
        steps = transfer_steps(tx)
        # Ethereum asks for room for the whole gas limit, not for the gas that will be used.
        self._require_room(len(tx.raw), steps, gas=tx.gas_limit)
        receipt = apply_transfer(self._journal, tx, self._env.base_fee, self._env.coinbase, self._gas)
        self._value_txs.append(tx)
        self._value_receipts.append(receipt)
        self._take_room(len(tx.raw), steps, gas=intrinsic_gas(tx.access_list))
        return receipt

    def finish(self) -> Executed:
        """End of the block: credit the base fees and hand everything out. Once."""
        self._fees.collect()
        credit_base_fees(self._journal, self._gas, self._env.base_fee)
        return Executed(
            health_txs=self._health_txs,
            value_txs=self._value_txs,
            health_receipts=self._health_receipts,
            value_receipts=self._value_receipts,
            system_transfers=self._fees.transfers,
            health_changes=self._journal.changes(HEALTH),
            value_changes=self._journal.changes(VALUE),
            steps=self.steps,
            gas_used=self._gas,
        )

    def _run_health(self, tx: HealthTx, steps: int) -> HealthReceipt:
        if tx.body.payer is None:
            return HealthReceipt(tx.id, True, "", steps, amount_to_bytes(0), self._run_contract(tx))
        payer_key(tx, HealthState(self._journal), self._env.health)
        fee = fee_of(tx, self._env.health)
        self._fees.charge(tx.body.payer, fee, tx.id)
        try:
            return HealthReceipt(tx.id, True, "", steps, amount_to_bytes(fee), self._run_contract(tx))
        except Refused as refusal:
            return HealthReceipt(tx.id, False, refusal.code, steps, amount_to_bytes(fee), [])

    def _run_contract(self, tx: HealthTx) -> list[bytes]:
        """Ids the contract made; when it refuses, its writes are undone."""
        mark = self._journal.checkpoint()
        try:
            produced = apply(tx, self._journal, self._env.health)
        except Refused:
            self._journal.rollback(mark)
            raise
        self._journal.commit(mark)
        return produced

    def _require_room(self, size: int, steps: int, gas: int) -> None:
        params = self._env.health.params
        for what, used, more, bound in (
            ("bytes", self._bytes, size, MAX_LISTS_BYTES),
            ("steps", self.steps, steps, params.block_steps),
            ("gas", self._gas, gas, params.gas_limit),
        ):
            if used + more > bound:
                raise BlockFull(what=what, used=used, more=more, bound=bound)

    def _take_room(self, size: int, steps: int, gas: int) -> None:
        self._bytes += size
        self.steps += steps
        self._gas += gas


def check_window(tx: HealthTx, env: BlockEnv, seen: Seen) -> None:
    """Whether this body may stand in this block: not expired, not too far ahead, in none of the last blocks."""
    valid_until = tx.body.valid_until
    if valid_until < env.height:
        raise TxExpired(valid_until=valid_until, height=env.height)
    if valid_until > env.height + env.params.replay_window:
        raise TxTooFarAhead(valid_until=valid_until, height=env.height, replay_window=env.params.replay_window)
    if seen(tx.id):
        raise TxReplayed(tx_id=tx.id.hex())


def fee_of(tx: HealthTx, env: BlockEnv) -> int:
    """What the payer owes whether the contract succeeds or not, aHCE."""
    return 0 if tx.body.payer is None else steps_of(tx, env.params) * env.params.step_price_ahce
