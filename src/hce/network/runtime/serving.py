"""Answers nodes that are behind: one whole final block with its commit for each status, bounded."""

from __future__ import annotations

from hce.foundation.types.clock import Clock
from hce.foundation.types.scalars import Height, TimeMs
from hce.network.consensus.messages import FinalBlock, encode_message
from hce.network.runtime.blocklog import BlockLog
from hce.network.runtime.world import Network


class BlockServer:
    """A peer that applied a block sends its next status at once, so it catches up one round trip a block."""

    def __init__(self, blocklog: BlockLog, network: Network, clock: Clock, min_gap_ms: int) -> None:
        """The same height is sent to the same peer at most once in `min_gap_ms`."""
        self._blocklog = blocklog
        self._network = network
        self._clock = clock
        self._min_gap_ms = min_gap_ms
        self._served: dict[int, tuple[Height, TimeMs]] = {}

    def serve(self, peer: int, height: Height) -> None:
        """The peer works on this height; if it is final here, send it."""
        if not self._blocklog.base_height < height <= self._blocklog.height or self._just_served(peer, height):
            return
        stored = self._blocklog.read(height)
        if stored.commit is not None:
            self._network.send(peer, encode_message(FinalBlock(stored.block, stored.commit)))

    def _just_served(self, peer: int, height: Height) -> bool:
        now_ms = self._clock.now_ms()
        last = self._served.get(peer)
        if last is not None and last[0] == height and now_ms - last[1] < self._min_gap_ms:
            return True
        self._served[peer] = (height, now_ms)
        return False
