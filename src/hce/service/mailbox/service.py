"""One node's mailbox: check who asks, change tables in one batch, answer.

Every change is one LMDB batch, so a kill leaves it done or not done. Keys of new records are durable before the batch is, and the
keys of erased ones are wiped after it: in both gaps a kill leaves slots nobody refers to, which opening wipes.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Self

from hce.foundation.crypto.sign import SigningKey
from hce.foundation.store.disk import Sync
from hce.foundation.store.kv import DEFAULT_MAP_BYTES, Commit, KeyValueStore, WriteTxn, commit_durably
from hce.foundation.types.clock import Clock
from hce.service.mailbox import anchors, cards, deposits, handovers, inbox, ownreads, places, records, replica, streams, tokens
from hce.service.mailbox.deposits import Delivery, Deposit
from hce.service.mailbox.errors import EnvelopeCorrupt, ItemUnknown
from hce.service.mailbox.final import FinalState, FinalView
from hce.service.mailbox.nonces import SeenNonces
from hce.service.mailbox.quotas import Bounds, Quotas
from hce.service.mailbox.rebuild import rebuild
from hce.service.mailbox.records import Content, Delivered
from hce.service.mailbox.rules import FRESH_MS, Here, Lane, check_act, check_post, check_read, lane_of
from hce.service.mailbox.slots import Entropy, SlotFile
from hce.service.terms.grants import SignedCard
from hce.service.terms.handovers import SignedHandover
from hce.service.terms.mailbox import (
    DeletionReceipt,
    HeldRecord,
    MailboxRead,
    MailPage,
    Ownership,
    RecordsPage,
    SignedAct,
    SignedDeletion,
    SignedPost,
    SignedRead,
    deletion_message,
)

_PARTS = (streams, records, replica, places, inbox, cards, handovers, tokens, ownreads, anchors, deposits)
TABLES = tuple(table for part in _PARTS for table in part.TABLES)
SWEEP_ADDRESSES = 1_000
"""Addresses one sweep cleans for each kind."""


class _Fresh(NamedTuple):
    feed: bytes
    lane: Lane
    record: Delivered


class Mailbox:
    """Open it with `Mailbox.open`; one process, any thread."""

    def __init__(
        self,
        store: KeyValueStore,
        slots: SlotFile,
        *,
        chain: bytes,
        node_index: int,
        service_key: SigningKey,
        state: FinalView,
        clock: Clock,
        quotas: Quotas,
        fresh_ms: int,
    ) -> None:
        self._store = store
        self._slots = slots
        self._chain = chain
        self._node = node_index
        self._service_key = service_key
        self._state = state
        self._clock = clock
        self._quotas = quotas
        self._fresh_ms = fresh_ms
        self.replica = replica.Replica(store, slots, chain, quotas, state)
        self.periods = anchors.Periods(store)
        self._nonces = SeenNonces(2 * fresh_ms)

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        chain: bytes,
        node_index: int,
        service_key: SigningKey,
        state: FinalView,
        clock: Clock,
        quotas: Quotas | None = None,
        fresh_ms: int = FRESH_MS,
        map_size: int = DEFAULT_MAP_BYTES,
        sync: Sync = os.fsync,
        commit: Commit = commit_durably,
        entropy: Entropy = os.urandom,
    ) -> Self:
        """Open or create the mailbox in `path`. `path/slots` must be left out of snapshots and backups."""
        identity = _identity(chain, node_index)
        store = KeyValueStore.open(path / "tables", tables=TABLES, identity=identity, map_size=map_size, commit=commit)
        try:
            with store.read() as snapshot:
                used = records.slots_in_use(snapshot)
            slots = SlotFile.open(path / "slots", used, sync=sync, entropy=entropy)
        except BaseException:
            store.close()
            raise
        return cls(
            store,
            slots,
            chain=chain,
            node_index=node_index,
            service_key=service_key,
            state=state,
            clock=clock,
            quotas=quotas or Quotas(),
            fresh_ms=fresh_ms,
        )

    def close(self) -> None:
        """Close the files. A second call does nothing."""
        self._store.close()
        self._slots.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def damaged(self) -> bool:
        """Whether the tables met damage since they were opened."""
        return self._store.damaged

    def items(self) -> dict[str, int]:
        """How many items of each kind are here, over all addresses; for metrics."""
        with self._store.read() as snapshot:
            return streams.totals(snapshot)

    def read(self, signed: SignedRead) -> MailPage | RecordsPage:
        """A page of items, or the records asked for (kinds `envelopes` and `owner`). Refusals: `rules.check_read`."""
        read, here = signed.read, self._here()
        with self._state() as final:
            address = check_read(final, signed, here)
        if not self._enter_place(address, read, here.now_ms):
            return RecordsPage([], []) if read.what in ("envelopes", "owner") else MailPage([], False)
        if read.what == "envelopes" or read.what == "owner":
            found = self._records_page(address, read, for_owner=read.what == "owner")
            self._note_own_read(address, read, len(found.found), here.now_ms)
            return found
        with self._store.read() as snapshot:
            if read.what == "own-reads":
                return ownreads.page(snapshot, address, read.after, read.limit)
            return streams.page(snapshot, read.what, address, read.after, read.limit)

    def act(self, signed: SignedAct) -> SignedDeletion | None:
        """Change what the place's owner may change; erasing and rejecting answer with a signed receipt. Refusals: `rules.check_act`."""
        act, here = signed.act, self._here()
        with self._state() as final:
            address = check_act(final, signed, here)
            self._nonces.use(_asker(address, act.owner), act.nonce, here.now_ms)
            erased, freed = self._change(address, signed, here.now_ms, final)
        self._slots.wipe(freed)
        return None if erased is None else self._deletion(address, erased, here.now_ms)

    def post(self, signed: SignedPost) -> None:
        """An item into a certified organisation's inbox; the same bytes again change nothing. Refusals: `rules.check_post`."""
        post, here = signed.post, self._here()
        with self._state() as final:
            address = check_post(final, signed, here)
        self._nonces.use(post.owner.compartment_id, post.nonce, here.now_ms)
        with self._store.write() as batch:
            _drop_old(batch, "inbox", address, self._quotas.inbox, here.now_ms)
            inbox.put(batch, address, post.owner.compartment_id, post.data, here.now_ms, self._quotas.inbox)

    def put_card(self, signed: SignedCard) -> None:
        """Keep a card for authors to fetch, if no newer one is kept. Refusals: `cards.check`, `cards.put`."""
        here = self._here()
        with self._state() as final:
            cards.check(final, signed, here)
        with self._store.write() as batch:
            cards.put(batch, signed, self._quotas.places)

    def card(self, address: bytes) -> SignedCard | None:
        """The newest card of a feed while it is alive and its owner key is the compartment's."""
        with self._store.read() as snapshot:
            kept = cards.get(snapshot, address)
        with self._state() as final:
            return kept if kept is not None and cards.in_force(final, kept, self._clock.now_ms()) else None

    def put_handover(self, signed: SignedHandover) -> None:
        """Keep an owner's earlier keys, if no newer ones are kept. Refusals: `handovers.check`, `handovers.put`."""
        here = self._here()
        with self._state() as final:
            handovers.check(final, signed, here)
        with self._store.write() as batch:
            handovers.put(batch, signed, self._quotas.places)

    def handover(self, address: bytes) -> SignedHandover | None:
        """What is kept at a log address. Whose the compartment is by now, the chain says."""
        with self._store.read() as snapshot:
            return handovers.get(snapshot, address)

    def append_log(self, address: bytes, compartment_id: bytes, item_id: bytes, data: bytes, entered: anchors.ReceiptLeaf) -> bool:
        """A sealed receipt into a compartment's log and its leaf into its period, durable on return; False when that item was there."""
        with self._store.write() as batch:
            places.bind(batch, address, compartment_id, self._quotas.places)
            seq = streams.append(batch, "log", address, item_id, data, [], self._clock.now_ms(), self._quotas.log)
            if seq is not None:
                anchors.enter(batch, entered)
        return seq is not None

    def require_takeable(self, deliveries: list[Delivery]) -> None:
        """Raises `RecordErased` or `RecordConflict` as `deposit` would; asked before anything of a batch is written."""
        with self._store.read() as snapshot:
            for delivery in deliveries:
                for record in delivery.records:
                    records.is_fresh(snapshot, delivery.post.feed, record)

    def deposit(self, name: bytes, org_id: bytes, deliveries: list[Delivery], answer: bytes) -> bytes:
        """`deposit_all` of one."""
        (answer,) = self.deposit_all([Deposit(name, org_id, deliveries, answer)])
        return answer

    def deposit_all(self, brought: Sequence[Deposit]) -> list[bytes]:
        """Store envelopes and session entries of batches without a record in common, all or nothing, durable on return.

        The same deposit again stores what is missing and is answered as the first time; the answers in order. A full quota is refused
        by name. The caller has checked the organisations, their signatures and every digest.
        """
        now_ms = self._clock.now_ms()
        with self._state() as final, self._store.write() as batch:
            fresh: list[_Fresh] = []
            answers = []
            for deposit in brought:
                for delivery in deposit.deliveries:
                    fresh += self._enter(batch, deposit.org_id, delivery, now_ms, final)
                answers.append(deposits.answer(batch, deposit, now_ms))
            # Keys last: whatever is refused above has taken no slot.
            for (feed, lane, record), (slot, key) in zip(fresh, self._slots.take(len(fresh)), strict=True):
                records.put(batch, feed, lane, record, slot, key)
        return answers

    def sweep(self) -> int:
        """Drop what is older than its kind allows; how many items went. Called now and then by the node."""
        now_ms = self._clock.now_ms()
        return (
            self._sweep("quarantine", self._quotas.quarantine, now_ms)
            + self._sweep("inbox", self._quotas.inbox, now_ms)
            + self._sweep_deposits(now_ms)
        )

    def _here(self) -> Here:
        return Here(self._chain, self._node, self._clock.now_ms(), self._fresh_ms)

    def _enter_place(self, address: bytes, read: MailboxRead, now_ms: int) -> bool:
        """Whether there is anything to read; a replay of what shows nothing is nobody's loss and is not remembered."""
        with self._store.read() as snapshot:
            bound = places.is_bound(snapshot, address)
            if read.owner is not None:
                places.require_owned(snapshot, address, read.place, read.owner)
            elif not bound and read.what != "inbox" and not streams.holds(snapshot, address):
                return False
        self._nonces.use(_asker(address, read.owner), read.nonce, now_ms)
        if read.owner is not None and not bound:
            with self._store.write() as batch:
                places.bind(batch, address, read.owner.compartment_id, self._quotas.places)
        return True

    def _enter(self, batch: WriteTxn, org_id: bytes, delivery: Delivery, now_ms: int, final: FinalState) -> list[_Fresh]:
        """Append a session entry in its lane; its records that need a key."""
        post = delivery.post
        lane = lane_of(post.feed, post.token, self._chain, org_id, now_ms, lambda token: tokens.is_void(batch, final, token))
        if lane == "feed" and post.token is not None and final.health.compartment(post.token.token.compartment_id) is not None:
            places.bind(batch, post.feed, post.token.token.compartment_id, self._quotas.places)
        fresh = records.fresh_of(batch, post.feed, lane, delivery.records, self._quotas)
        name = streams.item_id(post.entry)
        if lane == "feed":
            records.admit(batch, post.feed, [record.record_id for record in delivery.records], self._quotas)
            streams.append(batch, "feed", post.feed, name, post.entry, [], now_ms, self._quotas.feed)
        elif not streams.is_known(batch, "feed", post.feed, name):
            named = [record.record_id for record in delivery.records]
            streams.append(batch, "quarantine", post.feed, name, post.entry, named, now_ms, self._quotas.quarantine)
        return [_Fresh(post.feed, lane, record) for record in fresh]

    def _change(self, address: bytes, signed: SignedAct, now_ms: int, final: FinalState) -> tuple[list[bytes] | None, list[int]]:
        """Erased record ids (None when the act erases nothing by its nature) and the slots to wipe."""
        act = signed.act
        with self._store.write() as batch:
            if act.owner is not None:
                places.require_owned(batch, address, act.place, act.owner)
                places.bind(batch, address, act.owner.compartment_id, self._quotas.places)
            if act.what == "erase":
                gone = records.erasable(batch, address, act.records, lambda name: final.health.record(name) is not None)
                replica.keep_erasure(batch, address, signed, gone, now_ms, self._quotas)
                return gone, records.erase(batch, address, gone, now_ms, self._quotas)
            if act.what == "drop" or act.what == "drop-log":
                dropped = streams.remove_until(batch, "inbox" if act.what == "drop" else "log", address, last_seq=act.number)
                inbox.forget(batch, address, dropped)
                return None, []
            if act.what == "revoke-token":
                tokens.revoke(batch, address, act.number, self._quotas.serials)
                return None, []
            item = streams.get(batch, "quarantine", address, act.number)
            if item is None:
                raise ItemUnknown(number=act.number)
            streams.remove(batch, "quarantine", address, act.number, item)
            if act.what == "reject":
                waiting = records.still_quarantined(batch, address, item.records)
                return waiting, records.erase(batch, address, waiting, now_ms, self._quotas)
            records.admit(batch, address, item.records, self._quotas)
            streams.append(batch, "feed", address, item.item_id, item.data, [], now_ms, self._quotas.feed)
            return None, []

    def _records_page(self, feed: bytes, read: MailboxRead, for_owner: bool) -> RecordsPage:
        found, erased = [], []
        for record_id in read.records:
            content = self._content(feed, record_id, for_owner)
            if content is not None:
                found.append(HeldRecord(record_id, content.envelope, content.owner_wrap if for_owner else None))
            else:
                with self._store.read() as snapshot:
                    erased += [record_id] if records.is_erased(snapshot, feed, record_id) else []
        return RecordsPage(found, erased)

    def _note_own_read(self, feed: bytes, read: MailboxRead, count: int, now_ms: int) -> None:
        """Durable before owner wraps leave."""
        if read.owner is not None and count:
            with self._store.write() as batch:
                ownreads.note(batch, feed, read.owner.owner_key, count, now_ms, self._chain, self._node, self._service_key)

    def _content(self, feed: bytes, record_id: bytes, for_owner: bool) -> Content | None:
        with self._store.read() as snapshot:
            row = records.row_of(snapshot, record_id)
        if row is None or row.feed != feed or (row.quarantined and not for_owner):
            return None
        content = records.open_row(record_id, row, self._slots)
        if content is None:
            with self._store.read() as snapshot:
                if records.row_of(snapshot, record_id) == row:  # not erased while we looked
                    raise EnvelopeCorrupt(record_id=record_id.hex())
        return content

    def _deletion(self, address: bytes, erased: list[bytes], now_ms: int) -> SignedDeletion:
        receipt = DeletionReceipt(self._chain, address, erased, self._node, now_ms)
        return SignedDeletion(receipt, self._service_key.sign(deletion_message(receipt)))

    def _sweep(self, kind: streams.Kind, bounds: Bounds, now_ms: int) -> int:
        if bounds.age_ms is None:
            return 0
        with self._store.read() as snapshot:
            addresses = streams.addresses_older_than(snapshot, kind, now_ms - bounds.age_ms, SWEEP_ADDRESSES)
        dropped, freed = 0, []
        with self._store.write() as batch:
            for address in addresses:
                items = _drop_old(batch, kind, address, bounds, now_ms)
                dropped += len(items)
                for item in items:
                    freed += records.forget(batch, address, records.still_quarantined(batch, address, item.records))
        self._slots.wipe(freed)
        return dropped

    def _sweep_deposits(self, now_ms: int) -> int:
        with self._store.write() as batch:
            return deposits.forget_old(batch, now_ms)


