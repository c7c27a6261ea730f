"""The supervisor's door answers every line, whatever its writer meant, and stays open for the next."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hce.app import control
from hce.app.devnet.home import Home


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\xff\xfe",
        b"[" * 4_000,
        b'{"act":' * 500,
        b"[1]",
        b'"kill"',
        b'{"act":"damage","node":1e999,"way":"flip"}',
        b'{"act":"damage","node":9,"way":"flip"}',
        b'{"act":"kill"}',
        b'{"act":["kill"],"name":"node-0"}',
        b"x" * 100_000,
    ],
)
async def test_every_line_is_answered(line: bytes, tmp_path: Path) -> None:
    home, nobody = Home(tmp_path), SimpleNamespace(kill=None, restart=None)

    def damage(node: int, way: str) -> int:
        return [0, 0, 0][node]

    async with control.answering(home, nobody, damage):  # type: ignore[arg-type]  # nothing good is asked of it
        for said in (line, b'{"act":"dance"}'):
            reader, writer = await asyncio.open_unix_connection(control.socket_path(home))
            writer.write(said + b"\n")
            async with asyncio.timeout(20):
                answer: dict[str, Any] = json.loads(await reader.readline())
            assert (answer["ok"], answer["code"]) == (False, "malformed")
            writer.close()
