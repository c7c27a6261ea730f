"""Posts this node's anchors after final blocks, beside consensus and never in its way."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from hce.foundation.types.errors import HceError
from hce.service.keyholders.anchoring import Anchoring

log = logging.getLogger("hce.anchors")

Check = Callable[[bytes], object]
"""Takes a transaction into the pool; again is no error. Raises `Refused`, `Unavailable`."""
Gossip = Callable[[bytes], None]
Worker = Callable[..., Awaitable[Any]]


class AnchorPosting:
    """`block_is_final` on the loop after each commit; `run` for as long as the node runs."""

    def __init__(self, anchoring: Anchoring, check: Check, gossip: Gossip, worker: Worker) -> None:
        self._anchoring = anchoring
        self._check = check
        self._gossip = gossip
        self._worker = worker
        self._wanted = asyncio.Event()

    def block_is_final(self, height: int) -> None:
        if self._anchoring.wants(height):
            self._wanted.set()

    async def run(self) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            await self.post()

    async def post(self) -> None:
        """What is due into the pool and to the other nodes; what is refused is tried again after the next block."""
        for raw in await self._worker(self._anchoring.work):
            try:
                await self._worker(self._check, raw)
            except HceError as error:
                log.warning("an anchor was not taken: %s", error)
                continue
            self._gossip(raw)
