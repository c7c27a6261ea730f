"""What peers sent and nobody has taken yet: bounded for each peer, taken from peers in turn, so that none can crowd out another."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from hce.network.link.outbox import LaneLimits

T = TypeVar("T")


class Inbox(Generic[T]):
    """One bounded queue a peer and one taker."""

    def __init__(self, peers: int, limits: LaneLimits, size_of: Callable[[T], int]) -> None:
        """The limits are each peer's own; one item beyond the bytes at most."""
        self._limits = limits
        self._size_of = size_of
        self._queues: list[deque[T]] = [deque() for _ in range(peers)]
        self._bytes = [0] * peers
        self._room = [asyncio.Event() for _ in range(peers)]
        self._something = asyncio.Event()
        self._turn = 0

    def is_full(self, peer: int) -> bool:
        return len(self._queues[peer]) >= self._limits.count or self._bytes[peer] >= self._limits.bytes

    async def put(self, peer: int, item: T) -> None:
        """Waits while this peer's queue is full; the peer is not read from meanwhile."""
        while self.is_full(peer):
            self._room[peer].clear()
            await self._room[peer].wait()
        self._queues[peer].append(item)
        self._bytes[peer] += self._size_of(item)
        self._something.set()

    async def take(self) -> tuple[int, T]:
        """The next item of the next peer that has one."""
        while (found := self.take_now()) is None:
            self._something.clear()
            await self._something.wait()
        return found

    def take_now(self) -> tuple[int, T] | None:
        n = len(self._queues)
        for peer in ((self._turn + step) % n for step in range(n)):
            if self._queues[peer]:
                self._turn = peer + 1
                item = self._queues[peer].popleft()
                self._bytes[peer] -= self._size_of(item)
                self._room[peer].set()
                return peer, item
        return None
