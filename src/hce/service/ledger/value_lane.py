"""The pool's lane for value transactions, pure: ordered by nonce within a sender, by tip between senders.

A gap in the nonces is queued, as wallets expect; what lies behind it is not offered until the gap is filled.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator

from hce.service.contracts.value.accounts import Account
from hce.service.contracts.value.errors import CannotPay, NonceWrong
from hce.service.contracts.value.execute import effective_gas_price
from hce.service.contracts.value.transactions import ValueTx
from hce.service.ledger.errors import PoolFull, TxPending

REPLACEMENT_PERCENT = 110
"""A transaction of the same nonce must offer this much of the fee and tip it replaces (the rule of Ethereum nodes)."""


class Sender:
    """One account's waiting transactions by nonce."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self.waiting: dict[int, ValueTx] = {}

    def cost(self) -> int:
        """What all of them may take from the account, aHCE."""
        return sum(tx.max_cost for tx in self.waiting.values())


class ValueLane:
    """Value transactions that wait for a block."""

    def __init__(self, max_count: int, max_bytes: int, max_per_sender: int) -> None:
        self._max_count = max_count
        self._max_bytes = max_bytes
        self._max_per_sender = max_per_sender
        self._bytes = 0
        self._senders: dict[bytes, Sender] = {}
        self._by_hash: dict[bytes, ValueTx] = {}

    def __len__(self) -> int:
        return len(self._by_hash)

    def __contains__(self, tx_hash: bytes) -> bool:
        return tx_hash in self._by_hash

    def add(self, tx: ValueTx, account: Account) -> bytes | None:
        """Hash of the transaction it replaces, if any. Named errors say why it cannot wait; then nothing changed."""
        sender = self._senders.get(tx.sender) or Sender(account)
        if not account.nonce <= tx.nonce < account.nonce + self._max_per_sender:
            raise NonceWrong(expected=account.nonce, actual=tx.nonce, max_ahead=self._max_per_sender)
        replaced = sender.waiting.get(tx.nonce)
        if replaced is not None and not _outbids(tx, replaced):
            raise TxPending("another of this nonce waits; offer a tenth more", waiting=replaced.hash.hex())
        freed_cost, freed_bytes = (replaced.max_cost, len(replaced.raw)) if replaced else (0, 0)
        if sender.cost() - freed_cost + tx.max_cost > account.balance:
            raise CannotPay(address=tx.sender.hex(), balance=account.balance, amount=tx.max_cost)
        if (replaced is None and len(self) >= self._max_count) or self._bytes - freed_bytes + len(tx.raw) > self._max_bytes:
            raise PoolFull(lane="value", count=len(self))
        if replaced is not None:
            self.remove(replaced.hash)
        sender.account = account
        sender.waiting[tx.nonce] = tx
        self._senders[tx.sender] = sender
        self._by_hash[tx.hash] = tx
        self._bytes += len(tx.raw)
        return replaced.hash if replaced else None

    def remove(self, tx_hash: bytes) -> None:
        tx = self._by_hash.pop(tx_hash, None)
        if tx is None:
            return
        self._bytes -= len(tx.raw)
        sender = self._senders[tx.sender]
        del sender.waiting[tx.nonce]
        if not sender.waiting:
            del self._senders[tx.sender]

    def account_changed(self, address: bytes, account: Account) -> list[bytes]:
        """Drop used nonces, then the highest ones until the balance covers the rest; the hashes dropped."""
        sender = self._senders.get(address)
        if sender is None:
            return []
        sender.account = account
        dropped = [tx for nonce, tx in sorted(sender.waiting.items()) if nonce < account.nonce]
        left = [tx for nonce, tx in sorted(sender.waiting.items()) if nonce >= account.nonce]
        cost = sum(tx.max_cost for tx in left)
        while cost > account.balance:
            last = left.pop()
            cost -= last.max_cost
            dropped.append(last)
        for tx in dropped:
            self.remove(tx.hash)
        return [tx.hash for tx in dropped]

    def by_tip(self, base_fee: int) -> Iterator[ValueTx]:
        """Best tip first; of each sender only the run of nonces that starts at its account, and only while it can pay the base fee."""
        heads: list[tuple[int, bytes, int]] = []
        for address, sender in self._senders.items():
            _offer(heads, address, sender.waiting.get(sender.account.nonce), base_fee)
        while heads:
            _, address, nonce = heapq.heappop(heads)
            sender = self._senders[address]
            yield sender.waiting[nonce]
            _offer(heads, address, sender.waiting.get(nonce + 1), base_fee)


def _offer(heads: list[tuple[int, bytes, int]], address: bytes, tx: ValueTx | None, base_fee: int) -> None:
    if tx is not None and tx.max_fee >= base_fee:
        heapq.heappush(heads, (-(effective_gas_price(tx, base_fee) - base_fee), address, tx.nonce))


def _outbids(tx: ValueTx, replaced: ValueTx) -> bool:
    enough_fee = tx.max_fee * 100 >= replaced.max_fee * REPLACEMENT_PERCENT
    return enough_fee and tx.max_tip * 100 >= replaced.max_tip * REPLACEMENT_PERCENT
