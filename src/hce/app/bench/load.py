"""Sends prepared transactions: at a rate, whatever becomes of them (open loop), or as fast as the network makes them final.

Open loop: transaction i is due at start + i / rate and its latency counts from then, even when the sender is late: a slow network
cannot make itself look fast by slowing its load down. As fast as it goes: a few blocks' worth of transactions is on its way at any
time, and latency counts from sending; it then says how long that queue is rather than how fast the network is.

Each node has one sender, so transactions for one node arrive in their order.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence

from hce.app.bench.plan import Item, due
from hce.app.bench.watch import SeenBlock
from hce.service.sdk.node import NodeClient

BATCH = 250
"""Most transactions in one request: some 50 ms of a node's time."""
TICK_S = 0.02
GATHER_S = 0.1
"""A sender without a full list waits this long for more, as a gateway does that sends what its wards did meanwhile. A request costs
both sides more than the transaction in it; without this nine nodes and the load spend their time on HTTP. Counted as latency."""
MIN_WINDOW = 1_000
WINDOW_BLOCKS = 3
"""Without a rate: on their way are so many times the transactions of the largest block so far, so that no proposer runs dry."""


class Load:
    """One load on its way: `offer` for a while, `take` is told what became final, `close` at the end."""

    def __init__(
        self,
        nodes: Sequence[NodeClient],
        items: Sequence[Item],
        raws: Sequence[bytes],
        rate: float | None,
        window: int = MIN_WINDOW,
    ) -> None:
        self._nodes = nodes
        self._raws = raws
        self._rate = rate
        self.window = max(window, MIN_WINDOW)
        """On their way at a time, without a rate."""
        self._queues: list[asyncio.Queue[int]] = [asyncio.Queue() for _ in nodes]
        self._node_of = [item.node(len(nodes)) for item in items]
        self._place = {raw: place for place, raw in enumerate(raws)}
        self.since = [0.0] * len(raws)
        """Monotonic time from which each one's latency counts."""
        self._senders: list[asyncio.Task[None]] = []
        self.offered = 0
        self.final = 0
        self.refused: Counter[str] = Counter()
        self.latencies_ms: list[float] = []

    @property
    def waiting(self) -> int:
        """Offered, neither final nor refused yet."""
        return self.offered - self.final - self.refused.total()

    async def offer(self, seconds: float) -> float:
        """Offers for so long, or until nothing is left; the monotonic time it began. What is on its way goes on until `close`."""
        self._senders = [asyncio.create_task(self._send(index)) for index in range(len(self._nodes))]
        start = time.monotonic()
        while (now := time.monotonic()) < start + seconds and self.offered < len(self._raws):
            self.require_sending()
            for place in self._next(now - start):
                self.since[place] = now if self._rate is None else start + place / self._rate
                self._queues[self._node_of[place]].put_nowait(place)
            await asyncio.sleep(TICK_S)
        return start

    def take(self, block: SeenBlock) -> None:
        """A block became final; what is not of this load is passed over."""
        self.window = max(self.window, WINDOW_BLOCKS * block.count)
        for raw in (*block.health_txs, *block.value_txs):
            place = self._place.pop(raw, None)
            if place is not None:
                self.final += 1
                self.latencies_ms.append((block.seen_s - self.since[place]) * 1_000)

    def require_sending(self) -> None:
        """Raises what broke a sender."""
        for task in self._senders:
            if task.done():
                task.result()

    async def close(self) -> None:
        for task in self._senders:
            task.cancel()
        await asyncio.gather(*self._senders, return_exceptions=True)

    def _next(self, elapsed_s: float) -> range:
        """Places to offer now."""
        wanted = self.offered + self.window - self.waiting if self._rate is None else due(elapsed_s, self._rate)
        start, self.offered = self.offered, min(max(wanted, self.offered), len(self._raws))
        return range(start, self.offered)

    async def _send(self, index: int) -> None:
        queue = self._queues[index]
        while True:
            places = [await queue.get()]
            if queue.qsize() < BATCH - 1:
                await asyncio.sleep(GATHER_S)
            while len(places) < BATCH and not queue.empty():
                places.append(queue.get_nowait())
            answers = await self._nodes[index].submit_list([self._raws[place] for place in places])
            self.refused.update(answer.code for answer in answers if answer.id is None)
