"""Many small questions to one node in few requests: what is asked while a request is on its way goes into the next.

A read of a hundred records asks each node for a hundred shards; a request for each would cost more than the shards. One request a node
is on its way at a time; who waits too long behind a slow node has asked another one by then (`gather.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from hce.foundation.types.errors import HceError, PeerFault

AskMany = Callable[[int, list[bytes]], Awaitable[list[bytes | None]]]
"""(node, names) -> answers to the first of them, at least one."""


class NoAnswer(PeerFault):
    """A node answered none of the questions of a request."""

    code = "peer.no_answer"


class Together:
    """Collects questions by node. Used from one event loop."""

    def __init__(self, ask_many: AskMany, max_asked: int) -> None:
        self._ask_many = ask_many
        self._max_asked = max_asked
        self._waiting: dict[int, list[tuple[bytes, asyncio.Future[bytes | None]]]] = {}
        self._sending: dict[int, asyncio.Task[None]] = {}

    async def ask(self, node: int, name: bytes) -> bytes | None:
        """The node's answer to one question; raises what the request raised."""
        (answer,) = self.asked(node, [name])
        return await answer

    def asked(self, node: int, names: Sequence[bytes]) -> list[asyncio.Future[bytes | None]]:
        """The answers to come, in order. Who no longer wants one cancels it."""
        loop = asyncio.get_running_loop()
        answers: list[asyncio.Future[bytes | None]] = [loop.create_future() for _ in names]
        self._waiting.setdefault(node, []).extend(zip(names, answers, strict=True))
        if node not in self._sending:
            self._sending[node] = asyncio.create_task(self._send(node))
        return answers

    async def _send(self, node: int) -> None:
        await asyncio.sleep(0)  # whoever asks in this turn of the loop comes along
        try:
            while wanted := [one for one in self._waiting.pop(node, []) if not one[1].done()]:
                part, rest = wanted[: self._max_asked], wanted[self._max_asked :]
                unanswered = await self._send_part(node, part)
                self._waiting[node] = unanswered + rest + self._waiting.get(node, [])
        finally:
            del self._sending[node]
            for _, future in self._waiting.pop(node, []):
                future.cancel()

    async def _send_part(
        self, node: int, part: list[tuple[bytes, asyncio.Future[bytes | None]]]
    ) -> list[tuple[bytes, asyncio.Future[bytes | None]]]:
        """Settles what the node answered or, after an error, everything; what must be asked again."""
        try:
            answers = await self._ask_many(node, [name for name, _ in part])
            if not answers:
                raise NoAnswer(node=node, asked=len(part))
        except HceError as error:
            for _, future in part:
                if not future.done():
                    future.set_exception(error)
            return []
        for (_, future), answer in zip(part, answers, strict=False):
            if not future.done():
                future.set_result(answer)
        return part[len(answers) :]
