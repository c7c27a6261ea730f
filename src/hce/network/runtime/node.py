"""The runtime on asyncio: one task that feeds messages and timers to the driver, one that tells listeners what became final."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from hce.foundation.crypto.sign import SigningKey
from hce.foundation.types.blocks import Block, Commit, Node
from hce.foundation.types.clock import Clock
from hce.foundation.types.errors import HceError
from hce.foundation.types.scalars import ChainId, NodeIndex
from hce.network.consensus.application import Application
from hce.network.consensus.turns import SLOTS_PER_TURN
from hce.network.runtime.blocklog import BlockLog
from hce.network.runtime.driver import Driver
from hce.network.runtime.pace import Pace
from hce.network.runtime.signstate import SignState
from hce.network.runtime.world import Network, Timer, Timers

Listener = Callable[[Block, Commit], Awaitable[None]]


class NoNetwork:
    """Links of a node that is alone."""

    def broadcast(self, message: bytes) -> None:
        """Nobody is there."""

    def send(self, peer: int, message: bytes) -> None:
        """Nobody is there."""

    def blame(self, peer: int, fault: HceError) -> None:
        """Nobody is there."""

    async def receive(self) -> tuple[int, bytes]:
        """Waits for ever."""
        nothing: asyncio.Future[tuple[int, bytes]] = asyncio.get_running_loop().create_future()
        return await nothing


class LoopTimers:
    """Timers of the running event loop. What a callback raises goes to `failed`: consensus never goes on after a surprise."""

    def __init__(self, failed: Callable[[Exception], None]) -> None:
        self._failed = failed

    def call_later(self, delay_ms: int, callback: Callable[[], None]) -> Timer:
        return asyncio.get_running_loop().call_later(delay_ms / 1_000, self._guarded, callback)

    def _guarded(self, callback: Callable[[], None]) -> None:
        try:
            callback()
        except Exception as error:
            self._failed(error)


class ConsensusRuntime:
    """One node's consensus as a service: `await run()` until `stop()`. Raises what broke it; it can then only be made anew."""

    def __init__(
        self,
        *,
        chain: ChainId,
        nodes: Sequence[Node],
        my_index: NodeIndex | None,
        key: SigningKey | None,
        app: Application,
        blocklog: BlockLog,
        signstate: SignState | None,
        clock: Clock,
        network: Network,
        pace: Pace,
        timers: Timers | None = None,
        slots_per_turn: int = SLOTS_PER_TURN,
    ) -> None:
        """`timers` defaults to those of the running loop. Files are closed by whoever opened them, after `run` returned."""
        self._network = network
        self._listeners: list[Listener] = []
        self._blocklog = blocklog
        self._final = self._told = blocklog.height
        self._news = asyncio.Event()
        self._ended = asyncio.Event()
        self._error: Exception | None = None
        self._driver = Driver(
            chain=chain,
            nodes=nodes,
            my_index=my_index,
            key=key,
            app=app,
            blocklog=blocklog,
            signstate=signstate,
            clock=clock,
            timers=timers or LoopTimers(self._fail),
            network=network,
            pace=pace,
            on_final=self._is_final,
            slots_per_turn=slots_per_turn,
        )

    @property
    def driver(self) -> Driver:
        """For status pages: its `state`, `tip`, `evidence`, and whether it is `syncing`."""
        return self._driver

    def on_commit(self, listener: Listener) -> None:
        """`await listener(block, commit)` for every block that becomes final from now on, in order, one at a time.

        A listener may be slower than the blocks come: what it has not heard yet waits in the log, not in memory.
        """
        self._listeners.append(listener)

    def peer_connected(self, peer: int) -> None:
        """The link to a peer is up."""
        self._driver.greet(peer)

    def stop(self) -> None:
        """Ends `run`. Safe to call twice, and before `run`."""
        self._driver.stop()
        self._end()

    async def run(self) -> None:
        """Drives consensus until `stop`; on the way out, listeners still hear of every block that became final."""
        for _ in iter(self._driver.replay_next, False):
            await asyncio.sleep(0)  # a long replay leaves the loop to others
            if self._ended.is_set():
                break
        listening = asyncio.create_task(self._guard(self._listen))
        telling = asyncio.create_task(self._guard(self._tell))
        try:
            if not self._ended.is_set():
                self._driver.start()
            await self._ended.wait()
            listening.cancel()
            await telling
        finally:
            self._driver.stop()
            for task in (listening, telling):
                task.cancel()
            await asyncio.gather(listening, telling, return_exceptions=True)
        if self._error is not None:
            raise self._error

    async def _listen(self) -> None:
        while True:
            peer, raw = await self._network.receive()
            self._driver.on_message(peer, raw)
            await asyncio.sleep(0)  # a full queue never blocks the loop's timers

    def _is_final(self, block: Block, commit: Commit) -> None:
        self._final = block.header.height
        self._news.set()

    async def _tell(self) -> None:
        """Returns when it has ended and all is told."""
        while self._told < self._final or not self._ended.is_set():
            if self._told == self._final:
                self._news.clear()
                await self._news.wait()
                continue
            stored = self._blocklog.read(self._told + 1)
            assert stored.commit is not None
            for listener in self._listeners:
                await listener(stored.block, stored.commit)
            self._told += 1

    async def _guard(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except Exception as error:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        self._error = self._error or error
        self._end()

    def _end(self) -> None:
        self._ended.set()
        self._news.set()
