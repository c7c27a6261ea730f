"""Transactions that peers pass on: checked in small batches off the loop that drives consensus, then into the pool and further on.

A node passes on only what it checked itself, so a transaction that is wrong in itself (unreadable, badly signed, of another chain) is
the fault of the peer it came from. One that merely does not fit our state or pool any more is nobody's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from hce.foundation.types.errors import HceError, Malformed, TooLarge
from hce.network.link.link import Link
from hce.service.contracts.value.errors import WrongEthChain
from hce.service.terms.transactions import BadTransactionSignature, WrongChain

BATCH = 100
"""Transactions checked at a time: some ten milliseconds of a worker."""
REST_S = 0.025
"""Least time between two batches that are not full: going to a worker and back costs as much as checking a transaction."""
PEER_IS_WRONG = (Malformed, TooLarge, BadTransactionSignature, WrongChain, WrongEthChain)

Check = Callable[[bytes], object]
"""Takes a transaction into the pool; raises `Refused`, `Unavailable`."""
Worker = Callable[..., Awaitable[Any]]


async def feed_pool(link: Link, check: Check, worker: Worker) -> None:
    """For as long as the node runs."""
    now_s = asyncio.get_running_loop().time
    while True:
        received = await link.receive_transactions(BATCH)
        began_s = now_s()
        faults = await worker(_check_all, check, [gossiped.raw for _, gossiped in received])
        for (peer, gossiped), fault in zip(received, faults, strict=True):
            if fault is None:
                link.relay(gossiped)
            elif isinstance(fault, PEER_IS_WRONG):
                link.blame(peer, fault)
        if len(received) < BATCH:
            await asyncio.sleep(began_s + REST_S - now_s())


def _check_all(check: Check, raws: list[bytes]) -> list[HceError | None]:
    return [_fault_of(check, raw) for raw in raws]


def _fault_of(check: Check, raw: bytes) -> HceError | None:
    try:
        check(raw)
    except HceError as fault:
        return fault
    return None
