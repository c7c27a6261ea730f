"""Numbered items at addresses: feeds, quarantine, inboxes, logs. Functions over one read snapshot or one batch.

Numbers begin at 1 and grow over all addresses of a kind: none is ever used twice, gaps mean nothing, and an emptied address leaves
nothing behind. An item is known by its id: appending a known one changes nothing. Counts and bytes are kept for each address and each
kind, so that a quota is one comparison.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from hce.foundation.codec.dagcbor import decode_as, encode
from hce.foundation.crypto.hashing import digest
from hce.foundation.store.kv import Reader, ReadTxn, WriteTxn
from hce.service.mailbox.errors import AddressFull, ItemTooLarge, KindFull
from hce.service.mailbox.quotas import Bounds
from hce.service.terms.mailbox import MailItem, MailPage

ITEMS, HEADS, NAMES, ARRIVED = "items", "heads", "names", "arrived"
TABLES = (ITEMS, HEADS, NAMES, ARRIVED)
"""ARRIVED lists items by kind and the time they came: what peers that were away ask for."""
MAX_PAGE_BYTES = 8 << 20
"""A page stops before it grows beyond this (one item is always given)."""

Kind = Literal[
    "feed", "quarantine", "inbox", "log", "records", "quarantined-records", "places", "serials", "tombstones", "erasures"
]
_PREFIX: dict[Kind, bytes] = {
    "feed": b"f",
    "quarantine": b"q",
    "inbox": b"i",
    "log": b"l",
    "records": b"r",
    "quarantined-records": b"u",
    "places": b"p",
    "serials": b"s",
    "tombstones": b"t",
    "erasures": b"e",
}
STREAMS: tuple[Kind, ...] = ("feed", "quarantine", "inbox", "log")
"""Kinds that hold items; of the others only counts stand here."""
_SEQ_BYTES = 8
_TIME_BYTES = 8
_NAME_BYTES = 32
ITEM_OVERHEAD_BYTES = 256
"""What an item costs besides its data; counted, so that empty items fill a quota too."""


class Head(Struct, frozen=True, array_like=True):
    """What stands at an address, or, without an address, in a whole kind."""

    last_seq: int
    """Only counted for the kind; 0 at an address."""
    count: int
    bytes: int


class StoredItem(Struct, frozen=True, array_like=True):
    item_id: bytes
    time_ms: int
    data: bytes
    records: list[bytes]
    """Records that came with a quarantined entry and share its fate."""


_NONE = Head(0, 0, 0)


def item_id(data: bytes) -> bytes:
    return digest("hce/mail-item/1", data)


def append(
    batch: WriteTxn, kind: Kind, address: bytes, name: bytes, data: bytes, records: list[bytes], now_ms: int, bounds: Bounds
) -> int | None:
    """Number of the new item, None when one of that name is there. `ItemTooLarge`, `AddressFull`, `KindFull`."""
    if is_known(batch, kind, address, name):
        return None
    if len(data) > bounds.item_bytes:
        raise ItemTooLarge(kind=kind, actual_bytes=len(data), max_bytes=bounds.item_bytes)
    charge(batch, kind, address, 1, _cost(data), bounds)
    seq = _next_seq(batch, kind)
    batch.put(ITEMS, _item_key(kind, address, seq), encode(StoredItem(name, now_ms, data, records)))
    batch.put(NAMES, _PREFIX[kind] + address + name, seq.to_bytes(_SEQ_BYTES, "big"))
    batch.put(ARRIVED, _arrival_key(kind, now_ms, address, name), b"")
    return seq


def is_known(tables: Reader, kind: Kind, address: bytes, name: bytes) -> bool:
    return tables.get(NAMES, _PREFIX[kind] + address + name) is not None


def find(tables: Reader, kind: Kind, address: bytes, name: bytes) -> tuple[int, StoredItem] | None:
    """Number and item of that name."""
    seq = tables.get(NAMES, _PREFIX[kind] + address + name)
    raw = None if seq is None else tables.get(ITEMS, _PREFIX[kind] + address + seq)
    return None if seq is None or raw is None else (int.from_bytes(seq, "big"), decode_as(StoredItem, raw))


def arrived_since(snapshot: ReadTxn, kind: Kind, time_ms: int, after: bytes, limit: int) -> list[bytes]:
    """Positions of the next items that came at or after a time, oldest first, behind position `after` (empty at the start)."""
    start = max(_PREFIX[kind] + time_ms.to_bytes(_TIME_BYTES, "big"), after + b"\x00")
    return [key for key, _ in snapshot.scan(ARRIVED, _PREFIX[kind], start=start, limit=limit)]


def named(position: bytes) -> tuple[bytes, bytes]:
    """Address and name of the item at a position."""
    return position[1 + _TIME_BYTES : -_NAME_BYTES], position[-_NAME_BYTES:]


def get(batch: WriteTxn, kind: Kind, address: bytes, seq: int) -> StoredItem | None:
    raw = batch.get(ITEMS, _item_key(kind, address, seq))
    return None if raw is None else decode_as(StoredItem, raw)


def remove(batch: WriteTxn, kind: Kind, address: bytes, seq: int, item: StoredItem) -> None:
    discharge(batch, kind, address, 1, _cost(item.data))
    batch.delete(ITEMS, _item_key(kind, address, seq))
    batch.delete(NAMES, _PREFIX[kind] + address + item.item_id)
    batch.delete(ARRIVED, _arrival_key(kind, item.time_ms, address, item.item_id))


def remove_until(
    batch: WriteTxn, kind: Kind, address: bytes, last_seq: int | None = None, before_ms: int | None = None
) -> list[StoredItem]:
    """Drop items from the oldest on, while their number is at most `last_seq` and their time below `before_ms`; what was dropped."""
    dropped = []
    for key, raw in batch.scan(ITEMS, _PREFIX[kind] + address):
        seq, item = _seq_of(key), decode_as(StoredItem, raw)
        if (last_seq is not None and seq > last_seq) or (before_ms is not None and item.time_ms >= before_ms):
            break
        remove(batch, kind, address, seq, item)
        dropped.append(item)
    return dropped


def make_room(batch: WriteTxn, kind: Kind, address: bytes, size: int, bounds: Bounds) -> list[StoredItem]:
    """Drop the oldest items until one more with `size` bytes of data fits; what was dropped."""
    dropped: list[StoredItem] = []
    for key, raw in batch.scan(ITEMS, _PREFIX[kind] + address):
        head = _head(batch, kind, address)
        if head.count < bounds.items and head.bytes + size + ITEM_OVERHEAD_BYTES <= bounds.address_bytes:
            break
        item = decode_as(StoredItem, raw)
        remove(batch, kind, address, _seq_of(key), item)
        dropped.append(item)
    return dropped


def page(snapshot: ReadTxn, kind: Kind, address: bytes, after: int, limit: int) -> MailPage:
    """Up to `limit` items with numbers above `after`."""
    items: list[MailItem] = []
    size = 0
    for key, raw in snapshot.scan(ITEMS, _PREFIX[kind] + address, start=_item_key(kind, address, after + 1)):
        item = decode_as(StoredItem, raw)
        size += len(item.data)
        if len(items) == limit or (items and size > MAX_PAGE_BYTES):
            return MailPage(items, True)
        items.append(MailItem(_seq_of(key), item.time_ms, item.data))
    return MailPage(items, False)


def addresses_older_than(snapshot: ReadTxn, kind: Kind, before_ms: int, limit: int) -> list[bytes]:
    """Addresses whose oldest item is older, at most `limit`. Cost: one step for each address of the kind."""
    found: list[bytes] = []
    for key, _ in snapshot.scan(HEADS, _PREFIX[kind]):
        address = key[1:]
        first = next(iter(snapshot.scan(ITEMS, key, limit=1)), None) if address else None
        if first is not None and decode_as(StoredItem, first[1]).time_ms < before_ms:
            found.append(address)
            if len(found) == limit:
                break
    return found


def holds(tables: Reader, address: bytes) -> bool:
    """Something stands at the address, of whatever kind."""
    return any(tables.get(HEADS, prefix + address) is not None for prefix in _PREFIX.values())


def totals(snapshot: ReadTxn) -> dict[str, int]:
    """Items of each kind, over all addresses."""
    raws = {kind: snapshot.get(HEADS, prefix) for kind, prefix in _PREFIX.items()}
    return {kind: 0 if raw is None else decode_as(Head, raw).count for kind, raw in raws.items()}


def charge(batch: WriteTxn, kind: Kind, address: bytes, items: int, size: int, bounds: Bounds) -> None:
    """Count `items` of `size` bytes together at an address and in its kind."""
    head, total = _head(batch, kind, address), _head(batch, kind, b"")
    if head.count + items > bounds.items or head.bytes + size > bounds.address_bytes:
        raise AddressFull(kind=kind, max_items=bounds.items, max_bytes=bounds.address_bytes)
    if total.bytes + size > bounds.total_bytes:
        raise KindFull(kind=kind, max_bytes=bounds.total_bytes)
    _move(batch, kind, address, items, size)


def discharge(batch: WriteTxn, kind: Kind, address: bytes, items: int, size: int) -> None:
    _move(batch, kind, address, -items, -size)


def count_again(batch: WriteTxn) -> None:
    """Names, arrivals, counts and bytes of all items, from the items. Counts of what is no item stay as they are."""
    for kind in STREAMS:
        prefix = _PREFIX[kind]
        items = list(batch.scan(ITEMS, prefix))
        last_seq = max([_head(batch, kind, b"").last_seq, *(_seq_of(key) for key, _ in items)])
        forget_counts(batch, kind)
        _put_head(batch, kind, b"", Head(last_seq, 0, 0))
        for key, raw in items:
            address, item = key[1:-_SEQ_BYTES], decode_as(StoredItem, raw)
            batch.put(NAMES, prefix + address + item.item_id, key[-_SEQ_BYTES:])
            batch.put(ARRIVED, _arrival_key(kind, item.time_ms, address, item.item_id), b"")
            _move(batch, kind, address, 1, _cost(item.data))


def forget_counts(batch: WriteTxn, kind: Kind) -> None:
    """As if nothing of this kind were here."""
    for key, _ in list(batch.scan(HEADS, _PREFIX[kind])):
        batch.delete(HEADS, key)


def count(batch: WriteTxn, kind: Kind, address: bytes, items: int, size: int) -> None:
    """Count what is here already, whatever the quota says."""
    _move(batch, kind, address, items, size)


def _move(batch: WriteTxn, kind: Kind, address: bytes, items: int, size: int) -> None:
    for place in (b"", address):
        head = _head(batch, kind, place)
        _put_head(batch, kind, place, Head(head.last_seq, head.count + items, head.bytes + size))


def _next_seq(batch: WriteTxn, kind: Kind) -> int:
    total = _head(batch, kind, b"")
    _put_head(batch, kind, b"", Head(total.last_seq + 1, total.count, total.bytes))
    return total.last_seq + 1


def _head(batch: WriteTxn, kind: Kind, address: bytes) -> Head:
    raw = batch.get(HEADS, _PREFIX[kind] + address)
    return _NONE if raw is None else decode_as(Head, raw)


def _put_head(batch: WriteTxn, kind: Kind, address: bytes, head: Head) -> None:
    if head == _NONE:
        batch.delete(HEADS, _PREFIX[kind] + address)
    else:
        batch.put(HEADS, _PREFIX[kind] + address, encode(head))


def _cost(data: bytes) -> int:
    return len(data) + ITEM_OVERHEAD_BYTES


def _item_key(kind: Kind, address: bytes, seq: int) -> bytes:
    return _PREFIX[kind] + address + seq.to_bytes(_SEQ_BYTES, "big")


def _arrival_key(kind: Kind, time_ms: int, address: bytes, name: bytes) -> bytes:
    return _PREFIX[kind] + time_ms.to_bytes(_TIME_BYTES, "big") + address + name


def _seq_of(key: bytes) -> int:
    return int.from_bytes(key[-_SEQ_BYTES:], "big")
