"""Batches on their way into the intake: each is checked on its own, and those that come while others are being stored wait for the next
turn and are stored together. A flush costs the same for all of them, and one batch alone waits for nobody.
"""

from __future__ import annotations

import asyncio

from hce.foundation.codec.dagcbor import decode_as
from hce.service.api.services import NodeServices
from hce.service.api.workers import Busy
from hce.service.intake.service import Checked
from hce.service.terms.intake import IntakeBatch
from hce.service.terms.payloads import AvailabilityReceipt

MAX_TOGETHER = 16
"""Batches stored at one time."""
MAX_WAITING = 64
"""Batches that were checked and wait for their turn; each has up to the size of a request."""

_Turn = tuple[Checked, asyncio.Future[AvailabilityReceipt]]


class Taking:
    """Used from the event loop; the work is done by the workers."""

    def __init__(self, node: NodeServices) -> None:
        self._node = node
        self._waiting: list[_Turn] = []
        self._storing: asyncio.Task[None] | None = None

    async def take(self, raw: bytes) -> AvailabilityReceipt:
        """The receipt, once everything it stands for is durable. Raises as `Intake.accept`; `Busy` when too many wait."""
        if len(self._waiting) >= MAX_WAITING:
            raise Busy(max_waiting=MAX_WAITING)
        checked = await self._node.worker(lambda: self._node.intake.check(decode_as(IntakeBatch, raw)))
        answer: asyncio.Future[AvailabilityReceipt] = asyncio.get_running_loop().create_future()
        self._waiting.append((checked, answer))
        if self._storing is None:
            self._storing = asyncio.create_task(self._store())
        return await answer

    async def _store(self) -> None:
        """Until nobody waits. What goes wrong is told to those whose turn it was."""
        try:
            while self._waiting:
                turn, self._waiting = self._waiting[:MAX_TOGETHER], self._waiting[MAX_TOGETHER:]
                try:
                    receipts = await self._node.worker(self._node.intake.keep, [checked for checked, _ in turn])
                except Exception as error:
                    for _, answer in turn:
                        _settle(answer, error)
                    continue
                for (_, answer), receipt in zip(turn, receipts, strict=True):
                    _settle(answer, receipt)
        finally:
            self._storing = None


def _settle(answer: asyncio.Future[AvailabilityReceipt], outcome: AvailabilityReceipt | Exception) -> None:
    """Who went away meanwhile is told nothing."""
    if answer.done():
        return
    if isinstance(outcome, Exception):
        answer.set_exception(outcome)
    else:
        answer.set_result(outcome)
