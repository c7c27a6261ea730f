"""Records on their way to full dispersal: what nodes that were away at writing have not got yet, kept until they have.

A record is admitted with a quorum; until all nodes vouch for it, it is "being secured" and its author keeps what the missing ones are to
get. The outbox is durable before the record is committed. A node that comes back gets its batches in the order they were written. Nodes
also restore what they missed from each other, so a full outbox may forget its oldest.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Self

from hce.foundation.codec.dagcbor import decode_as, encode
from hce.foundation.store.kv import DEFAULT_MAP_BYTES, KeyValueStore
from hce.foundation.types.errors import HceError
from hce.service.sdk.author import Undelivered
from hce.service.terms.intake import IntakeBatch

MAX_WAITING = 10_000
"""Batches for one node; more push out its oldest."""
SECURE_S = 3.0
"""Between tries to reach nodes that are away."""
MAX_BATCH_BYTES = 128 << 20
NEVER = ("mailbox.record_erased", "mailbox.record_conflict")
"""Refusals that stay. Others pass: a node that comes back may not know yet that we are certified."""

Send = Callable[[int, IntakeBatch], Awaitable[object]]
"""Hand a batch to one node and check its receipt; raises what the node refuses."""

_WAITING = "waiting"
_NODE_BYTES, _SEQ_BYTES = 1, 8

log = logging.getLogger("hce.gateway")


class Outbox:
    """Undelivered batches by node, oldest first. Open it with `Outbox.open`; one process."""

    def __init__(self, store: KeyValueStore, max_waiting: int) -> None:
        self._store = store
        self._max_waiting = max_waiting

    @classmethod
    def open(cls, path: Path, *, max_waiting: int = MAX_WAITING, map_size: int = DEFAULT_MAP_BYTES) -> Self:
        return cls(KeyValueStore.open(path, tables=(_WAITING,), map_size=map_size), max_waiting)

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
                keys = [key for key, _ in batch.scan(_WAITING, _prefix(one.node))]
                for key in keys[: max(0, len(keys) + 1 - self._max_waiting)]:
                    log.warning("a batch for node %d is forgotten: too many wait", one.node)
                    batch.delete(_WAITING, key)
                seq = int.from_bytes(keys[-1][_NODE_BYTES:], "big") + 1 if keys else 0
                batch.put(_WAITING, _prefix(one.node) + seq.to_bytes(_SEQ_BYTES, "big"), encode(one))

    def first(self, node: int) -> tuple[bytes, Undelivered] | None:
        """The oldest batch for a node, with the name to forget it by."""
        with self._store.read() as snapshot:
            found = next(iter(snapshot.scan(_WAITING, _prefix(node), limit=1)), None)
        return None if found is None else (found[0], decode_as(Undelivered, found[1], max_bytes=MAX_BATCH_BYTES))

    def forget(self, name: bytes) -> None:
        with self._store.write() as batch:
            batch.delete(_WAITING, name)

    def waiting(self) -> dict[int, int]:
        """Batches by node that has not got them; empty when everything is secured."""
        with self._store.read() as snapshot:
            return dict(Counter(key[0] for key, _ in snapshot.scan(_WAITING)))


async def secure(outbox: Outbox, send: Send) -> None:
    """One try for every node that misses something: its batches in order, until it fails again."""
    await asyncio.gather(*(_secure_node(outbox, send, node) for node in outbox.waiting()))


async def secure_for_ever(outbox: Outbox, send: Send) -> None:
    while True:
        try:
            await secure(outbox, send)
        except HceError as error:
            log.warning("securing records: %s", error.code)
        await asyncio.sleep(SECURE_S)


async def _secure_node(outbox: Outbox, send: Send, node: int) -> None:
    while (oldest := outbox.first(node)) is not None:
        name, undelivered = oldest
        try:
            await send(node, decode_as(IntakeBatch, undelivered.message, max_bytes=MAX_BATCH_BYTES))
        except HceError as error:
            if error.code not in NEVER:
                log.info("node %d does not take a batch yet: %s", node, error.code)
                return
        outbox.forget(name)


def _prefix(node: int) -> bytes:
    return node.to_bytes(_NODE_BYTES, "big")
