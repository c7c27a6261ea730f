"""Starts, watches, restarts and stops the processes of a network on one machine. Only it may kill and restart.

A child learns that its supervisor is gone when its standard input ends, so no process outlives a supervisor that was killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import httpx
from msgspec import Struct

from hce.app.lifeline import ENDED_BY, SUPERVISED
from hce.app.logs import FILE_VARIABLE
from hce.foundation.store.errors import DiskFull
from hce.foundation.types.errors import NotFound, Unavailable

STOP_PATIENCE_S = 10.0
"""Between asking a child to stop and killing it."""
READY_PATIENCE_S = 45.0
"""A child that has not answered by then has failed to start."""
AGAIN_PATIENCE_S = 600.0
"""One that is started again gets longer: it may have much to read, on a machine that is busy because it just came back."""
POLL_S = 0.05
MAX_SAID_CHARS = 300
MAX_MENDED = 3
MENDED_WITHIN_S = 600.0
"""A process that ended by itself is started again MAX_MENDED times within this; more often and something is wrong with it."""


class ProcessFailed(Unavailable):
    """A process of the network ended or never became ready; its log says why."""

    code = "process.failed"


class ProcessKilled(ProcessFailed):
    """A process of the network was ended from outside: by somebody, or by the system when memory ran out."""

    code = "process.killed"


class ProcessPlan(Struct, frozen=True):
    """How to run one process and how to see that it serves."""

    name: str
    arguments: list[str]
    """After `python -m hce.app.cli`."""
    url: str
    """Its status lies under /v1/status."""


Told = Callable[[str, ProcessFailed, bool], None]
"""(process, why it ended, whether it runs again)."""


class Supervisor:
    """The process table of one network. Not a service manager: it lives as long as `hce up` or `hce tour` does."""

    def __init__(self, logs: Path, max_mended: int = MAX_MENDED) -> None:
        self._logs = logs
        self._max_mended = max_mended
        self._plans: dict[str, ProcessPlan] = {}
        self._running: dict[str, asyncio.subprocess.Process] = {}
        self._mended: dict[str, list[float]] = {}
        self._ended_by: dict[str, int] = {}
        """The signal that ended a process, until it is started again."""
        self._acting: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        """One act at a time on each process: two restarts of it would make two."""

    async def start(self, plan: ProcessPlan, patience_s: float = READY_PATIENCE_S) -> None:
        """Starts and waits until it answers; `ProcessFailed` names the log."""
        self._plans[plan.name] = plan
        self._logs.mkdir(parents=True, exist_ok=True)
        with self.log_of(plan.name).open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "hce.app.cli",
                *plan.arguments,
                stdin=asyncio.subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=os.environ
                | {"PYTHONUNBUFFERED": "1", SUPERVISED: "1", FILE_VARIABLE: str(self.log_of(plan.name))}
                | {ENDED_BY: str(self._ended_by.pop(plan.name, 0))},
            )
        self._running[plan.name] = process
        try:
            await self._wait_ready(plan, process, patience_s)
        except ProcessFailed:
            del self._running[plan.name]
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            raise

    async def _wait_ready(self, plan: ProcessPlan, process: asyncio.subprocess.Process, patience_s: float) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + patience_s
        async with httpx.AsyncClient(trust_env=False) as http:
            while loop.time() < deadline:
                if process.returncode is not None:
                    raise self._failed(plan.name, process.returncode)
                with contextlib.suppress(httpx.HTTPError):
                    if (await http.get(plan.url + "/v1/status", timeout=2)).status_code in (200, DiskFull.status):
                        return  # a node that waits for room on its disk runs as well as it can
                await asyncio.sleep(POLL_S)
        raise ProcessFailed(name=plan.name, log=str(self.log_of(plan.name)), said=self._last_line(plan.name))

    def log_of(self, name: str) -> Path:
        return self._logs / f"{name}.log"

    def pid(self, name: str) -> int:
        return self._running[name].pid

    async def watch(self, told: Told) -> None:
        """Starts again whatever ends without having been asked to, at once, for as long as it is awaited.

        What ends too often, or does not start by itself, is given up until somebody restarts it: one broken machine must not take
        the others with it, nor hold up their return.
        """
        async with asyncio.TaskGroup() as mending:
            while True:
                for name in self._gone():
                    mending.create_task(self._mend(name, told))
                await asyncio.sleep(POLL_S)

    async def mend(self, told: Told) -> None:
        """One look of `watch`, waited for."""
        await asyncio.gather(*(self._mend(name, told) for name in self._gone()))

    def _gone(self) -> list[str]:
        """What ended and nobody acts on."""
        ended = [name for name, process in self._running.items() if process.returncode is not None]
        return [name for name in ended if not self._acting[name].locked()]

    async def _mend(self, name: str, told: Told) -> None:
        async with self._acting[name]:
            process = self._running.get(name)
            if process is None or process.returncode is None:
                return
            del self._running[name]
            failure, runs_again = await self._start_again(name, self._failed(name, process.returncode))
            told(name, failure, runs_again)

    async def _start_again(self, name: str, failure: ProcessFailed) -> tuple[ProcessFailed, bool]:
        """Why it ended (the last time), and whether it runs. One that is killed from outside while it starts is tried again."""
        loop = asyncio.get_running_loop()
        while True:
            recent = [at_s for at_s in self._mended.get(name, []) if loop.time() - at_s < MENDED_WITHIN_S]
            self._mended[name] = [*recent, loop.time()]
            if len(recent) >= self._max_mended:
                return failure, False
            try:
                await self.start(self._plans[name], AGAIN_PATIENCE_S)
            except ProcessKilled as again:
                failure = again
            except ProcessFailed as again:
                return again, False
            else:
                return failure, True

    def runs(self, name: str) -> bool:
        """Whether it was started and has not been seen to end."""
        process = self._running.get(name)
        return process is not None and process.returncode is None

    def stands(self, name: str) -> bool:
        """Whether it runs, or ended and was not given up yet."""
        return name in self._running or self._acting[name].locked()

    def _failed(self, name: str, returncode: int) -> ProcessFailed:
        """How it ended, in the words of the system; a signal leaves nothing in the log."""
        how = signal.strsignal(-returncode) if returncode < 0 else None
        if how is not None:
            self._ended_by[name] = -returncode
            return ProcessKilled(name=name, signal=how)
        return ProcessFailed(name=name, log=str(self.log_of(name)), said=self._last_line(name))

    def _last_line(self, name: str) -> str:
        """What the process said last, for those who will not find the log again."""
        lines = self.log_of(name).read_text("utf-8", "replace").strip().splitlines()
        return lines[-1][:MAX_SAID_CHARS] if lines else ""

    async def stop(self, name: str) -> None:
        """Asks, waits, and only then kills."""
        process = self._running.pop(name)
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), STOP_PATIENCE_S)
        except TimeoutError:
            process.kill()
            await process.wait()

    async def kill(self, name: str) -> None:
        """As a power cut would: no warning. For rehearsing crashes. What does not run is left alone."""
        self._require_known(name)
        async with self._acting[name]:
            process = self._running.pop(name, None)
            if process is None:
                return
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def restart(self, name: str) -> None:
        """Stops it when it runs, and starts it."""
        self._require_known(name)
        async with self._acting[name]:
            if name in self._running:
                await self.stop(name)
            await self.start(self._plans[name])

    def _require_known(self, name: str) -> None:
        if name not in self._plans:
            raise NotFound("process", name=name, known=sorted(self._plans))

    async def stop_all(self) -> None:
        """Gateways first, nodes last: the reverse of starting."""
        for name in list(self._running)[::-1]:
            await self.stop(name)
