"""Transactions that peers pass on: checked in small batches off the loop that drives consensus, then into the pool and further on.

A node passes on only what it checked itself, so a transaction that is wrong in itself (unreadable, badly signed, of another chain) is
the fault of the peer it came from. One that merely does not fit our state or pool any more is nobody's.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from hce.foundation.types.errors import HceError, Malformed, TooLarge
from hce.network.link.link import Link
from hce.service.contracts.value.errors import WrongEthChain
from hce.service.terms.transactions import BadTransactionSignature, WrongChain

BATCH = 32
"""Transactions checked at a time: some milliseconds of a worker."""
PEER_IS_WRONG = (Malformed, TooLarge, BadTransactionSignature, WrongChain, WrongEthChain)

Check = Callable[[bytes], object]
"""Takes a transaction into the pool; raises `Refused`, `Unavailable`."""
Worker = Callable[..., Awaitable[Any]]


async def feed_pool(link: Link, check: Check, worker: Worker) -> None:
    """For as long as the node runs."""
    while True:
        received = await link.receive_transactions(BATCH)
        faults = await worker(_check_all, check, [gossiped.raw for _, gossiped in received])
        for (peer, gossiped), fault in zip(received, faults, strict=True):
            if fault is None:
                link.relay(gossiped)
            elif isinstance(fault, PEER_IS_WRONG):
                link.blame(peer, fault)


def _check_all(check: Check, raws: list[bytes]) -> list[HceError | None]:
    return [_fault_of(check, raw) for raw in raws]


def _fault_of(check: Check, raw: bytes) -> HceError | None:
    try:
        check(raw)
    except HceError as fault:
        return fault
    return None
