"""Shards first, then envelopes and feed entries in one step, then the receipt leaves.

Shards are named by their content: those of a batch that was cut off are found again when it is sent again, and nobody is told of
them before. One that lies here already is read again before it is signed for: the disk may have lost it. Envelopes, feed entries and
the receipt itself become visible together. The receipt is signed before they are stored and leaves afterwards, so that a sender who was
cut off gets the same one when it asks again.

Batches that come while others are being stored are stored together: a node flushes as often for ten batches as for one.

Only a `record.commit` is paid for. What an organisation brings and does not commit is bounded, and `sweep` drops the shards when the
commit has become impossible.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

from hce.foundation.codec.cid import cid_of_dag_cbor
from hce.foundation.codec.dagcbor import decode_as, encode
from hce.foundation.crypto.hashing import digest
from hce.foundation.crypto.sign import SigningKey
from hce.foundation.store.errors import BlobCorrupt, BlobNotFound
from hce.foundation.store.packs import PackStore
from hce.foundation.types.clock import Clock
from hce.foundation.types.errors import HceError
from hce.network.hcefs.manifest import Placed
from hce.network.hcefs.placements import Holder, Placements
from hce.service.intake.errors import UnadmittedFull
from hce.service.intake.rules import check_organisation, deliveries, placed_shards
from hce.service.mailbox.deposits import Deposit
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


class Checked(NamedTuple):
    """A batch that may be stored, and the receipt that leaves once it is."""

    placement: bytes
    placed: list[Placed]
    holder: Holder
    blobs: list[tuple[bytes, bytes]]
    """Manifest and shards."""
    deposit: Deposit


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
        """`check` and `keep` of one batch; raises what either says."""
        (receipt,) = self.keep([self.check(batch)])
        if isinstance(receipt, HceError):
            raise receipt
        return receipt

    def check(self, batch: IntakeBatch) -> Checked:
        """Everything that can be said against a batch before it is written.

        Raises `OrganisationNotCertified`, the errors of this room and of the mailbox (erased records), `Malformed`, `DiskFull`.
        """
        parts = batch_digest(batch)
        with self._state() as final:
            check_organisation(final, batch, parts, self._chain, self._clock.now_ms())
            height = final.height
        (placed, shards), delivered = placed_shards(batch, self._node, self._nodes), deliveries(batch)
        self._mailbox.require_takeable(delivered)
        size = UNADMITTED_COST_BYTES + len(batch.placement) + sum(map(len, batch.blobs))
        self._require_room_on_disk(size)
        placement, holder, epoch = cid_of_dag_cbor(batch.placement), Holder(batch.org_id, height, size), self._epoch()
        receipt = self._receipt(batch, placement, [cid for cid, _ in shards], epoch, height + self._hold_blocks)
        name = digest("hce/deposit/1", parts, batch.org_id, epoch)
        blobs = [(placement, batch.placement), *shards]
        return Checked(placement, placed, holder, blobs, Deposit(name, batch.org_id, delivered, encode(receipt)))

    def keep(self, batches: Sequence[Checked]) -> list[AvailabilityReceipt | HceError]:
        """Store and sign, all at once if that goes, else one by one: the receipt of each, or why there is none.

        All of it is durable when this returns; a refusal has written nothing that is served. `DiskFull`, `UnadmittedFull`, a full quota.
        """
        names = [record.record_id for one in batches for delivery in one.deposit.deliveries for record in delivery.records]
        if len(batches) > 1 and len(set(names)) == len(names):
            try:
                return list(self._keep(batches))
            except HceError:
                pass  # whose fault it is, each is told below
        return [self._keep_one(one) for one in batches]

    def _keep_one(self, batch: Checked) -> AvailabilityReceipt | HceError:
        try:
            return self._keep([batch])[0]
        except HceError as error:
            return error

    def _keep(self, batches: Sequence[Checked]) -> list[AvailabilityReceipt]:
        with self._storing:
            self._require_room(batches)
            self._store([blob for one in batches for blob in one.blobs])
            self._placements.enter_all([(one.placement, one.placed, one.holder) for one in batches])
        answers = self._mailbox.deposit_all([one.deposit for one in batches])
        return [decode_as(AvailabilityReceipt, answer) for answer in answers]

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

    def _require_room(self, batches: Sequence[Checked]) -> None:
        coming: Counter[bytes] = Counter()
        for placement, holder in ((one.placement, one.holder) for one in batches):
            coming[holder.org_id] += holder.size_bytes
            size = self._placements.held_bytes(holder.org_id, without=placement) + coming[holder.org_id]
            if size > self._max_unadmitted_bytes and not self._placements.is_named(placement):
                raise UnadmittedFull(actual_bytes=size, max_bytes=self._max_unadmitted_bytes)

    def _store(self, blobs: Sequence[tuple[bytes, bytes]]) -> None:
        """Durable and readable on return, also in place of damaged copies."""
        for cid in self._packs.known([cid for cid, _ in blobs]):
            try:
                self._packs.get(cid)
            except BlobNotFound:  # a sweep was faster
                continue
            except BlobCorrupt:
                self._forget(cid)
        self._packs.put_many(blobs)

    def _forget(self, cid: bytes) -> None:
        try:
            self._packs.delete(cid)
        except BlobNotFound:  # a repair was faster
            return

    def _receipt(
        self, batch: IntakeBatch, placement: bytes, shards: list[bytes], epoch: int, hold_until: int
    ) -> AvailabilityReceipt:
        shard, root = shards_cid(shards), envelopes_root_of(batch)
        message = availability_message(self._chain, placement, shard, root, self._node, epoch, hold_until)
        return AvailabilityReceipt(self._node, shard, hold_until, self._service_key.sign(message))
