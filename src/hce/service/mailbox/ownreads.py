"""Receipts of the owner's own reading: who holds the owner key reads without the keyholders, but not without a trace.

    ownreads   feed address + day -> SignedOwnRead

A node gives owner wraps out after it has noted so, signed and durable: one receipt for each feed and day, with counts for each owner key
that read. They are not sealed: a node knows of itself what they say, and it never learned the owner's log key. No act removes them; a
thief who read with the owner's key cannot hide it. After ten years of days with reading the oldest goes.
"""

from __future__ import annotations

from datetime import UTC, datetime

from hce.foundation.codec.dagcbor import decode_as, encode
from hce.foundation.crypto.sign import SigningKey
from hce.foundation.store.kv import ReadTxn, WriteTxn
from hce.service.mailbox.quotas import DAY_MS
from hce.service.terms.mailbox import MailItem, MailPage, OwnRead, OwnReadReceipt, SignedOwnRead, own_read_message

OWN_READS = "ownreads"
TABLES = (OWN_READS,)
MAX_DAYS = 3_660
"""Of one feed."""
_DAY_BYTES = 4


def note(
    batch: WriteTxn, feed: bytes, owner_key: bytes, records: int, now_ms: int, chain: bytes, node: int, key: SigningKey
) -> None:
    """Count one read of so many records into the day's receipt."""
    row = feed + (now_ms // DAY_MS).to_bytes(_DAY_BYTES, "big")
    raw = batch.get(OWN_READS, row)
    if raw is None:
        _drop_oldest(batch, feed)
    counted = {} if raw is None else {one.owner_key: one for one in decode_as(SignedOwnRead, raw).receipt.by}
    before = counted.get(owner_key, OwnRead(owner_key, 0, 0))
    counted[owner_key] = OwnRead(owner_key, before.reads + 1, before.records + records)
    day = datetime.fromtimestamp(now_ms / 1_000, UTC).date().isoformat()
    receipt = OwnReadReceipt(chain, feed, day, list(counted.values()), node, now_ms)
    batch.put(OWN_READS, row, encode(SignedOwnRead(receipt, key.sign(own_read_message(receipt)))))


def page(snapshot: ReadTxn, feed: bytes, after: int, limit: int) -> MailPage:
    """Receipts of days after that number (days since 1970), oldest first."""
    start = feed + min(after + 1, 2 ** (8 * _DAY_BYTES) - 1).to_bytes(_DAY_BYTES, "big")
    found = [
        MailItem(int.from_bytes(row[len(feed) :], "big"), decode_as(SignedOwnRead, raw).receipt.time_ms, raw)
        for row, raw in snapshot.scan(OWN_READS, feed, start=start, limit=limit + 1)
    ]
    return MailPage(found[:limit], len(found) > limit)


def _drop_oldest(batch: WriteTxn, feed: bytes) -> None:
    rows = [row for row, _ in batch.scan(OWN_READS, feed)]
    for row in rows[: max(0, len(rows) - MAX_DAYS + 1)]:
        batch.delete(OWN_READS, row)