def _drop_old(batch: WriteTxn, kind: streams.Kind, address: bytes, bounds: Bounds, now_ms: int) -> list[streams.StoredItem]:
    if bounds.age_ms is None:
        return []
    dropped = streams.remove_until(batch, kind, address, before_ms=now_ms - bounds.age_ms)
    inbox.forget(batch, address, dropped)
    return dropped


def _asker(address: bytes, owner: Ownership | None) -> bytes:
    return address if owner is None else owner.compartment_id


def forget_sealed(path: Path, chain: bytes, node_index: int, map_size: int = DEFAULT_MAP_BYTES) -> int:
    """Drop the records of a closed mailbox whose slot file is lost, as after a restore; how many there were.

    What is final comes back from the other nodes. Feeds, inboxes, logs and receipts stay.
    """
    identity = _identity(chain, node_index)
    with KeyValueStore.open(path / "tables", tables=TABLES, identity=identity, map_size=map_size) as store, store.write() as batch:
        replica.look_again(batch)
        return records.forget_all(batch)


def rebuild_tables(path: Path, chain: bytes, node_index: int, map_size: int = DEFAULT_MAP_BYTES) -> int:
    """Tables of a closed mailbox that are damaged, made anew from what can be read of them; how many rows that is. See `rebuild.py`."""
    return rebuild(path, TABLES, _identity(chain, node_index), map_size)


def _identity(chain: bytes, node_index: int) -> bytes:
    return b"mailbox" + chain + bytes([node_index])
