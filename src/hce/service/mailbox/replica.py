"""What nodes tell each other of their mailboxes, so that one that was away misses nothing.

    wanted      record id -> envelope digest: final on chain, not here
    entered     record id + feed -> nothing: an entry of that feed names the record, which is not here
    erasures    time + digest -> SignedAct: every erasure an owner signed
    marks       "since" -> the time up to which nothing is missed; "seen" -> height up to which final blocks were looked through

Three kinds of things are believed for three reasons. An erasure carries its owner's signature: one peer is enough, and it wins over
everything. An envelope is named on chain by its digest. That an item belongs at an address, and a record to a feed, was proven to each
node when it took the batch in, by signatures that are not kept; here it takes as many equal witnesses as cannot all be faulty
(`catchup.py`). Logs and numbers are each node's own and do not travel.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Literal, get_args

from msgspec import Meta, Struct

from hce.foundation.codec.dagcbor import decode_as, encode
from hce.foundation.crypto.hashing import digest
from hce.foundation.crypto.sign import verify
from hce.foundation.store.kv import KeyValueStore, Reader, ReadTxn, WriteTxn
from hce.foundation.types.scalars import Bytes32, Digest, TimeMs
from hce.service.mailbox import places, records, streams
from hce.service.mailbox.errors import AddressFull, BadSignature, Behind, KindFull
from hce.service.mailbox.final import FinalView
from hce.service.mailbox.quotas import Quotas
from hce.service.mailbox.records import Delivered
from hce.service.mailbox.rules import Lane
from hce.service.mailbox.slots import SlotFile
from hce.service.terms.mailbox import OwnerWrap, SignedAct, act_message, place_address
from hce.service.terms.records import Envelope, SessionEntry, digest_of_envelope, owner_wrap_digest

WANTED, ENTERED, ERASURES, MARKS = "wanted", "entered", "erasures", "marks"
TABLES = (WANTED, ENTERED, ERASURES, MARKS)
MAX_ASKED = 200
"""Records, items or erasures in one answer."""
MAX_NAMES = 2_000
MAX_ITEMS_BYTES = 4 << 20
"""An answer with items ends with the one that passes this."""
_TIME_BYTES = 8
_KIND_BYTES = 1
_SINCE, _SEEN = b"since", b"seen"
MARK_BLOCKS = 200
"""Blocks after which the height is noted even when nothing is missing: a restart looks through no more than these again."""

SharedKind = Literal["feed", "quarantine", "inbox"]
SHARED_KINDS: tuple[SharedKind, ...] = get_args(SharedKind)


class Name(Struct, frozen=True, array_like=True):
    """An item at an address."""

    address: Digest
    item_id: Digest


class Names(Struct, frozen=True, array_like=True):
    names: Annotated[list[Name], Meta(max_length=MAX_NAMES)]
    next: bytes
    """Where to go on; empty at the end."""

    def goes_on(self, after: bytes) -> bool:
        """Whether more may follow: a full page, and `next` is the position of its last entry."""
        if len(self.names) < MAX_NAMES or self.next <= after:
            return False
        return self.next[_KIND_BYTES + _TIME_BYTES :] == self.names[-1].address + self.names[-1].item_id


class Erasures(Struct, frozen=True, array_like=True):
    acts: Annotated[list[SignedAct], Meta(max_length=MAX_ASKED)]
    next: bytes

    def goes_on(self, after: bytes) -> bool:
        """As `Names.goes_on`."""
        return len(self.acts) >= MAX_ASKED and self.next > after and self.next[_TIME_BYTES:] == _name_of_erasure(self.acts[-1])


class Since(Struct, frozen=True, array_like=True):
    """A question for everything of a kind from a time on; `after` continues an answer."""

    kind: SharedKind
    time_ms: TimeMs
    after: Annotated[bytes, Meta(max_length=128)]


class ErasedSince(Struct, frozen=True, array_like=True):
    time_ms: TimeMs
    after: Annotated[bytes, Meta(max_length=128)]


class Wanted(Struct, frozen=True, array_like=True):
    kind: SharedKind
    names: Annotated[list[Name], Meta(max_length=MAX_ASKED)]


class PeerRecord(Struct, frozen=True, array_like=True):
    feed: Digest
    quarantined: bool
    envelope: Envelope
    owner_wrap: OwnerWrap


RecordIds = Annotated[list[Bytes32], Meta(max_length=MAX_ASKED)]


class Replica:
    """The shared side of one mailbox. Any thread."""

    def __init__(self, store: KeyValueStore, slots: SlotFile, chain: bytes, quotas: Quotas, state: FinalView) -> None:
        self._store = store
        self._slots = slots
        self._chain = chain
        self._quotas = quotas
        self._state = state

    def expect(self, height: int, final: Mapping[bytes, bytes]) -> None:
        """Records that are final at a height (record id -> envelope digest), all below being told: those not here are wanted."""
        with self._store.write() as batch:
            missing = [record_id for record_id in final if records.row_of(batch, record_id) is None]
            for record_id in missing:
                batch.put(WANTED, record_id, final[record_id])
            if missing or height % MARK_BLOCKS == 0:
                batch.put(MARKS, _SEEN, encode(height))

    @property
    def seen_height(self) -> int:
        """Final blocks up to here were told by `expect`, and perhaps later ones. Kept here, not only with the placements: this
        mailbox may be older than they are, put back from before."""
        with self._store.read() as snapshot:
            return _seen_height(snapshot)

    def renew_unreadable(self, after: bytes, limit: int) -> tuple[bytes, int]:
        """Looks at the next rows after a record id (empty at the start): where to go on (empty at the end), and how many were renewed.

        A row whose key is damaged or lost is noise. It goes, and is wanted from the peers when a final block names it; one that
        becomes final later is missed then. While the chain here is older than the blocks that were looked through (its tables are
        being made anew), nobody can tell which it is, and the row stays for a later walk.
        """
        with self._store.read() as snapshot:
            rows = records.rows_after(snapshot, after, limit)
        unreadable = {record_id: row for record_id, row in rows.items() if records.open_row(record_id, row, self._slots) is None}
        freed = []
        if unreadable:
            # The state after the lock: a block that becomes final meanwhile finds the row gone, or its record is found here.
            with self._store.write() as batch, self._state() as final:
                behind = final.syncing or final.height < _seen_height(batch)
                for record_id, row in unreadable.items():
                    state = final.health.record(record_id)
                    if records.row_of(batch, record_id) != row or (state is None and behind):
                        continue
                    freed += records.forget(batch, row.feed, [record_id])
                    if state is not None:
                        batch.put(WANTED, record_id, state.envelope_digest)
                        batch.put(ENTERED, record_id + row.feed, b"")
            self._slots.wipe(freed)
        return (max(rows) if len(rows) == limit else b""), len(freed)

    def wanted(self, after: bytes, limit: int) -> dict[bytes, bytes]:
        """The next records that are missing (record id -> envelope digest), after one (empty at the start)."""
        with self._store.read() as snapshot:
            return dict(snapshot.scan(WANTED, start=after + b"\x00" if after else None, limit=limit))

    @property
    def awaited(self) -> int:
        """How many records that are final are not here."""
        with self._store.read() as snapshot:
            return snapshot.count(WANTED)

    def up_to_date_ms(self) -> int | None:
        """Time of the newest final block; None while this node knows of later ones."""
        with self._state() as final:
            return None if final.syncing else final.time_ms

    def since_ms(self) -> int | None:
        """Up to when nothing is missed; None before the first whole round."""
        with self._store.read() as snapshot:
            raw = snapshot.get(MARKS, _SINCE)
        return None if raw is None else decode_as(int, raw)

    def mark(self, since_ms: int) -> None:
        """Nothing of before that time is missed; durable on return."""
        if self.since_ms() != since_ms:
            with self._store.write() as batch:
                batch.put(MARKS, _SINCE, encode(since_ms))

    def strike(self, nobody_has: Iterable[bytes]) -> None:
        """Wanted records that came meanwhile or, of those that nobody has any more, were erased, are wanted no longer.

        Erased by the feed an entry names it in: the owner of another feed decides nothing.
        """
        gone = set(nobody_has)
        with self._store.write() as batch:
            for record_id, _ in list(batch.scan(WANTED)):
                feeds = [key[len(record_id) :] for key, _ in batch.scan(ENTERED, record_id)]
                here = records.row_of(batch, record_id) is not None
                if here or (record_id in gone and any(records.is_erased(batch, feed, record_id) for feed in feeds)):
                    _want_no_longer(batch, record_id)

    def names(self, since: Since) -> Names:
        """Items of a shared kind that came at or after a time, oldest first."""
        with self._store.read() as snapshot:
            keys = streams.arrived_since(snapshot, since.kind, since.time_ms, since.after, MAX_NAMES)
        return Names([Name(*streams.named(key)) for key in keys], keys[-1] if len(keys) == MAX_NAMES else b"")

    def erasures(self, since: ErasedSince) -> Erasures:
        """Erasures signed by owners that came at or after a time, oldest first."""
        start = max(since.time_ms.to_bytes(_TIME_BYTES, "big"), since.after + b"\x00")
        with self._store.read() as snapshot:
            found = list(snapshot.scan(ERASURES, start=start, limit=MAX_ASKED))
        return Erasures([decode_as(SignedAct, raw) for _, raw in found], found[-1][0] if len(found) == MAX_ASKED else b"")

    def items(self, wanted: Wanted) -> list[bytes | None]:
        """Data of items, None for what is not here; the list may end early."""
        found: list[bytes | None] = []
        size = 0
        with self._store.read() as snapshot:
            for name in wanted.names:
                here = streams.find(snapshot, wanted.kind, name.address, name.item_id)
                found.append(None if here is None else here[1].data)
                size += 0 if here is None else len(here[1].data)
                if size > MAX_ITEMS_BYTES:
                    break
        return found

    def records(self, record_ids: list[bytes]) -> list[PeerRecord | None]:
        """What this node holds of records, None for what it does not."""
        with self._store.read() as snapshot:
            return [self._record(snapshot, record_id) for record_id in record_ids]

    def missing(self, kind: SharedKind, names: list[Name]) -> list[Name]:
        """Those of a peer's items this node does not have; an item let into the feed is no longer missed in quarantine."""
        with self._store.read() as snapshot:
            return [name for name in names if not _is_here(snapshot, kind, name)]

    def take_item(self, kind: SharedKind, address: bytes, data: bytes, now_ms: int) -> None:
        """An item that enough peers have at that address. What the owner accepted elsewhere leaves the quarantine here.

        Raises what a full mailbox raises; a feed entry that is none is `Malformed`.
        """
        name = Name(address, streams.item_id(data))
        named = [] if kind == "inbox" else [opening.record_id for opening in decode_as(SessionEntry, data).openings]
        with self._store.write() as batch:
            if _is_here(batch, kind, name):
                return
            for record_id in named:
                if records.row_of(batch, record_id) is None:
                    batch.put(ENTERED, record_id + address, b"")
            if kind == "feed":
                waiting = streams.find(batch, "quarantine", address, name.item_id)
                if waiting is not None:
                    streams.remove(batch, "quarantine", address, *waiting)
                records.admit(batch, address, named, self._quotas)
            bounds = {"feed": self._quotas.feed, "quarantine": self._quotas.quarantine, "inbox": self._quotas.inbox}[kind]
            streams.append(batch, kind, address, name.item_id, data, named if kind == "quarantine" else [], now_ms, bounds)

    def take_record(self, record_id: bytes, held: PeerRecord) -> None:
        """A wanted record whose digest the caller compared with the chain. Raises `RecordErased`, `RecordConflict`, a full mailbox."""
        delivered = Delivered(record_id, held.envelope, held.owner_wrap)
        lane: Lane = "quarantine" if held.quarantined else "feed"
        with self._store.write() as batch:
            fresh = records.fresh_of(batch, held.feed, lane, [delivered], self._quotas)
            _want_no_longer(batch, record_id)
            for record, (slot, key) in zip(fresh, self._slots.take(len(fresh)), strict=True):
                records.put(batch, held.feed, lane, record, slot, key)

    def take_erasure(self, signed: SignedAct, now_ms: int) -> None:
        """An owner's erasure, whichever node it was signed for and when: tombstones, keys overwritten, of what there is to erase.

        The key must own the compartment today: one that was rotated out could sign for yesterday. Raises `Behind` while this node's
        chain is older than the act and may not know owner or record yet, `BadSignature`, `NotCurrentOwner`,
        `PlaceOfOtherCompartment`, `Malformed`, `RecordOfOtherFeed`.
        """
        act = signed.act
        owner, feed = act.owner, place_address(act.what, act.place)
        signs = owner is not None and act.what == "erase" and act.chain == self._chain
        if owner is None or not signs or not verify(owner.owner_key, act_message(act), signed.signature):
            raise BadSignature(kind=act.what)
        with self._state() as final:
            behind = final.syncing or final.time_ms < act.time_ms
            unknown = final.health.compartment(owner.compartment_id) is None
            if unknown or (behind and not places.is_current(final.health, owner.compartment_id, owner.owner_key)):
                raise Behind(compartment_id=owner.compartment_id.hex())
            places.require_current(final.health, owner)
            on_chain = {record_id for record_id in act.records if final.health.record(record_id) is not None}
        with self._store.write() as batch:
            places.require_owned(batch, feed, act.place, owner)
            gone = records.erasable(batch, feed, act.records, on_chain.__contains__)
            if gone:
                places.bind(batch, feed, owner.compartment_id, self._quotas.places)
            keep_erasure(batch, feed, signed, gone, now_ms, self._quotas)
            freed = records.erase(batch, feed, gone, now_ms, self._quotas)
        self._slots.wipe(freed)
        if behind and len(gone) < len(act.records):
            raise Behind("a record this chain may not have yet", records=len(act.records) - len(gone))

    def envelopes(self, record_ids: Sequence[bytes]) -> list[Envelope | None]:
        """The envelopes of records, None for what is not here."""
        with self._store.read() as snapshot:
            held = [self._record(snapshot, record_id) for record_id in record_ids]
        return [None if one is None else one.envelope for one in held]

    def _record(self, snapshot: ReadTxn, record_id: bytes) -> PeerRecord | None:
        row = records.row_of(snapshot, record_id)
        content = None if row is None else records.open_row(record_id, row, self._slots)
        return None if row is None or content is None else PeerRecord(row.feed, row.quarantined, *_fields(content))


