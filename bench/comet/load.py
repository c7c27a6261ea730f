"""Offers key=value transactions to a CometBFT network and follows its blocks, as `hce bench ledger` does with ours.

Open loop at a rate, or a window of a few blocks' worth as fast as it goes. Requests are JSON-RPC batches of `broadcast_tx_sync`: a
transaction that the mempool refuses is counted, never repeated. All bytes are made ahead.
"""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import httpx
import msgspec
from bench.comet.network import Comet
from msgspec import Struct

from hce.app.bench.figures import Usage, differences, per_second, spread
from hce.foundation.crypto.hashing import digest

TICK_S = 0.02
POLL_S = 0.01
WINDOW_BLOCKS = 3
MIN_WINDOW = 1_000
CONNECTIONS = 3
"""To each node."""
DRAIN_S = 20.0


class _Data(Struct):
    txs: list[str] | None = None


class _Header(Struct):
    height: str
    time: str


class _Block(Struct):
    header: _Header
    data: _Data


class _Found(Struct):
    block: _Block | None


class _BlockAnswer(Struct):
    result: _Found | None = None


class _Checked(Struct):
    code: int


class _TxAnswer(Struct):
    result: _Checked | None = None
    error: dict[str, Any] | None = None


class Seen(Struct, frozen=True):
    """A block as it reached us."""

    seen_s: float
    time_ms: int
    count: int
    usage: list[Usage]


def transactions(count: int, size: int, seed: int) -> list[str]:
    """Base64 of `key=value`, each of `size` bytes and with a key of its own. The value is text: nothing in it can be an '='."""
    made = []
    for number in range(count):
        key = digest("bench/comet", seed, number).hex()
        made.append(base64.b64encode(f"{key}={key * (size // len(key) + 1)}"[:size].encode()).decode())
    return made


