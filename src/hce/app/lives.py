"""The lives of a node process: opened, run until something ends it, mended if that was damage, opened anew.

A node that meets damaged tables makes them anew and goes on; one whose ledger knows other blocks than its log, or comes to other
headers, executes the log again from the beginning; one that lost its sign state watches before it signs; one without room waits until
there is some. What none of this helps against ends the process with an error.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress

from hce.app.devnet.home import Home
from hce.app.lifeline import ended_by_fault
from hce.app.mending import forget_ledger
from hce.app.node import MakeLedger, RunningNode
from hce.app.room import wait_for_room
from hce.app.serving import serving
from hce.foundation.store.disk import is_full
from hce.foundation.store.errors import DiskFull, StoreCorrupt
from hce.network.runtime.errors import ExecutionDiffers, SignStateCorrupt
from hce.service.api.origins import ANY_ORIGIN
from hce.service.ledger.errors import ReplayDiffers, UnknownVersion
from hce.service.ledger.ledger import Ledger

MAX_MENDED = 3
MENDED_WITHIN_S = 600.0
"""A node whose tables are damaged again and again within this time ends: its disk is not fit to run on."""

log = logging.getLogger("hce.node")


async def run_node(home: Home, index: int, port: int, make_ledger: MakeLedger = Ledger) -> None:
    """Serves until SIGTERM or SIGINT, then stops cleanly. Raises what broke consensus, so that the process ends with an error."""
    stopping = asyncio.Event()
    for sign in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(sign, stopping.set)
    mended_s: list[float] = []
    executed_anew = False
    after_fault = ended_by_fault(os.environ)
    while not stopping.is_set():
        try:
            end_watch_now = await _run_until(stopping, home, index, port, make_ledger, after_fault)
        except StoreCorrupt as error:
            mended_s = [*(at_s for at_s in mended_s if time.monotonic() - at_s < MENDED_WITHIN_S), time.monotonic()]
            if len(mended_s) > MAX_MENDED:
                raise
            after_fault = True
            log.error("%s: this node closes its files and makes damaged tables anew", error)
        except (ReplayDiffers, ExecutionDiffers) as error:
            if isinstance(error.__cause__, UnknownVersion):
                raise error.__cause__ from None
            if executed_anew:
                raise  # it is not the state: this code comes to other results than the network
            executed_anew = True
            forget_ledger(home.node(index) / "data")
            log.error("%s: this node executes its blocks again from the beginning", error)
        except SignStateCorrupt as error:
            if len(home.genesis().nodes) == 1:
                raise
            log.error("%s: this node opens its files anew and watches before it signs again", error)
        except (DiskFull, OSError) as error:
            if isinstance(error, OSError) and not is_full(error):
                raise
            await wait_for_room(home.node(index) / "data", port, stopping, DiskFull(), home.node_door(index))
        else:
            if end_watch_now is None:
                return
            end_watch_now()
            log.info("the chain has passed what this node may have signed before it lost its sign state; it signs again")


async def _run_until(
    stopping: asyncio.Event, home: Home, index: int, port: int, make_ledger: MakeLedger, after_fault: bool
) -> Callable[[], None] | None:
    """One life of the node; what to do before the next when it ended because its watch did."""
    with ExitStack() as stack:
        node = RunningNode(home, index, stack, make_ledger, after_fault=after_fault)
        async with node.linked(), serving(node.api, port, pages=ANY_ORIGIN, door=home.node_door(index)):
            consensus = asyncio.create_task(node.runtime.run())
            tending = asyncio.create_task(node.tend())
            ends = [asyncio.create_task(event.wait()) for event in (stopping, node.watched)]
            await asyncio.wait((consensus, tending, *ends), return_when=asyncio.FIRST_COMPLETED)
            for task in (*ends, tending):
                task.cancel()
            node.runtime.stop()
            await consensus
            with suppress(asyncio.CancelledError):
                await tending
            log.info("stopped at height %d", node.ledger.height)
        return node.end_watch() if node.watched.is_set() and not stopping.is_set() else None
