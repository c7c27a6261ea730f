"""Transactions that wait for a block, in five lanes with bounds of their own, so that one full lane closes no other.

    revoke    revocations: no payer; stays open whatever the others do
    rotate    rotations of compartments: no payer
    node      votes and anchors of super nodes: no payer, so many of each node
    paid      everything an organisation's tank pays for
    value     signed Ethereum transfers

An id the pool answered for waits in a lane until a block holds it, it ends, or the pool throws it out; then the pool does not know it
any more, and who submits it again gets it a place or hears why not.

After a block only what it touched is looked at: what it included, what ran out, and the accounts it changed. Checking everything again
would put the whole pool between two blocks. What went stale otherwise is found when a proposal is filled, and thrown out there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from itertools import islice
from threading import RLock

from msgspec import Struct

from hce.service.contracts.value.accounts import Account
from hce.service.contracts.value.transactions import ValueTx
from hce.service.ledger.lanes import PaidLane, PaidTx, SlotLane
from hce.service.ledger.value_lane import ValueLane
from hce.service.terms.transactions import HealthTx

LANE_OF_UNPAID = {
    "grant.revoke": "revoke",
    "credential.revoke": "revoke",
    "compartment.rotate": "rotate",
    "organisation.vote": "node",
    "organisation.revoke": "node",
    "anchor.post": "node",
    "portal.vote": "node",
}
"""Exactly the kinds of `terms.transactions.UNPAID_KINDS`."""


class PoolLimits(Struct, frozen=True):
    """Bounds of the lanes."""

    revoke_count: int = 5_000
    revoke_bytes: int = 8 * 1024 * 1024
    rotate_count: int = 5_000
    rotate_bytes: int = 8 * 1024 * 1024
    node_count: int = 1_000
    node_bytes: int = 8 * 1024 * 1024
    node_per_voter: int = 100
    """Votes of one node: nine of them do not fill the lane."""
    paid_count: int = 20_000
    paid_bytes: int = 24 * 1024 * 1024
    """Six blocks full. Parsed, a batch takes four times its bytes: with 64 MiB a full lane was 250 MB of a node."""
    value_count: int = 20_000
    value_bytes: int = 16 * 1024 * 1024
    value_per_sender: int = 64
    """Transactions of one sender, and how far its nonces may run ahead."""
    value_blocks: int = 600
    """A transfer that found no block for so long is dropped: it has no end of its own."""


class Candidates(Struct, frozen=True):
    """What a proposer should try, each list in its order."""

    free: list[HealthTx]
    """Revocations, then rotations."""
    node: list[HealthTx]
    paid: list[HealthTx]
    """Payers in turn."""


class Pool:
    """The waiting transactions. Safe to call from several threads."""

    def __init__(self, limits: PoolLimits) -> None:
        self._limits = limits
        self._unpaid = {
            "revoke": SlotLane("revoke", limits.revoke_count, limits.revoke_bytes),
            "rotate": SlotLane("rotate", limits.rotate_count, limits.rotate_bytes),
            "node": SlotLane("node", limits.node_count, limits.node_bytes, limits.node_per_voter),
        }
        self._paid = PaidLane(limits.paid_count, limits.paid_bytes)
        self._value = ValueLane(limits.value_count, limits.value_bytes, limits.value_per_sender)
        self._last_height: dict[bytes, int] = {}
        """Every waiting id -> last height whose block may hold it."""
        self._ending: dict[int, set[bytes]] = defaultdict(set)
        self._lock = RLock()

    def __len__(self) -> int:
        return len(self._last_height)

    def __contains__(self, tx_id: bytes) -> bool:
        return tx_id in self._last_height

    def add_free(self, tx: HealthTx) -> None:
        """A transaction without payer; again changes nothing. `TxPending`, `PoolFull`."""
        with self._lock:
            if tx.id not in self:
                self._unpaid[LANE_OF_UNPAID[tx.body.kind]].add(tx)
                self._note(tx.id, tx.body.valid_until)

    def add_paid(self, tx: HealthTx, payer: bytes, fee: int, balance: int) -> None:
        """A transaction whose fee is reserved in a tank of this balance; again changes nothing. `PayerCannotPay`, `PoolFull`."""
        with self._lock:
            if tx.id in self:
                return
            for gone in self._paid.add(PaidTx(tx, payer, fee), balance):
                self._forget(gone)
            self._note(tx.id, tx.body.valid_until)

    def add_value(self, tx: ValueTx, account: Account, height: int) -> None:
        """A transfer from this account, seen at this height; again changes nothing. `NonceWrong`, `CannotPay`, `TxPending`, `PoolFull`."""
        with self._lock:
            if tx.hash in self:
                return
            for gone in self._value.add(tx, account):
                self._forget(gone)
            self._note(tx.hash, height + self._limits.value_blocks)

    def health_candidates(self, limit: int) -> Candidates:
        """Up to `limit` of each kind."""
        with self._lock:
            free = [*self._unpaid["revoke"], *islice(self._unpaid["rotate"], limit)][:limit]
            return Candidates(free, list(islice(self._unpaid["node"], limit)), list(islice(self._paid.in_turn(), limit)))

    def value_candidates(self, base_fee: int, limit: int) -> list[ValueTx]:
        """What a proposer should try, in order; a sender's transactions ascend by nonce."""
        with self._lock:
            return list(islice(self._value.by_tip(base_fee), limit))

    def evict(self, tx_id: bytes) -> None:
        """Throw one out; an unknown id changes nothing."""
        with self._lock:
            for lane in self._unpaid.values():
                lane.remove(tx_id)
            self._paid.remove(tx_id)
            self._value.remove(tx_id)
            self._forget(tx_id)

    def after_block(
        self, height: int, health_txs: list[HealthTx], value_txs: list[ValueTx], accounts: Mapping[bytes, Account]
    ) -> None:
        """A block became final; `accounts` are those it changed, by address."""
        with self._lock:
            for tx in health_txs:
                self._settle(tx)
            for value_tx in value_txs:
                self.evict(value_tx.hash)
            for ended in [end for end in self._ending if end <= height]:
                for tx_id in list(self._ending[ended]):
                    self.evict(tx_id)
            for address, account in accounts.items():
                gone = self._paid.tank_changed(address, account.balance) + self._value.account_changed(address, account)
                for tx_id in gone:
                    self._forget(tx_id)

    def _settle(self, tx: HealthTx) -> None:
        self.evict(tx.id)
        if tx.body.payer is not None:
            self._paid.served(tx.body.payer)
            return
        waiting = self._unpaid[LANE_OF_UNPAID[tx.body.kind]].settle(tx)
        if waiting is not None:
            self._forget(waiting)

    def _note(self, tx_id: bytes, last_height: int) -> None:
        self._last_height[tx_id] = last_height
        self._ending[last_height].add(tx_id)

    def _forget(self, tx_id: bytes) -> None:
        last_height = self._last_height.pop(tx_id, None)
        if last_height is None:
            return
        ending = self._ending[last_height]
        ending.discard(tx_id)
        if not ending:
            del self._ending[last_height]
