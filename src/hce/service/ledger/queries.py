"""What the API, the keyholders and the mailbox may ask. Every answer comes from the last final state, never from a block in the making."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from msgspec import Struct

from hce.foundation.codec.dagcbor import encode
from hce.foundation.proofs.authmap import MapProof
from hce.foundation.proofs.listhash import ListProof, list_proof
from hce.foundation.store.kv import KeyValueStore
from hce.foundation.types.blocks import LedgerHeader
from hce.foundation.types.errors import Corrupt
from hce.foundation.types.scalars import Height
from hce.service.contracts.value.accounts import Account
from hce.service.contracts.value.execute import ValueReceipt
from hce.service.ledger.errors import HeightUnknown
from hce.service.ledger.final import BlockResults, FinalView, final_view
from hce.service.terms.proofs import HealthReceipt
from hce.service.terms.states import EntryState

MAX_ENTRIES_LISTED = 1_000
"""Access entries one answer may list."""


class TxResult(Struct, frozen=True):
    """Where a transaction became final and what became of it."""

    height: Height
    index: int
    """Place in the health list or in the value list of its block."""
    receipt: HealthReceipt | ValueReceipt


class Queries:
    """Reads of the final state. Safe to call from several threads; each call has a snapshot of its own."""

    def __init__(self, store: KeyValueStore) -> None:
        self._store = store

    @contextmanager
    def snapshot(self) -> Iterator[FinalView]:
        """Several reads of one height. Close it soon: an open snapshot keeps the store from growing."""
        with final_view(self._store) as view:
            yield view

    @property
    def final_height(self) -> Height:
        with final_view(self._store) as view:
            return view.height

    def account(self, address: bytes) -> Account:
        """Nonce and balance; an unused address has zero of both."""
        with final_view(self._store) as view:
            return view.account(address)

    def seen(self, tx_id: bytes) -> bool:
        """Whether a health transaction stands in a block of the replay window."""
        with final_view(self._store) as view:
            return view.seen(tx_id)

    def tx_result(self, tx_id: bytes) -> TxResult | None:
        """By health transaction id (CID) or eth hash; None while it is not final."""
        with final_view(self._store) as view:
            found = view.where(tx_id)
            if found is None:
                return None
            height, index = found
            results = view.results(height)
        receipts = results.health if len(tx_id) == 36 else results.value
        return TxResult(height, index, receipts[index])

    def header_at(self, height: Height) -> LedgerHeader:
        """`HeightUnknown` above the last final height."""
        with final_view(self._store) as view:
            return view.head(height).header

    def results_at(self, height: Height) -> BlockResults:
        """Receipts of both lists and the system transfers. `HeightUnknown` for genesis, which has none, and above the last height."""
        with final_view(self._store) as view:
            return view.results(height)

    def receipt_proof(self, height: Height, index: int) -> tuple[HealthReceipt, ListProof]:
        """A health receipt and its proof under `receipts_root` of that height."""
        receipts = self.results_at(height).health
        if not 0 <= index < len(receipts):
            raise HeightUnknown("no such receipt", height=height, index=index)
        return receipts[index], list_proof([encode(receipt) for receipt in receipts], index)

    def prove(self, space: str, key: bytes) -> tuple[bytes | None, MapProof, Height]:
        """Value (None when absent) of `health` or `value`, its proof, and the height whose header has the root."""
        with final_view(self._store) as view:
            value, proof = view.prove(space, key)
            return value, proof, view.height

    def entries_of_grant(
        self, grant_id: bytes, start: int = 0, limit: int = MAX_ENTRIES_LISTED
    ) -> list[tuple[int, bytes, EntryState]]:
        """(ordinal, entry id, state) ascending from ordinal `start`."""
        with final_view(self._store) as view:
            listed = list(view.entry_ids(grant_id, start, min(limit, MAX_ENTRIES_LISTED)))
            return [(ordinal, entry_id, _entry(view, entry_id)) for ordinal, entry_id in listed]


def _entry(view: FinalView, entry_id: bytes) -> EntryState:
    found = view.health.entry(entry_id)
    if found is None:
        raise Corrupt("an indexed access entry is not in the map", entry_id=entry_id.hex())
    return found
