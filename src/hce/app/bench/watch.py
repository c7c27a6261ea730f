"""Follows the final blocks of one node while a load runs. What no block holds was not done."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

from msgspec import Struct

from hce.service.sdk.errors import Remote
from hce.service.sdk.node import NodeClient
from hce.service.terms.proofs import WholeBlock

WAIT_MS = 5_000
"""One wait for a block; after it the next."""


class SeenBlock(Struct, frozen=True):
    """A final block as it reached somebody who waited for it."""

    height: int
    time_ms: int
    """The block's own time."""
    seen_s: float
    """Monotonic time at which the whole block was here."""
    health_txs: list[bytes]
    value_txs: list[bytes]
    failed: dict[str, int]
    """Health transactions that are final but did nothing, by error code."""

    @property
    def count(self) -> int:
        return len(self.health_txs) + len(self.value_txs)


Taker = Callable[[SeenBlock], None]


async def follow(node: NodeClient, height: int, take: Taker) -> None:
    """Hands over every block from `height` on, until cancelled."""
    while True:
        try:
            whole = await node.block(height, WAIT_MS)
        except Remote as error:
            if error.code != "not_found":
                raise
            continue
        take(seen(whole, time.monotonic()))
        height += 1


def seen(whole: WholeBlock, seen_s: float) -> SeenBlock:
    header, lists = whole.block.header, whole.block.ledger
    failed = Counter(receipt.code for receipt in whole.receipts if not receipt.ok)
    return SeenBlock(header.height, header.time_ms, seen_s, lists.health_txs, lists.value_txs, dict(failed))
