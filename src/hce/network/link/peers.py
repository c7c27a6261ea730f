"""What a node keeps about each of the others across its connections, and how it reads from outside."""

from __future__ import annotations

from msgspec import Struct

from hce.foundation.types.scalars import NodeIndex, TimeMs
from hce.network.link.bounds import BlameBook, BlameLimits
from hce.network.link.connection import Connection


class PeerStatus(Struct, frozen=True):
    """How one link stands, for status pages."""

    index: NodeIndex
    connected: bool
    since_ms: TimeMs | None
    """Begin of the present connection."""
    rtt_ms: float | None
    dropped: int
    """Messages of this connection the peer was too slow for."""
    faults: int
    """What the peer did wrong since this node started."""


class Peer:
    """One other node."""

    def __init__(self, index: NodeIndex, limits: BlameLimits) -> None:
        self.index = index
        self.book = BlameBook(limits)
        self.connection: Connection | None = None
        self.since_ms: TimeMs = 0

    def status(self) -> PeerStatus:
        connection = self.connection
        if connection is None:
            return PeerStatus(self.index, False, None, None, 0, self.book.faults)
        rtt_ms = None if connection.rtt_s is None else round(connection.rtt_s * 1_000, 2)
        return PeerStatus(self.index, True, self.since_ms, rtt_ms, connection.outbox.dropped, self.book.faults)
