"""Transactions from peers: checked off the loop, the good ones go into the pool and on, and who sends nonsense is blamed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

from tests.network.link.mesh import connected, faults, make_link, mesh, until

from hce.app.gossip import feed_pool
from hce.app.preflight import free_ports
from hce.foundation.types.errors import HceError, Malformed
from hce.network.link.link import Link
from hce.service.ledger.errors import PoolFull


@asynccontextmanager
async def fed(link: Link) -> AsyncIterator[list[bytes]]:
    """The pool of one node, fed by its link, with rules of the letter."""
    pool: list[bytes] = []

    def check(raws: Sequence[bytes]) -> list[HceError | None]:
        return [check_one(raw) for raw in raws]

    def check_one(raw: bytes) -> HceError | None:
        if raw.startswith(b"nonsense"):
            return Malformed("not a transaction")
        if raw.startswith(b"late"):
            return PoolFull("paid")
        pool.append(raw)
        return None

    feeding = asyncio.create_task(feed_pool(link, check, asyncio.to_thread))
    try:
        yield pool
    finally:
        feeding.cancel()
        with suppress(asyncio.CancelledError):
            await feeding


async def test_good_transactions_reach_every_pool_once():
    async with mesh(3) as links, fed(links[1]) as first, fed(links[2]) as second:
        raws = [b"good %d" % number for number in range(100)]
        for raw in raws:
            links[0].gossip_tx(raw)
        await until(lambda: len(first) == len(second) == 100)
        assert first == second == raws


async def test_what_does_not_fit_our_state_is_nobodys_fault():
    async with mesh(2) as links, fed(links[1]) as pool:
        for number in range(50):
            links[0].gossip_tx(b"late %d" % number)
        links[0].gossip_tx(b"good")
        await until(lambda: pool == [b"good"])
        assert faults(links[1], 0) == 0


async def test_much_nonsense_ends_the_connection():
    async with mesh(2) as links, fed(links[1]) as pool:
        for number in range(15):
            links[0].gossip_tx(b"nonsense %d" % number)
        await until(lambda: connected(links[1]) == [])
        assert faults(links[1], 0) >= 10
        assert pool == []


async def test_only_what_was_found_good_is_passed_on():
    ports = free_ports(3)
    cut_off = [ports[0], free_ports(1)[0], ports[2]]  # node 0 looks for node 1 at a wrong place
    async with make_link(0, 3, cut_off) as origin, make_link(1, 3, ports) as far, make_link(2, 3, ports) as between:
        await until(lambda: (connected(origin), connected(far)) == ([2], [2]))
        async with fed(between), fed(far) as pool:
            for raw in (b"nonsense", b"late", b"good"):
                origin.gossip_tx(raw)
            await until(lambda: pool == [b"good"])
            assert faults(far, 2) == 0
