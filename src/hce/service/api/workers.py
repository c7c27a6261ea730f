"""Work of requests beside the loop that drives consensus: few threads, and a bounded line in front of them.

A request that finds the line full is told to come back. Without the bound a flood of large bodies would wait in memory until the
node has none left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from typing import Any

from hce.foundation.types.errors import Unavailable

MAX_WAITING = 256
"""Requests in the line, those being worked on included."""


class Busy(Unavailable):
    """More requests wait than this node answers at a time; trying again in a moment is right."""

    code = "api.busy"


class Workers:
    """Call it as `await workers(function, *arguments)`."""

    def __init__(self, executor: Executor, max_waiting: int = MAX_WAITING) -> None:
        self._executor = executor
        self._max_waiting = max_waiting
        self._waiting = 0

    async def __call__(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """The function's result; raises `Busy` without having begun when the line is full."""
        if self._waiting >= self._max_waiting:
            raise Busy(max_waiting=self._max_waiting)
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, partial(function, *arguments))
        finally:
            self._waiting -= 1
