"""Shards first, then envelopes and feed entries in one step, then the receipt leaves.

Shards are named by their content: those of a batch that was cut off are found again when it is sent again, and nobody is told of
them before. One that lies here already is read again before it is signed for: the disk may have lost it. Envelopes, feed entries and
the receipt itself become visible together. The receipt is signed before they are stored and leaves afterwards, so that a sender who was
cut off gets the same one when it asks again.

Only a `record.commit` is paid for. What an organisation brings and does not commit is bounded, and `sweep` drops the shards when the
commit has become impossible.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from hce.foundation.codec.cid import cid_of_dag_cbor
from hce.foundation.codec.dagcbor import decode_as, encode
from hce.foundation.crypto.hashing import digest
from hce.foundation.crypto.sign import SigningKey
from hce.foundation.store.errors import BlobCorrupt, BlobNotFound
from hce.foundation.store.packs import PackStore
from hce.foundation.types.clock import Clock
from hce.network.hcefs.placements import Holder, Placements
from hce.service.intake.errors import UnadmittedFull
from hce.service.intake.rules import check_organisation, deliveries, placed_shards
from hce.service.mailbox.final import FinalView
from hce.service.mailbox.service import Mailbox
from hce.service.terms.genesis import Params
from hce.service.terms.intake import IntakeBatch, batch_digest, envelopes_root_of, shards_cid
from hce.service.terms.payloads import AvailabilityReceipt, availability_message

HOLD_MS = 10 * 366 * 86_400_000
"""How long a node promises to hold a batch: ten years, in blocks of the target interval. Renewal comes with storage challenges."""


MAX_UNADMITTED_BYTES = 1 << 30
"""Shards and manifests of one organisation that no final block names yet."""
UNADMITTED_COST_BYTES = 16 << 10
"""What a batch counts besides its bytes: rows of tables, and its share of a sweep."""
KEPT_WINDOWS = 2
"""Replay windows they are kept: one while the batch goes to the nodes, one in which its commit is valid."""
SWEEP_PLACEMENTS = 10_000
"""Dropped in one sweep at most."""


class Intake:
    """Safe to call from several threads."""

    def __init__(
        self,
        *,
        chain: bytes,
        node_index: int,
        nodes: int,
        epoch: Callable[[], int],
        service_key: SigningKey,
        packs: PackStore,
        placements: Placements,
        mailbox: Mailbox,
        state: FinalView,
        clock: Clock,
        params: Params,
        hold_ms: int = HOLD_MS,
        max_unadmitted_bytes: int = MAX_UNADMITTED_BYTES,
        require_room: Callable[[int], None] = lambda size: None,
    ) -> None:
        """`require_room` raises `DiskFull` when so many bytes more would leave too little."""
        self._chain = chain
        self._node = node_index
        self._nodes = nodes
        self._epoch = epoch
        self._service_key = service_key
        self._packs = packs
        self._placements = placements
        self._mailbox = mailbox
        self._state = state
        self._clock = clock
        self._hold_blocks = hold_ms // params.block_interval_ms
        self._kept_blocks = KEPT_WINDOWS * params.replay_window
        self._max_unadmitted_bytes = max_unadmitted_bytes
        self._require_room_on_disk = require_room
        self._storing = threading.Lock()
        """Between what comes and what is dropped: they may share shards."""

    def accept(self, batch: IntakeBatch) -> AvailabilityReceipt:
        """Check, store, sign. All of it is durable when this returns; a refusal has written nothing that is served.

        Raises `OrganisationNotCertified`, the errors of this room and of the mailbox (quotas, erased records), `Malformed`, `DiskFull`,
        `UnadmittedFull`.
        """
        with self._state() as final:
            check_organisation(final, batch, self._chain, self._clock.now_ms())
            height = final.height
        (placed, shards), delivered = placed_shards(batch, self._node, self._nodes), deliveries(batch)
        self._mailbox.require_takeable(delivered)
        epoch = self._epoch()
        placement = cid_of_dag_cbor(batch.placement)
        size = UNADMITTED_COST_BYTES + len(batch.placement) + sum(map(len, batch.blobs))
        holder = Holder(batch.org_id, height, size)
        self._require_room_on_disk(size)
        with self._storing:
            self._require_room(placement, holder)
            self._store([(placement, batch.placement), *shards])
            self._placements.enter(placement, placed, holder)
        receipt = self._receipt(batch, [cid for cid, _ in shards], epoch, height + self._hold_blocks)
        name = digest("hce/deposit/1", batch_digest(batch), batch.org_id, epoch)
        return decode_as(AvailabilityReceipt, self._mailbox.deposit(name, batch.org_id, delivered, encode(receipt)))

    def sweep(self) -> int:
        """Drop shards and manifests of batches that were not committed in time; how many batches. Called now and then by the node."""
        with self._state() as final:
            if final.syncing:
                return 0
        before = self._placements.seen_height - self._kept_blocks
        overdue = self._placements.overdue(before, SWEEP_PLACEMENTS)
        for placement in overdue:
            with self._storing:
                for cid in self._placements.drop(placement, before):
                    self._forget(cid)
        return len(overdue)

    def _require_room(self, placement: bytes, holder: Holder) -> None:
        taken = self._placements.held_bytes(holder.org_id, without=placement)
        if taken + holder.size_bytes > self._max_unadmitted_bytes and not self._placements.is_named(placement):
            raise UnadmittedFull(actual_bytes=taken + holder.size_bytes, max_bytes=self._max_unadmitted_bytes)

    def _store(self, blobs: Sequence[tuple[bytes, bytes]]) -> None:
        """Durable and readable on return, also in place of damaged copies."""
        for cid, _ in blobs:
            try:
                self._packs.get(cid)
            except BlobNotFound:
                continue
            except BlobCorrupt:
                self._forget(cid)
        self._packs.put_many(blobs)

    def _forget(self, cid: bytes) -> None:
        try:
            self._packs.delete(cid)
        except BlobNotFound:  # a repair was faster
            return

    def _receipt(self, batch: IntakeBatch, shards: list[bytes], epoch: int, hold_until: int) -> AvailabilityReceipt:
        placement, shard = cid_of_dag_cbor(batch.placement), shards_cid(shards)
        message = availability_message(self._chain, placement, shard, envelopes_root_of(batch), self._node, epoch, hold_until)
        return AvailabilityReceipt(self._node, shard, hold_until, self._service_key.sign(message))
