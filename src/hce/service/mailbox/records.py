"""Envelopes and owner wraps, one sealed row for each record, and the tombstones that win over every later upload.

A tombstone names record and feed: the owner of one feed cannot forbid the record of another.
Rows are sealed once, under a key that lives in `slots.py`; without it the row is noise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from msgspec import Struct

from hce.foundation.codec.dagcbor import decode_as, encode
from hce.foundation.crypto.aead import TAG_BYTES, aead_open, aead_seal
from hce.foundation.crypto.errors import SealBroken
from hce.foundation.store.kv import Reader, ReadTxn, WriteTxn
from hce.service.mailbox import streams
from hce.service.mailbox.errors import RecordConflict, RecordErased, RecordOfOtherFeed
from hce.service.mailbox.quotas import Bounds, Quotas
from hce.service.mailbox.rules import Lane
from hce.service.mailbox.slots import SlotFile
from hce.service.terms.records import Envelope, digest_of_envelope

RECORDS, TOMBSTONES = "records", "tombstones"
TABLES = (RECORDS, TOMBSTONES)


class Delivered(NamedTuple):
    """A record as the intake hands it over; that the wrap fits the envelope was checked there."""

    record_id: bytes
    envelope: Envelope
    owner_wrap: bytes


class Content(Struct, frozen=True, array_like=True):
    """What a row seals."""

    envelope: Envelope
    owner_wrap: bytes


class RecordRow(Struct, frozen=True, array_like=True):
    feed: bytes
    quarantined: bool
    slot: int
    envelope_digest: bytes
    """Says whether an upload is the same again, without opening the row."""
    sealed: bytes


def fresh_of(batch: WriteTxn, feed: bytes, lane: Lane, delivered: list[Delivered], quotas: Quotas) -> list[Delivered]:
    """Those not stored yet, counted against the lane's quota. `RecordErased`, `RecordConflict`, or a full quota."""
    fresh = [record for record in delivered if is_fresh(batch, feed, record)]
    size = sum(len(_content(record)) + TAG_BYTES for record in fresh)
    kind, bounds = _counted(lane == "quarantine", quotas)
    streams.charge(batch, kind, feed, len(fresh), size, bounds)
    return fresh


def put(batch: WriteTxn, feed: bytes, lane: Lane, record: Delivered, slot: int, key: bytes) -> None:
    """Seal and store one fresh record under the key of its slot."""
    sealed = aead_seal(key, _content(record), record.record_id)
    row = RecordRow(feed, lane == "quarantine", slot, digest_of_envelope(record.envelope), sealed)
    batch.put(RECORDS, record.record_id, encode(row))


def admit(batch: WriteTxn, feed: bytes, record_ids: list[bytes], quotas: Quotas) -> None:
    """Let quarantined records into the feed."""
    for record_id, row in _waiting(batch, feed, record_ids):
        streams.discharge(batch, "quarantined-records", feed, 1, len(row.sealed))
        streams.charge(batch, "records", feed, 1, len(row.sealed), quotas.records)
        admitted = RecordRow(row.feed, False, row.slot, row.envelope_digest, row.sealed)
        batch.put(RECORDS, record_id, encode(admitted))


def erasable(tables: Reader, feed: bytes, record_ids: list[bytes], is_on_chain: Callable[[bytes], bool]) -> list[bytes]:
    """Those there is something to erase of: stored in this feed, erased from it before, or on chain and not stored here (yet).

    A made-up record id is none of these: it takes no room and gets no receipt.
    """
    return [name for name in record_ids if row_of(tables, name) is not None or is_erased(tables, feed, name) or is_on_chain(name)]


def erase(batch: WriteTxn, feed: bytes, record_ids: list[bytes], now_ms: int, quotas: Quotas) -> list[int]:
    """Put up tombstones and forget the rows; the slots to wipe once the batch is durable. `RecordOfOtherFeed`, `AddressFull`."""
    for record_id in record_ids:
        row = row_of(batch, record_id)
        if row is not None and row.feed != feed:
            raise RecordOfOtherFeed(record_id=record_id.hex())
        if not is_erased(batch, feed, record_id):
            if row is None:
                streams.charge(batch, "tombstones", feed, 1, len(record_id + feed), quotas.tombstones)
            batch.put(TOMBSTONES, record_id + feed, encode(now_ms))
    return forget(batch, feed, record_ids)


