"""What final blocks say this node should have, whether the intake brought it or not.

A node that was away finds in the blocks it missed which placements and records became final meanwhile. It puts them on the lists of what
is awaited; fetching is the work of HCE-FS and of the mailbox. A batch whose transaction failed made no records and is passed over.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence

from hce.network.hcefs.placements import Placements
from hce.service.mailbox.final import FinalView
from hce.service.mailbox.replica import MARK_BLOCKS, Replica
from hce.service.terms.payloads import RecordBatch, record_id
from hce.service.terms.states import RecordState
from hce.service.terms.transactions import parse_kind

HealthTxs = Callable[[int], Sequence[bytes]]
"""Height -> the raw health transactions of that final block."""
RecordsFinal = Callable[[Iterable[bytes]], None]
"""Who else is told which records became final."""


class Arrivals:
    """`look` is called when a block is final. Any thread."""

    def __init__(
        self,
        chain: bytes,
        placements: Placements,
        replica: Replica,
        state: FinalView,
        health_txs: HealthTxs,
        records_final: RecordsFinal,
    ) -> None:
        self._chain = chain
        self._placements = placements
        self._replica = replica
        self._state = state
        self._health_txs = health_txs
        self._records_final = records_final
        self._looked = min(placements.seen_height, replica.seen_height)
        self._looking = threading.Lock()

    def look(self, head: int) -> None:
        """Look through the final blocks up to `head` that were not looked through; durable on return where they hold records.

        After a restart these may be blocks of before: the mark on disk moves with records, or every MARK_BLOCKS.
        """
        with self._looking:
            for height in range(self._looked + 1, head + 1):
                self._look_at(height)
                self._looked = height

    def _look_at(self, height: int) -> None:
        batches = self._admitted(self._health_txs(height))
        if batches:
            final = {name: digest for batch in batches for name, digest in self._records(batch)}
            self._replica.expect(height, final)
            self._records_final(final)
        elif height % MARK_BLOCKS == 0:
            self._replica.expect(height, {})
        if batches or height % MARK_BLOCKS == 0:
            self._placements.expect(height, [batch.placement for batch in batches])

    def _admitted(self, health_txs: Sequence[bytes]) -> list[RecordBatch]:
        batches: list[RecordBatch] = [tx.body.payload for tx in parse_kind(health_txs, self._chain, "record.commit")]
        if not batches:
            return []
        with self._state() as final:
            return [batch for batch in batches if self._is_final(final.health.record, batch)]

    def _is_final(self, record: Callable[[bytes], RecordState | None], batch: RecordBatch) -> bool:
        state = record(record_id(self._chain, batch.org_id, batch.entries[0].nonce))
        return state is not None and state.placement == batch.placement

    def _records(self, batch: RecordBatch) -> list[tuple[bytes, bytes]]:
        return [(record_id(self._chain, batch.org_id, entry.nonce), entry.envelope_digest) for entry in batch.entries]