def _seen_height(tables: Reader) -> int:
    raw = tables.get(MARKS, _SEEN)
    return 0 if raw is None else decode_as(int, raw)


def look_again(batch: WriteTxn) -> None:
    """All final blocks are to be told once more: what they name may be lost."""
    batch.delete(MARKS, _SEEN)


def fits(record: PeerRecord, envelope_digest: bytes) -> bool:
    """Whether this is the envelope the chain names, with the wrap the envelope names."""
    return (
        digest_of_envelope(record.envelope) == envelope_digest
        and owner_wrap_digest(record.owner_wrap) == record.envelope.owner_wrap_digest
    )


def keep_erasure(batch: WriteTxn, feed: bytes, signed: SignedAct, gone: Sequence[bytes], now_ms: int, quotas: Quotas) -> None:
    """Remember an erasure for peers that were away; called before its records (`gone`) are. One that erases nothing new is not kept,
    nor is one more than a feed has room for: peers then hear of it from its owner alone."""
    if all(records.is_erased(batch, feed, record_id) for record_id in gone):
        return
    raw = encode(signed)
    try:
        streams.charge(batch, "erasures", feed, 1, len(raw), quotas.erasures)
    except (AddressFull, KindFull):
        return
    batch.put(ERASURES, now_ms.to_bytes(_TIME_BYTES, "big") + _name_of_erasure(signed), raw)


def _name_of_erasure(signed: SignedAct) -> bytes:
    return digest("hce/erasure/1", signed)


def _want_no_longer(batch: WriteTxn, record_id: bytes) -> None:
    batch.delete(WANTED, record_id)
    for key, _ in list(batch.scan(ENTERED, record_id)):
        batch.delete(ENTERED, key)


def _is_here(tables: ReadTxn | WriteTxn, kind: SharedKind, name: Name) -> bool:
    return streams.is_known(tables, kind, name.address, name.item_id) or (
        kind == "quarantine" and streams.is_known(tables, "feed", name.address, name.item_id)
    )


def _fields(content: records.Content) -> tuple[Envelope, bytes]:
    return content.envelope, content.owner_wrap
