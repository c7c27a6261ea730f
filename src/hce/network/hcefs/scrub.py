"""The walk that finds damage before a reader does: every shard and every manifest this node should hold, at a bounded rate.

It walks the tables, not the packs: what is missing is found like what is damaged. What it cannot repair now it meets again on the next
walk. Besides the walk it brings in what final blocks named while this node was away, and repairs at once what reads have noted.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from hce.foundation.types.errors import HceError
from hce.network.hcefs.fs import HceFs, each_of

STEP = 64
"""Rows taken from a table at one time."""
SCRUB_BYTES_PER_S = 8 << 20
"""Bytes read each second at most, so that the walk does not crowd out readers."""
SHARD_COST_BYTES = 4 << 10
"""What a shard counts at least: a read costs more than its bytes."""
TEND_S = 2.0
"""Between two looks at what was noted and what is awaited."""
FIRST_S = 5.0
"""From the start to the first walk: what was damaged while a node was off is repaired before somebody asks."""
REST_S = 60.0
"""Between two walks."""

Sleep = Callable[[float], Awaitable[None]]

log = logging.getLogger("hce.hcefs")


class Scrubber:
    """`run` until cancelled."""

    def __init__(
        self, fs: HceFs, bytes_per_s: int = SCRUB_BYTES_PER_S, rest_s: float = REST_S, sleep: Sleep = asyncio.sleep
    ) -> None:
        self._fs = fs
        self._bytes_per_s = bytes_per_s
        self._rest_s = rest_s
        self._sleep = sleep
        self._broken = 0
        """Of the last walk."""

    async def run(self) -> None:
        await asyncio.gather(self._for_ever(self.walk, FIRST_S, self._rest_s), self._for_ever(self.tend, TEND_S, TEND_S))

    async def walk(self) -> int:
        """One walk over everything; how many shards and manifests could not be made whole.

        When that many were not before, the packs themselves are looked through: a pack put back from earlier holds more than is known.
        """
        broken = await self._walk_manifests() + await self._walk_shards()
        if broken and broken != self._broken:
            found = await self._fs.find_again()
            log.warning("%d shards cannot be made whole; %d were found elsewhere in the packs", broken, found)
        self._broken = broken
        return broken

    async def tend(self) -> None:
        """Repair what was noted, bring in what is awaited."""
        await self._fs.repair_noted()
        position = b""
        while names := self._fs.placements.awaited(position, STEP):
            await each_of(names, self._try_fetch)
            position = names[-1]

    async def _try_fetch(self, name: bytes) -> None:
        try:
            await self._fs.fetch_awaited(name)
        except HceError as error:
            log.warning("a placement of a final block is still missing: %s", error.code)

    async def _walk_shards(self) -> int:
        broken, position = 0, b""
        while owned := self._fs.placements.own_shards(position, STEP):
            for own in owned:
                size = 0
                try:
                    size = await self._fs.check(own.placed, own.number)
                except HceError as error:
                    broken += 1
                    log.warning("a shard cannot be made whole: %s", error.code)
                await self._sleep(max(size, SHARD_COST_BYTES) / self._bytes_per_s)
            position = owned[-1].position
        return broken

    async def _walk_manifests(self) -> int:
        broken, position = 0, b""
        while names := self._fs.placements.manifests(position, STEP):
            for name in names:
                try:
                    await self._fs.check_manifest(name)
                except HceError as error:
                    broken += 1
                    log.warning("a placement manifest cannot be made whole: %s", error.code)
                await self._sleep(SHARD_COST_BYTES / self._bytes_per_s)
            position = names[-1]
        return broken

    async def _for_ever(self, step: Callable[[], Awaitable[object]], first_s: float, pause_s: float) -> None:
        await self._sleep(first_s)
        while True:
            try:
                await step()
            except HceError as error:
                log.warning("scrubbing cannot go on now: %s", error.code)
            await self._sleep(pause_s)
