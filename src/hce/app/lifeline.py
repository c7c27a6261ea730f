"""A child process ends when its supervisor does: the supervisor holds the other end of its standard input."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Coroutine, Mapping
from typing import Any

from hce.foundation.store.check import FAULTS

SUPERVISED = "HCE_SUPERVISED"
"""Environment variable a supervisor sets for its children."""

ENDED_BY = "HCE_ENDED_BY"
"""Environment variable: the signal that ended the process before this one, 0 when none did."""


def ended_by_fault(environ: Mapping[str, str]) -> bool:
    """Whether the process before this one was ended by what it read."""
    return environ.get(ENDED_BY) in {str(int(fault)) for fault in FAULTS}


async def with_lifeline(work: Coroutine[Any, Any, None]) -> None:
    """Runs the work; under a supervisor, asks this process to stop as SIGTERM would when standard input ends."""
    if SUPERVISED not in os.environ:
        await work
        return
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    watching = asyncio.create_task(_watch(reader))
    try:
        await work
    finally:
        watching.cancel()


async def _watch(reader: asyncio.StreamReader) -> None:
    while await reader.read(4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
