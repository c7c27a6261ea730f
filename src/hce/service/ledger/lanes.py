"""Lanes of the pool for health transactions, pure: what waits, in which order it is offered, and who gives way when a lane is full.

* `SlotLane` holds what nobody pays for: one for revocations, one for rotations, one for votes of nodes. A *slot* is what the
  transaction would do (this signer role, this subject); one may wait for each, so that signing the same revocation a thousand times
  fills nothing. Of the votes each node may have so many, so that one node cannot keep the others' votes out.
* `PaidLane` reserves each fee in the payer's tank, and offers payers in turn. When it is full, the payer with most transactions
  waiting loses its newest to one that has clearly fewer: a busy hospital slows itself down, not its neighbour.
"""

from __future__ import annotations

import hashlib
from collections import Counter, OrderedDict
from collections.abc import Iterator

from msgspec import Struct

from hce.foundation.codec.dagcbor import encode
from hce.service.ledger.errors import PayerCannotPay, PoolFull, TxPending
from hce.service.terms.payloads import tank_address
from hce.service.terms.transactions import HealthTx

Slot = tuple[str, str, bytes, bytes]
"""Kind, role of the signer, the node's key for votes (else empty), hash of the subject."""


def slot_of(tx: HealthTx) -> Slot:
    """What a free transaction would do. Owner and recovery key have a slot each: neither can occupy the other's."""
    signed = tx.signatures[0]
    payload: Struct = tx.body.payload
    subject = getattr(payload, payload.__struct_fields__[0])  # of every free kind the first field says what it is about
    voter = signed.public_key if signed.role == "node" else b""
    return tx.body.kind, signed.role, voter, hashlib.sha256(encode(subject)).digest()


class SlotLane:
    """Free transactions in order of arrival, one a slot."""

    def __init__(self, name: str, max_count: int, max_bytes: int, max_per_voter: int | None = None) -> None:
        self._name = name
        self._max_count = max_count
        self._max_bytes = max_bytes
        self._max_per_voter = max_count if max_per_voter is None else max_per_voter
        self._per_voter: Counter[bytes] = Counter()
        self._bytes = 0
        self._by_slot: OrderedDict[Slot, HealthTx] = OrderedDict()
        self._slots: dict[bytes, Slot] = {}

    def __len__(self) -> int:
        return len(self._by_slot)

    def __iter__(self) -> Iterator[HealthTx]:
        return iter(self._by_slot.values())

    def add(self, tx: HealthTx) -> None:
        """`TxPending` when the slot is taken, `PoolFull` when there is no room."""
        slot = slot_of(tx)
        if slot in self._by_slot:
            raise TxPending("another transaction that does the same waits", waiting=self._by_slot[slot].id.hex())
        voter = slot[2]
        if (
            len(self) >= self._max_count
            or self._bytes + len(tx.raw) > self._max_bytes
            or self._per_voter[voter] >= self._max_per_voter
        ):
            raise PoolFull(lane=self._name, count=len(self))
        self._per_voter[voter] += 1
        self._by_slot[slot] = tx
        self._slots[tx.id] = slot
        self._bytes += len(tx.raw)

    def remove(self, tx_id: bytes) -> None:
        slot = self._slots.pop(tx_id, None)
        if slot is not None:
            self._bytes -= len(self._by_slot.pop(slot).raw)
            self._per_voter[slot[2]] -= 1
            if not self._per_voter[slot[2]]:
                del self._per_voter[slot[2]]

    def settle(self, done: HealthTx) -> bytes | None:
        """A block did what this slot waits for: drop who waits in it and return its id."""
        waiting = self._by_slot.get(slot_of(done))
        if waiting is None:
            return None
        self.remove(waiting.id)
        return waiting.id


class PaidTx(Struct, frozen=True):
    tx: HealthTx
    payer: bytes
    fee: int