class CometLoad:
    """One load on its way."""

    def __init__(self, comet: Comet, txs: Sequence[str], rate: float | None, batch: int, window_at_most: int) -> None:
        self._comet = comet
        self._txs = txs
        self._place = {tx: place for place, tx in enumerate(txs)}
        self._calls = [
            json.dumps({"jsonrpc": "2.0", "id": place, "method": "broadcast_tx_sync", "params": {"tx": tx}})
            for place, tx in enumerate(txs)
        ]
        self._rate = rate
        self._batch = batch
        self._window, self._window_at_most = MIN_WINDOW, window_at_most
        self._since = [0.0] * len(txs)
        self._queues: list[asyncio.Queue[int]] = [asyncio.Queue() for _ in comet.urls]
        self.offered = self.final = 0
        self.refused: Counter[str] = Counter()
        self.unanswered: Counter[str] = Counter()
        self.latencies_ms: list[float] = []
        self.blocks: list[Seen] = []

    @property
    def waiting(self) -> int:
        return self.offered - self.final - self.refused.total()

    async def run(self, seconds: float) -> dict[str, Any]:
        """Offers for so long, waits for what is on its way, and says what came of it."""
        async with httpx.AsyncClient(trust_env=False, timeout=60, limits=httpx.Limits(max_connections=100)) as http:
            started = asyncio.Event()
            tasks = [asyncio.create_task(self._follow(http, started))]
            await started.wait()
            for index, url in enumerate(self._comet.urls):
                tasks += [asyncio.create_task(self._send(http, url, index)) for _ in range(CONNECTIONS)]
            start = time.monotonic()
            await self._while(tasks, lambda now: now < start + seconds and self.offered < len(self._txs), start)
            ended = time.monotonic()
            await self._while(tasks, lambda now: self.waiting > 0 and now < ended + DRAIN_S, None)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return self._figures(start, ended)

    async def _while(self, tasks: list[asyncio.Task[None]], goes_on: Any, start: float | None) -> None:
        while goes_on(now := time.monotonic()):
            for task in tasks:
                if task.done():
                    task.result()
            if start is not None:
                self._offer(now, start)
            await asyncio.sleep(TICK_S)

    def _offer(self, now: float, start: float) -> None:
        wanted = self.offered + self._window - self.waiting if self._rate is None else int((now - start) * self._rate)
        first, self.offered = self.offered, min(max(wanted, self.offered), len(self._txs))
        for place in range(first, self.offered):
            self._since[place] = now if self._rate is None else start + place / self._rate
            self._queues[place % len(self._queues)].put_nowait(place)

    async def _send(self, http: httpx.AsyncClient, url: str, index: int) -> None:
        queue = self._queues[index]
        while True:
            places = [await queue.get()]
            while len(places) < self._batch and not queue.empty():
                places.append(queue.get_nowait())
            body = "[" + ",".join(self._calls[place] for place in places) + "]"
            try:
                answer = await http.post(url, content=body, headers={"content-type": "application/json"})
            except httpx.TransportError as error:  # a node too busy to answer: what was in the list may or may not become final
                self.unanswered[type(error).__name__] += len(places)
                continue
            found = msgspec.json.decode(answer.content, type=list[_TxAnswer] | _TxAnswer)
            for one in found if isinstance(found, list) else [found]:
                if one.error is not None:
                    self.refused[str(one.error.get("data") or one.error.get("message"))[:40]] += 1
                elif one.result is None or one.result.code:
                    self.refused["code"] += 1

    async def _follow(self, http: httpx.AsyncClient, started: asyncio.Event) -> None:
        url = self._comet.urls[0]
        height = int((await http.get(url + "/status")).json()["result"]["sync_info"]["latest_block_height"]) + 1
        started.set()
        decoder = msgspec.json.Decoder(_BlockAnswer)
        while True:
            found = decoder.decode((await http.get(url + "/block", params={"height": height})).content).result
            if found is None or found.block is None:
                await asyncio.sleep(POLL_S)
                continue
            self._take(found.block)
            height += 1

    def _take(self, block: _Block) -> None:
        seen_s, txs = time.monotonic(), block.data.txs or []
        self._window = min(max(self._window, WINDOW_BLOCKS * len(txs)), self._window_at_most)
        for tx in txs:
            place = self._place.pop(tx, None)
            if place is not None:
                self.final += 1
                self.latencies_ms.append((seen_s - self._since[place]) * 1_000)
        self.blocks.append(Seen(seen_s, _time_ms(block.header.time), len(txs), self._comet.usage()))

    def _figures(self, start: float, ended: float) -> dict[str, Any]:
        """As `hce bench ledger` counts: blocks that arrived while sending went on, after the first of them."""
        during = [block for block in self.blocks if start < block.seen_s <= ended]
        counted = during[1:]
        total = sum(block.count for block in counted)
        span_s = during[-1].seen_s - during[0].seen_s if counted else 0.0
        nodes = len(self._comet.urls)
        cpu_us = sum(a.cpu_us - b.cpu_us for a, b in zip(during[-1].usage, during[0].usage, strict=True)) if counted else 0
        return {
            "nodes": nodes,
            "seconds": round(ended - start, 1),
            "offered_per_s": self._rate,
            "tx_per_s": per_second(total, span_s),
            "latency_ms": spread(self.latencies_ms),
            "cpu_us_per_tx_per_node": round(cpu_us / nodes / total) if total else None,
            "rss_anon_mb": [usage.rss_anon_mb for usage in self._comet.usage()],
            "blocks": len(counted),
            "block_interval_ms": spread(differences([block.time_ms for block in counted]), (50, 95), with_max=False),
            "offered": self.offered,
            "final": self.final,
            "not_final": self.waiting,
            "refused": dict(self.refused),
            "unanswered": dict(self.unanswered),
        }


def _time_ms(text: str) -> int:
    """Of RFC 3339 with nanoseconds."""
    seconds, _, fraction = text.rstrip("Z").partition(".")
    return int(datetime.fromisoformat(seconds + "+00:00").timestamp()) * 1_000 + int((fraction + "000")[:3])
