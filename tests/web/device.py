"""A patient's device in TypeScript (`web/sdk/tests/live/patient.ts`): a Node process that tests talk to in JSON lines."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

from tests.web.node import node_path

PATIENCE_S = 120
"""Only a hang reaches this."""


class Refused(Exception):
    """The device said no, with this code."""


class Device:
    """A device of the patient: a Node process that has what it was told and nothing else."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    @asynccontextmanager
    async def new(cls, script: Path) -> AsyncIterator[Self]:
        process = await asyncio.create_subprocess_exec(
            node_path(),
            str(script),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=os.environ | {"NODE_NO_WARNINGS": "1"},
            limit=1 << 26,
        )
        try:
            yield cls(process)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            await asyncio.wait_for(process.wait(), PATIENCE_S)

    async def does(self, act: str, **given: str) -> Any:
        """The answer; raises `Refused` with the code of a named error."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"act": act, **given}).encode() + b"\n")
        await self._process.stdin.drain()
        answer = json.loads(await asyncio.wait_for(self._process.stdout.readline(), PATIENCE_S))
        if "ok" not in answer:
            raise Refused(answer["code"]) if answer["code"] != "bug" else AssertionError(answer["message"])
        return answer["ok"]
