"""Transactions that peers pass on: checked in small batches off the loop that drives consensus, then into the pool and further on.

A node passes on only what it checked itself, so a transaction that is wrong in itself (unreadable, badly signed, of another chain) is
the fault of the peer it came from. One that merely does not fit our state or pool any more is nobody's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
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

Check = Callable[[Sequence[bytes]], Sequence[object]]
"""Takes transactions into the pool; for each whatever it likes, or the `HceError` it was refused with (`Ledger.check_txs`)."""
Worker = Callable[..., Awaitable[Any]]


async def feed_pool(link: Link, check: Check, worker: Worker) -> None:
    """For as long as the node runs."""
    now_s = asyncio.get_running_loop().time
    while True:
        received = await link.receive_transactions(BATCH)
        began_s = now_s()
        answers = await worker(check, [gossiped.raw for _, gossiped in received])
        for (peer, gossiped), answer in zip(received, answers, strict=True):
            if not isinstance(answer, HceError):
                link.relay(gossiped)
            elif isinstance(answer, PEER_IS_WRONG):
                link.blame(peer, answer)
        if len(received) < BATCH:
            await asyncio.sleep(began_s + REST_S - now_s())
