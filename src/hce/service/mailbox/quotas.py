"""How much a mailbox keeps. What nobody vouched for (quarantine, inbox) has bounds of its own, so that it crowds out nothing else.

A log that is full refuses receipts, and so stops releases, until its owner drops the oldest with `drop-log`: nothing is dropped for him.
"""

from __future__ import annotations

from typing import NamedTuple

KIB = 1 << 10
MIB = 1 << 20
GIB = 1 << 30
DAY_MS = 86_400_000


class Bounds(NamedTuple):
    """Of one kind."""

    item_bytes: int
    """Data of one item; the other bounds count overhead too."""
    items: int
    """At one address."""
    address_bytes: int
    total_bytes: int
    """Over all addresses of the kind."""
    age_ms: int | None
    """Older items are dropped; None keeps them until they are erased."""


class Quotas(NamedTuple):
    """Bounds by kind. A record counts its sealed envelope, about 450 bytes."""

    feed: Bounds = Bounds(512 * KIB, 100_000, 256 * MIB, 1_024 * GIB, None)
    quarantine: Bounds = Bounds(512 * KIB, 200, 8 * MIB, 4 * GIB, 30 * DAY_MS)
    inbox: Bounds = Bounds(64 * KIB, 1_000, 16 * MIB, 64 * GIB, 90 * DAY_MS)
    """Full ones drop their oldest. The total is that of 4,000 certified organisations with full inboxes."""
    log: Bounds = Bounds(64 * KIB, 100_000, 256 * MIB, 1_024 * GIB, None)
    records: Bounds = Bounds(KIB, 1_000_000, 512 * MIB, 1_024 * GIB, None)
    quarantined_records: Bounds = Bounds(KIB, 5_000, 4 * MIB, 4 * GIB, None)
    """They leave with their quarantined entry."""
    places: Bounds = Bounds(KIB, 256, 16 * KIB, 16 * GIB, None)
    """Feeds and logs of one compartment."""
    serials: Bounds = Bounds(KIB, 1_000, 64 * KIB, 16 * GIB, None)
    """Revoked tokens of one feed."""
    erasures: Bounds = Bounds(64 * KIB, 10_000, 4 * MIB, 64 * GIB, None)
    """Signed erasures of one feed, kept for peers that were away."""
    tombstones: Bounds = Bounds(KIB, 10_000, MIB, 16 * GIB, None)
    """Of one feed, for records that are on chain and not here. Those of stored records take the place of what they erase."""
