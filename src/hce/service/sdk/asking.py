"""Asking several nodes of which some lie, lag or hang, so that none of them has the last word.

Of n nodes n - quorum(n) may be faulty, so among one more of them is an honest one (`one_honest`: 3 of 9, 1 of 1). What proves itself is
believed from anybody. A refusal proves nothing and counts when that many nodes give the same. What must arrive is told to that many.
A node that has not answered after a while gets company, and is asked last from then on.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing
from typing import Any, TypeVar

from hce.foundation.types.errors import HceError, PeerFault, Unavailable
from hce.foundation.types.quorum import quorum
from hce.service.sdk.errors import NodeUnreachable, NotFinalInTime, Remote, RemoteUnavailable
from hce.service.sdk.node import NodeClient

T = TypeVar("T")
Ask = Callable[[NodeClient], Awaitable[T]]

NEXT_S = 2.0
"""How long a node may take before the next one is asked too."""
SPARE_S = 2.0
"""How much later than it was asked to a node may end a wait."""


class Refusals:
    """What was said against one question, and when it is settled that it is so."""

    def __init__(self, agreeing: int) -> None:
        self._agreeing = agreeing
        self._by_code: dict[str, list[Remote]] = {}
        self._failure: HceError = NodeUnreachable("no node")
        self.agreed: Remote | None = None
        """The refusal that enough nodes gave alike."""

    def add(self, error: HceError) -> None:
        if not isinstance(error, Remote):
            self._failure = error
            return
        alike = self._by_code.setdefault(error.code, [])
        alike.append(error)
        if len(alike) >= self._agreeing:
            self.agreed = self.agreed or error

    def reason(self) -> HceError:
        """What to raise when nobody is left to ask: a refusal if one of those who refused must be honest."""
        refused = list(self._by_code.values())
        if sum(map(len, refused)) >= self._agreeing:
            return max(refused, key=len)[0]
        return self._failure


class Nodes:
    """The nodes a client knows of a network of n."""

    def __init__(self, nodes: Sequence[NodeClient], n: int) -> None:
        self._nodes = nodes
        self._order = list(nodes)
        self.one_honest = min(n - quorum(n) + 1, len(nodes))
        """So many nodes that one of them is honest."""
        self.quorum = quorum(len(nodes))

    def next(self, count: int) -> list[NodeClient]:
        """Those that would be asked first."""
        return self._order[:count]

    def ask_last(self, nodes: Iterable[NodeClient]) -> None:
        """These come after all others from now on."""
        self._order.sort(key=set(nodes).__contains__)

    def in_turn(self, ask: Ask[T], next_s: float) -> AsyncGenerator[T | HceError, None]:
        """The answers of one node after another, errors included, until nobody is left; a slow node gets company after `next_s`."""
        return self._answers(ask, 1, next_s, until_closed=True)

    async def first(self, ask: Ask[T]) -> T:
        """The first answer. An unreachable, failing or lying node is passed over; a refusal counts when enough nodes give it."""
        [answer] = await self.several(ask, 1, Refusals(self.one_honest))
        return answer

    async def several(
        self, ask: Ask[T], wanted: int, refusals: Refusals, taken: asyncio.Event | None = None, next_s: float | None = None
    ) -> list[T]:
        """The answers of `wanted` nodes, asked at the same time, and more nodes for those that fail; at least one answer.

        A node that takes longer than `next_s` (default NEXT_S) gets company. `taken` is set with the first answer. Raises the agreed
        refusal unless a node has answered before, else the reason of `refusals`.
        """
        found: list[T] = []
        async with aclosing(self._answers(ask, wanted, NEXT_S if next_s is None else next_s)) as answers:
            async for answer in answers:
                if isinstance(answer, HceError):
                    refusals.add(answer)
                    if refusals.agreed is not None and not found:
                        raise refusals.agreed
                    continue
                found.append(answer)
                if taken is not None:
                    taken.set()
                if len(found) >= wanted:
                    break
        if not found:
            raise refusals.reason()
        return found

    async def every(self, ask: Ask[T], slow_s: float | None, enough: int | None = None) -> list[T | HceError]:
        """What each node answered, in node order, errors included. Once `enough` (default quorum(n)) gave good answers the others
        get `slow_s` more.
        """

        async def one(node: NodeClient) -> T | HceError:
            try:
                return await ask(node)
            except HceError as error:
                return error

        enough = self.quorum if enough is None else enough
        tasks = [asyncio.create_task(one(node)) for node in self._nodes]
        waiting, patience = set(tasks), None
        try:
            while waiting:
                done, waiting = await asyncio.wait(waiting, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
                if not done:
                    break
                good = sum(task.done() and not isinstance(task.result(), HceError) for task in tasks)
                patience = slow_s if good >= enough else None
        finally:
            await _cancel(waiting)
        late = NodeUnreachable("slower than the others")
        return [late if task.cancelled() else task.result() for task in tasks]

    async def tell(self, ask: Ask[Any], wait: Callable[[], Awaitable[T]], wanted: int, refusals: Refusals) -> T:
        """Tells `wanted` nodes something and, as soon as one has taken it, waits for what comes of it."""
        taken = asyncio.Event()

        async def waited() -> T:
            await taken.wait()
            return await wait()

        telling = asyncio.create_task(self.several(ask, wanted, refusals, taken))
        waiting = asyncio.create_task(waited())
        try:
            await asyncio.wait({telling, waiting}, return_when=asyncio.FIRST_COMPLETED)
            if not waiting.done():
                telling.result()
            return await waiting
        finally:
            await _cancel({telling, waiting})

    async def wait(self, ask: Callable[[NodeClient, int], Awaitable[T]], wait_ms: int, **named: str) -> T:
        """What becomes final within `wait_ms`: `ask` gets a node and the milliseconds that are left. A node that knows nothing of it
        does not end the wait; `NotFinalInTime` when all who answered know nothing.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait_ms / 1_000
        unknown: list[Remote] = []

        async def one(node: NodeClient) -> T:
            left_s = max(deadline - loop.time(), 0)
            try:
                async with asyncio.timeout(left_s + SPARE_S):
                    return await ask(node, round(left_s * 1_000))
            except TimeoutError as error:
                raise NodeUnreachable("slow", url=node.url) from error
            except Remote as error:
                if error.code != "not_found":
                    raise
                unknown.append(error)
                raise NotFinalInTime(**named) from error

        try:
            return await self.first(one)
        except (Unavailable, PeerFault) as error:
            if unknown:
                raise NotFinalInTime(**named) from error
            raise

    async def _answers(
        self, ask: Ask[T], wanted: int, next_s: float, until_closed: bool = False
    ) -> AsyncGenerator[T | HceError, None]:
        """Answers as they come, from `wanted` nodes and one more for each that fails or is slow; errors included.

        `until_closed`: a good answer is not enough, so that many nodes are asked at a time until the caller closes this or none is left.
        """

        async def one(node: NodeClient) -> T | HceError:
            try:
                return await ask(node)
            except Remote as error:
                return error if error.status < 500 else RemoteUnavailable(error.code, node.url)
            except (Unavailable, PeerFault) as error:
                return error

        loop = asyncio.get_running_loop()
        left = list(self._order)
        running: dict[asyncio.Task[T | HceError], tuple[NodeClient, float]] = {}
        try:
            while True:
                while left and len(running) < wanted:
                    node = left.pop(0)
                    running[asyncio.create_task(one(node))] = node, loop.time()
                if not running:
                    return
                done, _ = await asyncio.wait(running, timeout=next_s if left else None, return_when=asyncio.FIRST_COMPLETED)
                if not done:
                    wanted = len(running) + 1
                for task in [task for task in running if task in done]:
                    del running[task]
                    answer = task.result()
                    wanted -= not (until_closed or isinstance(answer, HceError))
                    yield answer
        finally:
            late = {node for node, since in running.values() if loop.time() - since >= next_s}
            self._order.sort(key=late.__contains__)
            await _cancel(set(running))


async def _cancel(tasks: set[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
