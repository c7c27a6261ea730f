"""What waits to be sent to one peer. Pure: the connection asks for the next bytes whenever the socket takes some.

Three lanes. `urgent` (hello, ping, consensus) always goes first. Of the other two, one fragment each in turn: `calls` never loses
anything, so whoever adds to it waits for room first; `gossip` drops its oldest when a slow peer lets it fill. `urgent` drops its
oldest too: consensus says everything again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from msgspec import Struct

from hce.network.link.frames import HEAD_BYTES, MAX_FRAGMENT_BYTES, FrameKind, fragment_head


class LaneLimits(Struct, frozen=True):
    """Bounds of one lane: both hold."""

    count: int
    bytes: int


class Lane:
    """Messages in order, the first perhaps half sent."""

    def __init__(self, limits: LaneLimits) -> None:
        self.limits = limits
        self.dropped = 0
        self._waiting: deque[tuple[FrameKind, bytes]] = deque()
        self._bytes = 0
        self._sending: tuple[FrameKind, bytes] | None = None
        self._sent = 0

    def __bool__(self) -> bool:
        return self._sending is not None or bool(self._waiting)

    def has_room(self) -> bool:
        """Judged without the size of what comes: one message beyond the bytes at most."""
        return len(self._waiting) < self.limits.count and self._bytes < self.limits.bytes

    def add(self, kind: FrameKind, payload: bytes) -> None:
        self._waiting.append((kind, payload))
        self._bytes += len(payload)

    def add_dropping_oldest(self, kind: FrameKind, payload: bytes) -> None:
        """What is half sent already stays."""
        while self._waiting and not self.has_room():
            self._bytes -= len(self._waiting.popleft()[1])
            self.dropped += 1
        self.add(kind, payload)

    def next_fragment(self) -> bytes:
        """Head and piece of the first message; only when there is one."""
        if self._sending is None:
            self._sending, self._sent = self._waiting.popleft(), 0
            self._bytes -= len(self._sending[1])
        kind, payload = self._sending
        piece = payload[self._sent : self._sent + MAX_FRAGMENT_BYTES] if len(payload) > MAX_FRAGMENT_BYTES else payload
        self._sent += len(piece)
        more = self._sent < len(payload)
        if not more:
            self._sending = None
        return fragment_head(kind, len(piece), more) + piece


class Outbox:
    """The three lanes of one connection."""

    def __init__(self, urgent: LaneLimits, calls: LaneLimits, gossip: LaneLimits) -> None:
        self.urgent, self.calls, self.gossip = Lane(urgent), Lane(calls), Lane(gossip)
        self._lane_of = {
            FrameKind.REQUEST: self.calls,
            FrameKind.RESPONSE: self.calls,
            FrameKind.TRANSACTION: self.gossip,
        }
        self._gossip_next = False

    def __bool__(self) -> bool:
        return bool(self.urgent or self.calls or self.gossip)

    @property
    def dropped(self) -> int:
        """Messages the peer was too slow for."""
        return self.urgent.dropped + self.gossip.dropped

    def add(self, kind: FrameKind, payload: bytes) -> None:
        """For calls, wait for `calls.has_room()` before."""
        lane = self._lane_of.get(kind, self.urgent)
        if lane is self.calls:
            lane.add(kind, payload)
        else:
            lane.add_dropping_oldest(kind, payload)

    def take(self, max_bytes: int) -> bytes:
        """Some fragments in the order described above, at least one if anything waits."""
        taken: list[bytes] = []
        size = 0
        for fragment in self._fragments():
            taken.append(fragment)
            size += len(fragment)
            if size >= max_bytes - HEAD_BYTES:
                break
        return b"".join(taken)

    def _fragments(self) -> Iterator[bytes]:
        while self:
            if self.urgent:
                yield self.urgent.next_fragment()
                continue
            self._gossip_next = bool(self.gossip) and (self._gossip_next or not self.calls)
            yield (self.gossip if self._gossip_next else self.calls).next_fragment()
            self._gossip_next = not self._gossip_next
