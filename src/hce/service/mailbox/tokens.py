"""Write tokens an owner revoked, and whether a token still holds.

serials   feed address + serial
"""

from __future__ import annotations

from hce.foundation.store.kv import Reader, WriteTxn
from hce.service.mailbox import places, streams
from hce.service.mailbox.final import FinalState
from hce.service.mailbox.quotas import Bounds
from hce.service.terms.grants import SignedToken

SERIALS = "serials"
TABLES = (SERIALS,)
_SERIAL_BYTES = 8


def revoke(batch: WriteTxn, feed: bytes, serial: int, bounds: Bounds) -> None:
    """For ever. `AddressFull` when the feed has too many."""
    key = _key(feed, serial)
    if batch.get(SERIALS, key) is None:
        streams.charge(batch, "serials", feed, 1, len(key), bounds)
        batch.put(SERIALS, key, b"")


def count_again(batch: WriteTxn) -> None:
    """Counts and bytes of all serials, from their rows."""
    streams.forget_counts(batch, "serials")
    for key, _ in list(batch.scan(SERIALS)):
        streams.count(batch, "serials", key[:-_SERIAL_BYTES], 1, len(key))


def is_void(tables: Reader, final: FinalState, signed: SignedToken) -> bool:
    """Revoked, of another compartment's feed, or signed by a key that was rotated out.

    A compartment this node does not know yet has had no rotation.
    """
    token = signed.token
    rotated = final.health.compartment(token.compartment_id) is not None and not places.is_current(
        final.health, token.compartment_id, signed.owner_key
    )
    revoked = tables.get(SERIALS, _key(token.feed, token.serial)) is not None
    return rotated or revoked or not places.may_be_of(tables, token.feed, token.compartment_id)


def _key(feed: bytes, serial: int) -> bytes:
    return feed + serial.to_bytes(_SERIAL_BYTES, "big")
