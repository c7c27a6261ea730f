"""Lets requests wait for a final block without polling the disk."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

REMEMBERED_BLOCKS = 21
"""Blocks the typical finality is taken over."""
MAX_WAITERS = 448
"""Requests waiting at one time; beyond it a caller gets its answer at once and may ask again. Less than the connections a node has
(`app/serving.py`), so that those who wait never keep out those who ask."""


class Finality:
    """Wakes waiters once for each final block."""

    def __init__(self) -> None:
        self._next = asyncio.Event()
        self._waiting = 0
        self._latest_ms: deque[int] = deque(maxlen=REMEMBERED_BLOCKS)

    @property
    def typical_ms(self) -> int | None:
        """Median time from a block's own time to its finality here, over the last blocks; None before the first."""
        return sorted(self._latest_ms)[len(self._latest_ms) // 2] if self._latest_ms else None

    def block_is_final(self, took_ms: int) -> None:
        """Called on the loop after each commit, with the time since the block was made."""
        self._latest_ms.append(max(took_ms, 0))
        woken, self._next = self._next, asyncio.Event()
        woken.set()

    async def wait(self, ask: Callable[[], T | None], wait_ms: int) -> T | None:
        """What `ask` answers now or after a coming block, at most `wait_ms` from now; None when time ran out."""
        found = ask()
        if found is not None or wait_ms == 0 or self._waiting >= MAX_WAITERS:
            return found
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait_ms / 1_000
        self._waiting += 1
        try:
            while found is None and loop.time() < deadline:
                event = self._next
                found = ask()
                if found is None:
                    try:
                        await asyncio.wait_for(event.wait(), deadline - loop.time())
                    except TimeoutError:
                        return ask()
            return found
        finally:
            self._waiting -= 1