class Payer:
    """One organisation's waiting transactions and what they reserve, aHCE."""

    def __init__(self) -> None:
        self.waiting: OrderedDict[bytes, PaidTx] = OrderedDict()
        self.reserved = 0


class PaidLane:
    """Paid transactions: first come first served for each payer, payers in turn."""

    def __init__(self, max_count: int, max_bytes: int) -> None:
        self._max_count = max_count
        self._max_bytes = max_bytes
        self._bytes = 0
        self._payers: OrderedDict[bytes, Payer] = OrderedDict()
        """Who was served longest ago comes first."""
        self._payer_of: dict[bytes, bytes] = {}
        self._tanks: dict[bytes, bytes] = {}

    def __len__(self) -> int:
        return len(self._payer_of)

    def add(self, paid: PaidTx, balance: int) -> list[bytes]:
        """Reserve the fee. Ids that had to give way; `PayerCannotPay` or `PoolFull` with nothing changed."""
        payer = self._payers.get(paid.payer) or Payer()
        if payer.reserved + paid.fee > balance:
            raise PayerCannotPay(payer=paid.payer.hex(), fee=paid.fee, reserved=payer.reserved, balance=balance)
        dropped = self._who_gives_way(paid, len(payer.waiting))
        for tx_id in dropped:
            self.remove(tx_id)
        self._payers.setdefault(paid.payer, payer)
        self._tanks[tank_address(paid.payer)] = paid.payer
        payer.waiting[paid.tx.id] = paid
        payer.reserved += paid.fee
        self._payer_of[paid.tx.id] = paid.payer
        self._bytes += len(paid.tx.raw)
        return dropped

    def remove(self, tx_id: bytes) -> None:
        name = self._payer_of.pop(tx_id, None)
        if name is None:
            return
        payer = self._payers[name]
        paid = payer.waiting.pop(tx_id)
        payer.reserved -= paid.fee
        self._bytes -= len(paid.tx.raw)
        if not payer.waiting:
            del self._payers[name]
            del self._tanks[tank_address(name)]

    def served(self, payer: bytes) -> None:
        """A transaction of this payer was in a block: the others come first now."""
        if payer in self._payers:
            self._payers.move_to_end(payer)

    def tank_changed(self, address: bytes, balance: int) -> list[bytes]:
        """Drop the newest of a payer until its tank covers the rest; the ids dropped. Other addresses are no payer's."""
        name = self._tanks.get(address)
        if name is None:
            return []
        payer = self._payers[name]
        dropped = []
        while payer.waiting and payer.reserved > balance:
            newest = next(reversed(payer.waiting))
            self.remove(newest)
            dropped.append(newest)
        return dropped

    def in_turn(self) -> Iterator[HealthTx]:
        """One of each payer, then the next of each."""
        queues = [iter(list(payer.waiting.values())) for payer in self._payers.values()]
        while queues:
            still = []
            for queue in queues:
                paid = next(queue, None)
                if paid is not None:
                    yield paid.tx
                    still.append(queue)
            queues = still

    def _who_gives_way(self, paid: PaidTx, waiting: int) -> list[bytes]:
        """Ids that have to go so that this one fits, newest of the busiest payer first; `PoolFull` when they are not enough.

        Decided before anything is removed: nobody loses a place to a transaction that is refused in the end.
        """
        count, size = len(self) + 1, self._bytes + len(paid.tx.raw)
        left = {name: list(payer.waiting.values()) for name, payer in self._payers.items()} if self._is_over(count, size) else {}
        dropped: list[bytes] = []
        while self._is_over(count, size):
            busiest = max(left.values(), key=len, default=[])
            if len(busiest) < waiting + 2:
                raise PoolFull(lane="paid", count=len(self))
            newest = busiest.pop()
            count, size = count - 1, size - len(newest.tx.raw)
            dropped.append(newest.tx.id)
        return dropped

    def _is_over(self, count: int, size: int) -> bool:
        return count > self._max_count or size > self._max_bytes
