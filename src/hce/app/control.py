"""The supervisor's own door: a Unix socket in the network's folder, through which `hce` asks a running `hce up` to stop, kill or
restart a process. Nothing else may.

One JSON line in, one JSON line out. Only the owner of the folder can open it.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Literal, Protocol

from hce.app.devnet.home import Home
from hce.foundation.types.errors import HceError, Refused, Unavailable
from hce.service.sdk.errors import Remote

MAX_LINE_BYTES = 4_096
MAX_PATH_BYTES = 100
"""A Unix socket's path is at most 107 bytes on Linux."""

Act = Literal["kill", "restart", "damage"]


class Supervising(Protocol):
    """What the door leads to."""

    async def kill(self, name: str) -> None: ...

    async def restart(self, name: str) -> None: ...


Damage = Callable[[int, str], int]
"""(node, way) -> how many shards were damaged."""


class PathTooLong(Refused):
    """A Unix socket cannot lie at so long a path."""

    code = "home.path_too_long"
    status = 400


class NotRunning(Unavailable):
    """No `hce up` runs over this folder."""

    code = "up.not_running"


def socket_path(home: Home) -> Path:
    """Inside the folder; relative to where we stand when the whole path is too long for a socket. Raises `PathTooLong`."""
    path = home.root / "control.sock"
    for candidate in (path, Path(os.path.relpath(path))):
        if len(os.fsencode(candidate)) <= MAX_PATH_BYTES:
            return candidate
    raise PathTooLong(path=str(home.root))


@asynccontextmanager
async def answering(home: Home, supervisor: Supervising, damage: Damage) -> AsyncIterator[None]:
    """Answers requests for the time of the block."""
    path = socket_path(home)
    path.unlink(missing_ok=True)

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answer: dict[str, Any] = {"ok": True}
        try:
            asked = json.loads(await reader.readline())
            match asked["act"]:
                case "kill":
                    await supervisor.kill(str(asked["name"]))
                case "restart":
                    await supervisor.restart(str(asked["name"]))
                case "damage":
                    answer["shards"] = await asyncio.to_thread(damage, int(asked["node"]), str(asked["way"]))
                case _:
                    raise ValueError("no such act")
        except HceError as error:
            answer = {"ok": False, "code": error.code, "detail": error.detail}
        except (ValueError, LookupError, TypeError, OverflowError, RecursionError):
            answer = {"ok": False, "code": "malformed", "detail": ""}
        writer.write(json.dumps(answer).encode() + b"\n")
        with suppress(ConnectionError):
            await writer.drain()
        writer.close()

    server = await asyncio.start_unix_server(handle, path, limit=MAX_LINE_BYTES)
    path.chmod(0o600)
    try:
        yield
    finally:
        server.close()
        await server.wait_closed()
        path.unlink(missing_ok=True)


async def ask(home: Home, act: Act, **what: Any) -> dict[str, Any]:
    """Asks the running supervisor; its answer. Raises `NotRunning`, or what it refused with."""
    try:
        reader, writer = await asyncio.open_unix_connection(socket_path(home), limit=MAX_LINE_BYTES)
    except (OSError, FileNotFoundError) as error:
        raise NotRunning(home=str(home.root)) from error
    writer.write(json.dumps({"act": act, **what}).encode() + b"\n")
    answer: dict[str, Any] = json.loads(await reader.readline())
    writer.close()
    if not answer["ok"]:
        raise Remote(answer["code"], 503, answer["detail"])
    return answer
