"""Frames: how messages share one byte stream. Pure; sockets are elsewhere.

    fragment = head 4 (big-endian), 1 to 65,536 bytes
    head     = bit 31: more fragments of this message follow; bits 24-30: kind; bits 0-23: bytes in this fragment

A message is one fragment or several of its kind in order, all full but the last. Fragments of different kinds may alternate, so that
a vote never waits for the rest of a large answer. The decoder knows after four bytes whether what follows is allowed: it holds no byte
of a message that is too long, and never more than the sum of the bounds.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import NamedTuple

from hce.network.consensus.messages import BOUNDS_BYTES as CONSENSUS_BOUNDS_BYTES
from hce.network.link.errors import FrameInvalid

HEAD_BYTES = 4
MAX_FRAGMENT_BYTES = 64 * 1024
"""The longest a vote waits behind something else: 5 ms at 100 Mbit/s."""
_MORE = 1 << 31


class FrameKind(IntEnum):
    HELLO = 1
    """First, once, in both directions."""
    PING = 2
    PONG = 3
    CONSENSUS = 4
    REQUEST = 5
    RESPONSE = 6
    TRANSACTION = 7


MAX_TRANSACTION_BYTES = 256 * 1024
"""Largest transaction of either chain."""
MAX_BODY_BYTES = 16 * 1024 * 1024
"""Largest body of a request or response."""
OVERHEAD_BYTES = 512
"""Room for what stands before a body or transaction."""
HELLO_ONLY: Mapping[FrameKind, int] = {FrameKind.HELLO: 256}
"""Bounds until the peer has said hello."""
BOUNDS_BYTES: Mapping[FrameKind, int] = {
    FrameKind.PING: 8,
    FrameKind.PONG: 8,
    FrameKind.CONSENSUS: max(CONSENSUS_BOUNDS_BYTES.values()),
    FrameKind.REQUEST: MAX_BODY_BYTES + OVERHEAD_BYTES,
    FrameKind.RESPONSE: MAX_BODY_BYTES + OVERHEAD_BYTES,
    FrameKind.TRANSACTION: MAX_TRANSACTION_BYTES + OVERHEAD_BYTES,
}
"""Largest message of each kind afterwards; a kind that is not listed is refused."""


class Frame(NamedTuple):
    """A whole message."""

    kind: FrameKind
    payload: bytes


def fragment_head(kind: FrameKind, size: int, more: bool) -> bytes:
    return ((_MORE if more else 0) | kind << 24 | size).to_bytes(HEAD_BYTES, "big")


def encode_frame(kind: FrameKind, payload: bytes) -> bytes:
    """All fragments of a message, one after another."""
    parts: list[bytes] = []
    for at in range(0, len(payload), MAX_FRAGMENT_BYTES):
        piece = payload[at : at + MAX_FRAGMENT_BYTES]
        parts += [fragment_head(kind, len(piece), at + len(piece) < len(payload)), piece]
    return b"".join(parts)


class FrameDecoder:
    """Takes bytes as they come, gives whole messages. After `FrameInvalid` the stream is lost: close it."""

    def __init__(self, bounds: Mapping[FrameKind, int]) -> None:
        self.bounds = bounds
        """May be replaced between two messages."""
        self.fragments = 0
        """Whole fragments seen: progress, for whoever watches the time."""
        self._buffer = bytearray()
        self._at = 0
        self._parts: dict[FrameKind, list[bytes]] = {}
        self._sizes: dict[FrameKind, int] = {}

    def feed(self, data: bytes) -> None:
        del self._buffer[: self._at]
        self._at = 0
        self._buffer += data

    def next(self) -> Frame | None:
        """The next whole message; None until more bytes come."""
        while len(self._buffer) - self._at >= HEAD_BYTES:
            kind, size, more = self._read_head()
            start = self._at + HEAD_BYTES
            if len(self._buffer) < start + size:
                return None
            piece = bytes(self._buffer[start : start + size])
            self._at = start + size
            self.fragments += 1
            if more:
                self._parts.setdefault(kind, []).append(piece)
                self._sizes[kind] = self._sizes.get(kind, 0) + size
            elif kind in self._parts:
                del self._sizes[kind]
                return Frame(kind, b"".join([*self._parts.pop(kind), piece]))
            else:
                return Frame(kind, piece)
        return None

    def _read_head(self) -> tuple[FrameKind, int, bool]:
        head = int.from_bytes(self._buffer[self._at : self._at + HEAD_BYTES], "big")
        number, size = head >> 24 & 0x7F, head & 0xFFFFFF
        if number not in self.bounds:
            raise FrameInvalid("a kind that is not expected", kind=number)
        kind = FrameKind(number)
        if not 1 <= size <= MAX_FRAGMENT_BYTES:
            raise FrameInvalid("fragment size", kind=kind.name, actual_bytes=size, max_bytes=MAX_FRAGMENT_BYTES)
        more = bool(head & _MORE)
        if more and size != MAX_FRAGMENT_BYTES:  # in pieces of a byte, a message would take forty times its size here
            raise FrameInvalid("a fragment that is neither full nor the last", kind=kind.name, actual_bytes=size)
        total = self._sizes.get(kind, 0) + size
        if total > self.bounds[kind]:
            raise FrameInvalid("message too long", kind=kind.name, actual_bytes=total, max_bytes=self.bounds[kind])
        return kind, size, more
