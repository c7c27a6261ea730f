"""Records on their way to full dispersal: what nodes that were away at writing have not got yet, kept until they have.

A record is admitted with a quorum; until all nodes vouch for it, it is "being secured" and its author keeps what the missing ones are to
get. The outbox is durable before the record is committed. A node that comes back gets its batches in the order they were written; one it
refuses goes behind the others. Nodes also restore what they missed from each other, so a full outbox may forget its oldest, and what is
refused again and again.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Self

from hce.foundation.codec.dagcbor import decode_as, encode
from hce.foundation.store.kv import DEFAULT_MAP_BYTES, KeyValueStore, WriteTxn
from hce.foundation.types.errors import HceError, Refused
from hce.service.sdk.author import Undelivered
from hce.service.terms.intake import IntakeBatch

MAX_WAITING = 10_000
"""Batches for one node; more push out its oldest."""
MAX_WAITING_BYTES = 4 << 30
"""Of the batches for one node, likewise."""
SECURE_S = 3.0
"""Between tries to reach nodes that are away."""
MAX_BATCH_BYTES = 128 << 20
NEVER = ("mailbox.record_erased", "mailbox.record_conflict")
"""Refusals that stay. Others may pass: a node that comes back may not know yet that we are certified."""
MAX_REFUSALS = 10_000
"""A batch refused so often is forgotten: hours after the first time. A full node does not count."""
MAX_REFUSED_A_TRY = 4
"""Batches of one node refused in one try; then it rests, it may be behind."""
_SERVER_STATUS = 500

Send = Callable[[int, IntakeBatch], Awaitable[object]]
"""Hand a batch to one node and check its receipt; raises what the node refuses."""

_WAITING, _SIZES, _REFUSALS = "waiting", "sizes", "refusals"
TABLES = (_WAITING, _SIZES, _REFUSALS)
_NODE_BYTES, _SEQ_BYTES, _COUNT_BYTES = 1, 8, 8

log = logging.getLogger("hce.gateway")


class Outbox:
    """Undelivered batches by node, oldest first. Open it with `Outbox.open`; one process. Sizes stand apart: counting reads no batch."""

    def __init__(self, store: KeyValueStore, max_waiting: int, max_bytes: int) -> None:
        self._store = store
        self._max_waiting = max_waiting
        self._max_bytes = max_bytes

    @classmethod
    def open(
        cls, path: Path, *, max_waiting: int = MAX_WAITING, max_bytes: int = MAX_WAITING_BYTES, map_size: int = DEFAULT_MAP_BYTES
    ) -> Self:
        store = KeyValueStore.open(path, tables=TABLES, map_size=map_size)
        _measure(store)
        return cls(store, max_waiting, max_bytes)

    def close(self) -> None:
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def keep(self, undelivered: Sequence[Undelivered]) -> None:
        """Durable on return."""
        if not undelivered:
            return
        with self._store.write() as batch:
            for one in undelivered:
                raw = encode(one)
                sizes = [(key, _count(size)) for key, size in batch.scan(_SIZES, _prefix(one.node))]
                total = sum(size for _, size in sizes)
                for at, (key, size) in enumerate(sizes):
                    if len(sizes) - at < self._max_waiting and total + len(raw) <= self._max_bytes:
                        break
                    log.warning("a batch for node %d is forgotten: too many wait", one.node)
                    _forget(batch, key)
                    total -= size
                _append(batch, one.node, raw, refusals=0)

    def names(self, node: int) -> list[bytes]:
        """The batches for a node, oldest first."""
        with self._store.read() as snapshot:
            return [key for key, _ in snapshot.scan(_SIZES, _prefix(node))]

    def get(self, name: bytes) -> Undelivered | None:
        """A batch; None when it was forgotten."""
        with self._store.read() as snapshot:
            raw = snapshot.get(_WAITING, name)
        return None if raw is None else decode_as(Undelivered, raw, max_bytes=MAX_BATCH_BYTES)

    def forget(self, name: bytes) -> None:
        with self._store.write() as batch:
            _forget(batch, name)

    def put_behind(self, name: bytes, counted: bool) -> None:
        """The others of its node come first now; one that was put behind and counted MAX_REFUSALS times is forgotten."""
        with self._store.write() as batch:
            raw, refusals = batch.get(_WAITING, name), _count(batch.get(_REFUSALS, name)) + counted
            if raw is not None and refusals < MAX_REFUSALS:
                _append(batch, name[0], raw, refusals)
            _forget(batch, name)

    def waiting(self) -> dict[int, int]:
        """Batches by node that has not got them; empty when everything is secured."""
        with self._store.read() as snapshot:
            return dict(Counter(key[0] for key, _ in snapshot.scan(_SIZES)))


async def secure(outbox: Outbox, send: Send) -> None:
    """One try for every node that misses something: its batches in order, until it fails or refuses several."""
    await asyncio.gather(*(_secure_node(outbox, send, node) for node in outbox.waiting()))


async def secure_for_ever(outbox: Outbox, send: Send) -> None:
    while True:
        try:
            await secure(outbox, send)
        except HceError as error:
            log.warning("securing records: %s", error.code)
        await asyncio.sleep(SECURE_S)


async def _secure_node(outbox: Outbox, send: Send, node: int) -> None:
    refused = 0
    for name in outbox.names(node):
        undelivered = outbox.get(name)
        if undelivered is None:
            continue
        try:
            await send(node, decode_as(IntakeBatch, undelivered.message, max_bytes=MAX_BATCH_BYTES))
        except Refused as error:
            if error.code not in NEVER:
                log.warning("node %d refuses a batch: %s", node, error.code)
                outbox.put_behind(name, counted=error.status < _SERVER_STATUS)
                refused += 1
                if refused == MAX_REFUSED_A_TRY:
                    return
                continue
        except HceError as error:
            log.info("node %d does not take a batch yet: %s", node, error.code)
            return
        outbox.forget(name)


def _measure(store: KeyValueStore) -> None:
    """An outbox of before sizes were kept gets them."""
    with store.read() as snapshot:
        if snapshot.count(_SIZES) == snapshot.count(_WAITING):
            return
        sizes = [(key, len(raw)) for key, raw in snapshot.scan(_WAITING)]
    with store.write() as batch:
        for key, size in sizes:
            batch.put(_SIZES, key, size.to_bytes(_COUNT_BYTES, "big"))


def _append(batch: WriteTxn, node: int, raw: bytes, refusals: int) -> None:
    last = max((key for key, _ in batch.scan(_SIZES, _prefix(node))), default=None)
    seq = 0 if last is None else int.from_bytes(last[_NODE_BYTES:], "big") + 1
    name = _prefix(node) + seq.to_bytes(_SEQ_BYTES, "big")
    batch.put(_WAITING, name, raw)
    batch.put(_SIZES, name, len(raw).to_bytes(_COUNT_BYTES, "big"))
    if refusals:
        batch.put(_REFUSALS, name, refusals.to_bytes(_COUNT_BYTES, "big"))


def _forget(batch: WriteTxn, name: bytes) -> None:
    for table in TABLES:
        batch.delete(table, name)


def _count(raw: bytes | None) -> int:
    return 0 if raw is None else int.from_bytes(raw, "big")


def _prefix(node: int) -> bytes:
    return node.to_bytes(_NODE_BYTES, "big")