def forget(batch: WriteTxn, feed: bytes, record_ids: list[bytes]) -> list[int]:
    """Drop the rows of a feed without tombstones (an expired quarantine); the slots to wipe once the batch is durable."""
    slots = []
    for record_id in record_ids:
        row = row_of(batch, record_id)
        if row is not None and row.feed == feed:
            kind: streams.Kind = "quarantined-records" if row.quarantined else "records"
            streams.discharge(batch, kind, feed, 1, len(row.sealed))
            batch.delete(RECORDS, record_id)
            slots.append(row.slot)
    return slots


def forget_all(batch: WriteTxn) -> int:
    """Drop every row, whose keys are lost; how many there were."""
    rows = [(record_id, decode_as(RecordRow, raw).feed) for record_id, raw in batch.scan(RECORDS)]
    for record_id, feed in rows:
        forget(batch, feed, [record_id])
    return len(rows)


def is_fresh(tables: Reader, feed: bytes, record: Delivered) -> bool:
    """Whether it must be stored; False when it is. `RecordErased`, `RecordConflict`."""
    if is_erased(tables, feed, record.record_id):
        raise RecordErased(record_id=record.record_id.hex())
    row = row_of(tables, record.record_id)
    if row is None:
        return True
    if (row.feed, row.envelope_digest) != (feed, digest_of_envelope(record.envelope)):
        raise RecordConflict(record_id=record.record_id.hex())
    return False


def still_quarantined(batch: WriteTxn, feed: bytes, record_ids: list[bytes]) -> list[bytes]:
    """Those that wait with their entry; one that another entry let in stays where it is."""
    return [record_id for record_id, _ in _waiting(batch, feed, record_ids)]


def row_of(tables: Reader, record_id: bytes) -> RecordRow | None:
    raw = tables.get(RECORDS, record_id)
    return None if raw is None else decode_as(RecordRow, raw)


def is_erased(tables: Reader, feed: bytes, record_id: bytes) -> bool:
    return tables.get(TOMBSTONES, record_id + feed) is not None


def open_row(record_id: bytes, row: RecordRow, slots: SlotFile) -> Content | None:
    """What the row seals, or None when its key is not in its slot (any more)."""
    try:
        return decode_as(Content, aead_open(slots.key(row.slot), row.sealed, record_id))
    except SealBroken:
        return None


def count_again(batch: WriteTxn) -> None:
    """Counts and bytes of all records, from their rows."""
    streams.forget_counts(batch, "records")
    streams.forget_counts(batch, "quarantined-records")
    for _, raw in list(batch.scan(RECORDS)):
        row = decode_as(RecordRow, raw)
        streams.count(batch, "quarantined-records" if row.quarantined else "records", row.feed, 1, len(row.sealed))


def rows_after(snapshot: ReadTxn, after: bytes, limit: int) -> dict[bytes, RecordRow]:
    """The next rows after a record id (empty at the start)."""
    start = after + b"\x00" if after else None
    return {record_id: decode_as(RecordRow, raw) for record_id, raw in snapshot.scan(RECORDS, start=start, limit=limit)}


def slots_in_use(snapshot: ReadTxn) -> set[int]:
    """Cost: reads every row; done once, at opening."""
    return {decode_as(RecordRow, raw).slot for _, raw in snapshot.scan(RECORDS)}


def _waiting(batch: WriteTxn, feed: bytes, record_ids: list[bytes]) -> list[tuple[bytes, RecordRow]]:
    rows = [(record_id, row_of(batch, record_id)) for record_id in record_ids]
    return [(record_id, row) for record_id, row in rows if row is not None and row.feed == feed and row.quarantined]


def _content(record: Delivered) -> bytes:
    return encode(Content(record.envelope, record.owner_wrap))


def _counted(quarantined: bool, quotas: Quotas) -> tuple[streams.Kind, Bounds]:
    return ("quarantined-records", quotas.quarantined_records) if quarantined else ("records", quotas.records)
