"""The leaves of a node's release receipts by period: what it anchors on chain, and the proofs it gives to owners.

A leaf is entered in the batch that writes its receipt, so a kill leaves both or neither. A period is closed, durably, before its list
is anchored; from then on nothing is entered into it. Without that a release decided just before the period's end could write its
receipt after the list was said, and an honest node would look like one that hides.

Leaves are kept for ever, about 150 bytes a receipt, also when the owner drops the receipt from his log: they say nothing without it,
and one that is missing would make the proofs of all others impossible. A proof hashes the whole period once for each request; only
who has a receipt knows a leaf, so strangers cause no such work.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from hce.foundation.proofs.listhash import leaf_hash, list_root, proof_from_levels, tree_levels
from hce.foundation.store.kv import KeyValueStore, ReadTxn, WriteTxn
from hce.service.mailbox.errors import PeriodClosed, PeriodFull
from hce.service.terms.grants import AnchorProof

_LEAVES, _PLACES, _DUE, _CLOSED = "anchor-leaves", "anchor-places", "anchor-due", "anchor-closed"
TABLES = (_LEAVES, _PLACES, _DUE, _CLOSED)
"""Period and ordinal to leaf, leaf to period and ordinal, period to count while it waits to be anchored, first open period."""
MAX_LEAVES = 1 << 19
"""Receipts of one period: more than blocks have steps for access entries in 600 heights."""
_FIRST_OPEN = b"first-open"
_NUMBER_BYTES = 8


class ReceiptLeaf(NamedTuple):
    """What is entered with a receipt."""

    period: int
    leaf: bytes


def enter(batch: WriteTxn, entered: ReceiptLeaf) -> None:
    """At the end of its period's list. `PeriodClosed`, `PeriodFull`."""
    if entered.period < _first_open(batch):
        raise PeriodClosed(period=entered.period)
    period = _number(entered.period)
    count = int.from_bytes(batch.get(_DUE, period) or b"", "big")
    if count == MAX_LEAVES:
        raise PeriodFull(period=entered.period, max_leaves=MAX_LEAVES)
    place = period + _number(count)
    batch.put(_LEAVES, place, entered.leaf)
    batch.put(_PLACES, entered.leaf, place)
    batch.put(_DUE, period, _number(count + 1))


class Periods:
    """The lists of one mailbox. Safe to call from several threads."""

    def __init__(self, store: KeyValueStore) -> None:
        self._store = store
        with store.read() as snapshot:
            self.first_open = _first_open(snapshot)
            """Periods before this one are closed."""

    def close_before(self, period: int) -> None:
        """Nothing is entered into earlier periods from now on; durable on return."""
        if period > self.first_open:
            with self._store.write() as batch:
                batch.put(_CLOSED, _FIRST_OPEN, _number(max(period, _first_open(batch))))
            self.first_open = period

    def due(self, limit: int) -> list[int]:
        """Closed periods with receipts that are not `settled`, oldest first."""
        with self._store.read() as snapshot:
            found = [int.from_bytes(key, "big") for key, _ in snapshot.scan(_DUE, limit=limit)]
        return [period for period in found if period < self.first_open]

    def listed(self, period: int) -> tuple[int, bytes]:
        """Number and list hash of a closed period's leaves: the same for ever."""
        with self._store.read() as snapshot:
            leaves = _leaves(snapshot, _number(period))
        return len(leaves), list_root(leaves)

    def settled(self, period: int) -> None:
        """Its anchor is final, or can no longer be."""
        with self._store.write() as batch:
            batch.delete(_DUE, _number(period))

    def proofs(self, leaves: Sequence[bytes]) -> list[AnchorProof | None]:
        """Where each leaf stands; None for one that is unknown or in a period that is still open. One tree in memory at a time."""
        found: list[AnchorProof | None] = [None] * len(leaves)
        asked: dict[bytes, list[tuple[int, int]]] = defaultdict(list)
        with self._store.read() as snapshot:
            first_open = _first_open(snapshot)
            for position, leaf in enumerate(leaves):
                place = snapshot.get(_PLACES, leaf)
                if place is not None:
                    asked[place[:_NUMBER_BYTES]].append((position, int.from_bytes(place[_NUMBER_BYTES:], "big")))
            for key, wanted in asked.items():
                period = int.from_bytes(key, "big")
                if period < first_open:
                    tree = tree_levels([leaf_hash(leaf) for leaf in _leaves(snapshot, key)])
                    for position, ordinal in wanted:
                        found[position] = AnchorProof(period, proof_from_levels(tree, ordinal))
        return found


def order_again(batch: WriteTxn) -> None:
    """After some rows were lost: lists that are not anchored yet are without gaps, and count what is there.

    Of an anchored list no leaf may be missing, or what stands behind it proves nothing: then this node knows none of them any more.
    The last period with leaves is taken to be open. If it was closed, the height of the next final block closes it again.
    """
    by_period: dict[bytes, list[tuple[bytes, bytes]]] = defaultdict(list)
    for place, leaf in list(batch.scan(_LEAVES)):
        by_period[place[:_NUMBER_BYTES]].append((place, leaf))
    for leaf, _ in list(batch.scan(_PLACES)):
        batch.delete(_PLACES, leaf)
    if not by_period:
        return
    first_open = max(_first_open(batch), int.from_bytes(max(by_period), "big"))
    if first_open:
        batch.put(_CLOSED, _FIRST_OPEN, _number(first_open))
    for period, listed in by_period.items():
        ordered = [(period + _number(ordinal), leaf) for ordinal, (_, leaf) in enumerate(listed)]
        if batch.get(_DUE, period) is not None or int.from_bytes(period, "big") >= first_open:
            for place, _ in listed:
                batch.delete(_LEAVES, place)
            for place, leaf in ordered:
                batch.put(_LEAVES, place, leaf)
            batch.put(_DUE, period, _number(len(ordered)))
        elif listed != ordered:
            continue
        for place, leaf in ordered:
            batch.put(_PLACES, leaf, place)


def _leaves(snapshot: ReadTxn, period: bytes) -> list[bytes]:
    return [leaf for _, leaf in snapshot.scan(_LEAVES, period)]


def _first_open(tables: ReadTxn | WriteTxn) -> int:
    return int.from_bytes(tables.get(_CLOSED, _FIRST_OPEN) or b"", "big")


def _number(value: int) -> bytes:
    return value.to_bytes(_NUMBER_BYTES, "big")
