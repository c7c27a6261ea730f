"""Inboxes of organisations: full ones make room by dropping the oldest, and nobody fills one alone.

    senders   address + item id -> who posted it

Refusing what comes to a full inbox would let a flood close it for everybody until the organisation empties it. Dropping the oldest
instead costs a flood bandwidth for as long as it lasts, and an owner whose offer was pushed out posts it again. Each compartment has a
small number of items waiting in one inbox, of which the oldest goes first: a flood takes as many compartments on chain as that number
goes into the inbox's bound, each paid for.
"""

from __future__ import annotations

from hce.foundation.crypto.hashing import digest
from hce.foundation.store.kv import WriteTxn
from hce.service.mailbox import streams
from hce.service.mailbox.quotas import Bounds

SENDERS = "senders"
TABLES = (SENDERS,)
MAX_WAITING = 16
"""Items of one compartment in one inbox."""


def put(batch: WriteTxn, address: bytes, compartment_id: bytes, data: bytes, now_ms: int, bounds: Bounds) -> None:
    """The same bytes again change nothing. `ItemTooLarge`, `KindFull`."""
    name, sender = streams.item_id(data), digest("hce/inbox-sender/1", address, compartment_id)
    if streams.is_known(batch, "inbox", address, name):
        return
    theirs = [key[len(address) :] for key, value in batch.scan(SENDERS, address) if value == sender]
    found = [streams.find(batch, "inbox", address, item_id) for item_id in theirs]
    waiting = sorted((one for one in found if one is not None), key=lambda one: one[0])
    for seq, item in waiting[: max(0, len(waiting) - MAX_WAITING + 1)]:
        streams.remove(batch, "inbox", address, seq, item)
        forget(batch, address, [item])
    forget(batch, address, streams.make_room(batch, "inbox", address, len(data), bounds))
    streams.append(batch, "inbox", address, name, data, [], now_ms, bounds)
    batch.put(SENDERS, address + name, sender)


def forget(batch: WriteTxn, address: bytes, dropped: list[streams.StoredItem]) -> None:
    """Whose the dropped items were."""
    for item in dropped:
        batch.delete(SENDERS, address + item.item_id)
