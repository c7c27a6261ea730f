"""Room on a node's disk: what is refused when it becomes little, and what a node does that has none.

A node takes no batch into its intake that would leave less than RESERVE_BYTES: chain and votes come first, they are what it has promised.
When even those meet a full disk, nothing of the block is applied and nothing new is signed: what cannot be kept is not voted for. The
node closes its files, answers every request with `disk.full`, and opens them again when there is room: it then catches up as one that
was away.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from contextlib import suppress
from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hce.app.face import Door
from hce.app.serving import serving
from hce.foundation.store.errors import DiskFull
from hce.foundation.types.errors import HceError
from hce.service.api.origins import ANY_ORIGIN, AnyOrigin
from hce.service.http import problem

RESERVE_BYTES = 64 << 20
"""Kept free for the chain: some hours of full blocks."""
RESUME_BYTES = 16 << 20
"""A node that stopped for want of room goes on with so much."""
LOOK_S = 1.0

log = logging.getLogger("hce.node")


def free_bytes(data: Path) -> int:
    """Room on the disk of this folder."""
    return shutil.disk_usage(data).free


def disk_bytes(data: Path) -> dict[str, int]:
    """Bytes on disk by part of a node's data folder, whatever the process holds open."""
    found: dict[str, int] = {}
    for part in sorted(data.iterdir()):
        found[part.name] = 0
        for file in [part] if part.is_file() else part.rglob("*"):
            with suppress(FileNotFoundError):  # a file that was being replaced
                found[part.name] += file.stat().st_size if file.is_file() else 0
    return found


def require_room(data: Path, size: int) -> None:
    """`DiskFull` when taking this much would touch the reserve."""
    free = free_bytes(data)
    if free - size < RESERVE_BYTES:
        raise DiskFull("what is left is kept for the chain", free_bytes=free, reserve_bytes=RESERVE_BYTES)


async def wait_for_room(data: Path, port: int, stopping: asyncio.Event, reason: HceError, door: Door | None = None) -> None:
    """Answers every request with the reason until there is room or the node is asked to stop."""
    log.error(
        "%s: this node has stopped voting and waits for %d free bytes; it has %d", reason.code, RESUME_BYTES, free_bytes(data)
    )
    async with serving(refusing(reason), port, pages=ANY_ORIGIN, door=door):
        stop = asyncio.create_task(stopping.wait())
        while free_bytes(data) < RESUME_BYTES and not stop.done():
            await asyncio.wait([stop], timeout=LOOK_S)
        stop.cancel()
    if free_bytes(data) >= RESUME_BYTES:
        log.warning("there is room again: the node goes on")


def refusing(reason: HceError) -> Starlette:
    """An API that says why there is none."""

    async def refuse(request: Request) -> Response:
        return await problem(request, reason)

    every_path = Route("/{path:path}", refuse, methods=["GET", "POST", "PUT", "DELETE"])
    return Starlette(routes=[every_path], middleware=[Middleware(AnyOrigin)])
