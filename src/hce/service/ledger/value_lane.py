"""The pool's lane for value transactions, pure: ordered by nonce within a sender, by tip between senders.

A gap in the nonces is queued, as wallets expect; what lies behind it is not offered until the gap is filled.

Waiting costs nothing, so a full lane must not keep out who pays: the transaction that offers least gives way to one that offers
clearly more, and what lies behind a gap takes no more than half of the lane. Thousands of accounts that offer next to nothing, or
that wait behind gaps, fill the lane and stop nobody.
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
        self._offers: list[tuple[int, int, bytes]] = []
        """Heap of (max fee, newest first, hash): who gives way. Holds hashes that are gone, until it is mostly those."""
        self._arrived = 0

    def __len__(self) -> int:
        return len(self._by_hash)

    def __contains__(self, tx_hash: bytes) -> bool:
        return tx_hash in self._by_hash

    def add(self, tx: ValueTx, account: Account) -> list[bytes]:
        """Hashes of those that gave way. Named errors say why it cannot wait; then nothing changed."""
        sender = self._senders.get(tx.sender) or Sender(account)
        if not account.nonce <= tx.nonce < account.nonce + self._max_per_sender:
            raise NonceWrong(expected=account.nonce, actual=tx.nonce, max_ahead=self._max_per_sender)
        replaced = sender.waiting.get(tx.nonce)
        if replaced is not None and not _outbids(tx, replaced):
            raise TxPending("another of this nonce waits; offer a tenth more", waiting=replaced.hash.hex())
        if sender.cost() - (replaced.max_cost if replaced else 0) + tx.max_cost > account.balance:
            raise CannotPay(address=tx.sender.hex(), balance=account.balance, amount=tx.max_cost)
        half_full = 2 * len(self) >= self._max_count or 2 * self._bytes >= self._max_bytes
        if replaced is None and half_full and any(nonce not in sender.waiting for nonce in range(account.nonce, tx.nonce)):
            raise PoolFull("no more room behind gaps", lane="value", count=len(self))
        gone = [replaced.hash] if replaced else []
        gone += self._who_gives_way(tx, replaced)
        for tx_hash in gone:
            self.remove(tx_hash)
        sender.account = account
        sender.waiting[tx.nonce] = tx
        self._senders[tx.sender] = sender
        self._by_hash[tx.hash] = tx
        self._bytes += len(tx.raw)
        self._note_offer(tx)
        return gone

    def _who_gives_way(self, tx: ValueTx, replaced: ValueTx | None) -> list[bytes]:
        """Hashes that have to go so that this one fits, with all that waits behind them; `PoolFull` with nothing changed."""
        count = len(self) + (replaced is None)
        size = self._bytes - (len(replaced.raw) if replaced else 0) + len(tx.raw)
        gone: dict[bytes, None] = {}
        looked_at: list[tuple[int, int, bytes]] = []
        try:
            while count > self._max_count or size > self._max_bytes:
                if not self._offers or self._offers[0][0] * REPLACEMENT_PERCENT > tx.max_fee * 100:
                    raise PoolFull("offer more than those that wait", lane="value", count=len(self))
                looked_at.append(heapq.heappop(self._offers))
                least = self._by_hash.get(looked_at[-1][2])
                if least is None or least.sender == tx.sender or least.hash in gone:
                    continue
                for nonce, behind in self._senders[least.sender].waiting.items():
                    if nonce >= least.nonce and behind.hash not in gone:
                        gone[behind.hash] = None
                        count, size = count - 1, size - len(behind.raw)
        finally:
            for offer in looked_at:
                if offer[2] in self._by_hash:
                    heapq.heappush(self._offers, offer)
        return list(gone)

    def _note_offer(self, tx: ValueTx) -> None:
        self._arrived += 1
        heapq.heappush(self._offers, (tx.max_fee, -self._arrived, tx.hash))
        if len(self._offers) > 2 * len(self._by_hash) + 64:
            self._offers = [offer for offer in self._offers if offer[2] in self._by_hash]
            heapq.heapify(self._offers)

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
