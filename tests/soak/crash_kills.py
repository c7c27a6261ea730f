"""kill -9 at random instants, on real processes under load: what it takes to come back, and that nothing is lost or signed twice.

    python -m tests.soak.crash_kills --nodes 4 --kills 300 --seed 1 [--json FILE]

One seed draws one schedule: who dies (one node, some, all, a gateway), when within a block interval, and who dies again while it
starts. The supervisor of `hce up` starts what died; nobody else does anything. Recovery counts from the start of the new process until
the node serves, is not syncing and has the highest height any node had when that process started.

Cores are shared, so beside the wall clock stands what the scheduler says of the node's main thread: `cpu` is what it ran, and `own` the
wall time without what it stood ready in the queue because something else ran.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
from msgspec import Struct, to_builtins
from tests.soak.crash_checks import Found, check_chains, check_imports, check_records, check_signatures, witnessed
from tests.soak.crash_load import Load

from hce.app.bench.figures import machine, spread
from hce.app.bench.stage import Stage
from hce.app.devnet import run
from hce.app.devnet.home import Home
from hce.app.devnet.people import certify
from hce.app.preflight import free_ports
from hce.app.supervisor import ProcessFailed, Supervisor
from hce.foundation.types.quorum import quorum
from hce.service.sdk.network import Network
from hce.service.terms.genesis import Params

WITNESS = Path(__file__).parent / "witness"
SPREAD_S = 1.2
"""Victims of one round die within this: a little more than one block interval."""
AGAIN = 0.25
"""Of the killed, so many are killed again while they start."""
AGAIN_WITHIN_S = 2.5
PAUSE_S = 0.8
POLL_S = 0.05
LIMIT_S = 300.0
"""Only a network that does not come back reaches this."""
ENOUGH = 10_000
"""Starts again that the supervisor allows: here dying is the point."""
GOAL_MS = 5_000


class Recovery(Struct, frozen=True):
    """One process that came back, in ms."""

    wall: float
    cpu: float
    own: float
    """Wall time without waiting for a core."""
    from_kill: float


class Seen(Struct, frozen=True):
    """A node's answer."""

    asked_s: float
    height: int
    syncing: bool


class Crash:
    """A network, its load, and who kills it."""

    def __init__(self, stage: Stage, seed: int) -> None:
        self._stage = stage
        self._chance = random.Random(seed)
        self._nodes = [f"node-{index}" for index in range(stage.nodes)]
        self._gateway = f"gateway-{gateway_of(stage.home)}"
        self._seen: dict[str, Seen] = {}
        self._shown: dict[str, int] = {}
        self._given_up: list[str] = []
        self.kills: dict[str, int] = {"node": 0, "gateway": 0, "while starting": 0, "whole network": 0}
        self.recoveries: list[Recovery] = []
        self.standstills_ms: list[float] = []
        """After all nodes were killed: from the first kill to the next new block."""

    @property
    def killed(self) -> int:
        return self.kills["node"] + self.kills["gateway"]

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """The supervisor mends, the nodes are asked how they are."""
        plans = {plan.name: plan.url for plan in run.plans(self._stage.home)[0]}
        async with httpx.AsyncClient(trust_env=False, timeout=5) as http, asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(self._ask(http, name, url)) for name, url in plans.items()]
            running.append(tasks.create_task(self._stage.supervisor.watch(self._told)))
            try:
                yield
            finally:
                for task in running:
                    task.cancel()

    def _told(self, name: str, failure: ProcessFailed, runs_again: bool) -> None:
        if not runs_again:
            self._given_up.append(f"{name}: {failure} {failure.fields}")

    async def _ask(self, http: httpx.AsyncClient, name: str, url: str) -> None:
        while True:
            asked_s = time.monotonic()
            with suppress(httpx.HTTPError, ValueError, KeyError):
                found = (await http.get(url + "/v1/status")).json()
                self._seen[name] = Seen(asked_s, found["height"], found["syncing"])
                self._shown[name] = max(self._shown.get(name, 0), found["height"])
            await asyncio.sleep(POLL_S)

    @property
    def shown(self) -> list[int]:
        """The highest height each node ever said it had, in node order."""
        return [self._shown.get(name, 0) for name in self._nodes]

    @property
    def head(self) -> int:
        return max(self.shown)

    async def round(self) -> None:
        """One draw of victims, until all of them are back."""
        victims = self._draw()
        if len(victims) >= len(self._nodes):
            self.kills["whole network"] += 1
        head, began_s = self.head, time.monotonic()
        await asyncio.gather(*(self._kill_and_time(name) for name in victims))
        if set(self._nodes) <= set(victims):
            await self.reaches(head + 1)
            self.standstills_ms.append((time.monotonic() - began_s) * 1_000)
        await asyncio.sleep(self._chance.uniform(0, PAUSE_S))

    def _draw(self) -> list[str]:
        chance, nodes = self._chance, self._nodes
        kind = chance.choices(["one", "borne", "gateway", "more", "all"], [50, 22, 12, 8, 8])[0]
        borne = max(1, len(nodes) - quorum(len(nodes)))
        most = {"one": 1, "borne": borne, "gateway": 0, "more": len(nodes), "all": len(nodes)}
        count = {one: at_most if one == "all" else chance.randint(min(1, at_most), at_most) for one, at_most in most.items()}
        victims = chance.sample(nodes, count[kind])
        if kind == "gateway" or chance.random() < 0.15:
            victims.append(self._gateway)
        return victims

    async def _kill_and_time(self, name: str) -> None:
        again = self._chance.random() < AGAIN
        await asyncio.sleep(self._chance.uniform(0, SPREAD_S))
        killed_s = time.monotonic()
        pid = await self._kill(name)
        if again:
            await asyncio.sleep(self._chance.uniform(0, AGAIN_WITHIN_S))
            pid = await self._kill(name)
            self.kills["while starting"] += 1
        if name in self._nodes:
            await self._recovered(name, pid, killed_s)
        else:
            await self._until(lambda: self._stage.supervisor.runs(name), f"{name} does not serve")

    async def _kill(self, name: str) -> int:
        """kill -9; the pid of what takes its place, as soon as it exists."""
        supervisor = self._stage.supervisor
        await self._until(lambda: supervisor.runs(name), f"{name} does not run")
        old = supervisor.pid(name)
        os.kill(old, signal.SIGKILL)
        self.kills["node" if name in self._nodes else "gateway"] += 1
        await self._until(lambda: supervisor.runs(name) and supervisor.pid(name) != old, f"{name} is not started again")
        return supervisor.pid(name)

    async def _recovered(self, name: str, pid: int, killed_s: float) -> None:
        started_s = _started_s(pid)
        wanted = self.head

        def back() -> bool:
            seen = self._seen.get(name)
            return seen is not None and seen.asked_s > started_s and seen.height >= wanted and not seen.syncing

        await self._until(back, f"{name} is not back at height {wanted}")
        wall = (time.monotonic() - started_s) * 1_000
        cpu, queued = _scheduled_ms(pid)
        self.recoveries.append(Recovery(wall, cpu, max(cpu, wall - queued), (time.monotonic() - killed_s) * 1_000))

    async def reaches(self, height: int) -> None:
        await self._until(lambda: self.head >= height, f"no block {height}")

    async def settled(self) -> None:
        """All nodes at one height, none syncing."""

        began_s = time.monotonic()

        def one_height() -> bool:
            now = [self._seen.get(name, Seen(0, 0, True)) for name in self._nodes]
            return all(seen.asked_s > began_s and not seen.syncing and self.head - seen.height <= 1 for seen in now)

        await self._until(one_height, "nodes do not meet")

    async def _until(self, holds: Callable[[], bool], otherwise: str) -> None:
        deadline = time.monotonic() + LIMIT_S
        while not holds():
            if self._given_up or time.monotonic() > deadline:
                raise AssertionError(f"{otherwise}; given up: {self._given_up}; {to_builtins(self._seen)}")
            await asyncio.sleep(POLL_S / 2)


def _started_s(pid: int) -> float:
    """When it was started, as `time.monotonic` counts; good to 10 ms."""
    ticks = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    return time.monotonic() - (time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK"))


def _scheduled_ms(pid: int) -> tuple[float, float]:
    """(ran, stood ready in the queue), of the main thread since it started."""
    ran, queued, _ = Path(f"/proc/{pid}/schedstat").read_text().split()
    return int(ran) / 1e6, int(queued) / 1e6


@asynccontextmanager
async def crashing_network(folder: Path, nodes: int, params: Params) -> AsyncIterator[tuple[Stage, Path]]:
    """A network whose nodes write down what they sign, with one gateway; and the folder of what they wrote."""
    signed = folder / "signed"
    signed.mkdir()
    home = Home(folder / "run")
    run.create(home, free_ports(run.port_count(nodes)), nodes, params)
    supervisor = Supervisor(home.logs, max_mended=ENOUGH)
    with _environment(HCE_SIGN_WITNESS=str(signed), PYTHONPATH=os.pathsep.join([str(WITNESS), os.environ.get("PYTHONPATH", "")])):
        try:
            plans, gateways = run.plans(home)
            await run.start_all(supervisor, plans, _silent)
            async with await Network.join(home.network()["nodes"], home.genesis()) as network:
                await network.started()
                await certify(home, network, gateway_of(home))
                await supervisor.start(gateways[0])
                yield Stage(home, supervisor, network, _silent), signed
        finally:
            await supervisor.stop_all()


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    """What processes that start meanwhile inherit."""
    before = {name: os.environ.get(name) for name in values}
    os.environ |= values
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def gateway_of(home: Home) -> str:
    """The one that runs."""
    return next(iter(home.network()["gateways"]))


def _silent(key: str, **fields: Any) -> None:
    """Nobody watches."""


async def measure(
    folder: Path, nodes: int, kills: int, seed: int, params: Params, tell: Callable[[str], None] = lambda line: None
) -> dict[str, Any]:
    """So many kills, then all checks; the figures."""
    found = Found()
    async with crashing_network(folder, nodes, params) as (stage, signed):
        load, crash = Load(stage, seed), Crash(stage, seed)
        await load.prepare()
        async with crash.watched():
            working = asyncio.create_task(load.run())
            try:
                began_s = time.monotonic()
                while crash.killed < kills:
                    await crash.round()
                    if working.done():
                        working.result()
                    tell(f"{crash.killed} kills, height {crash.head}, {len(load.promised.transactions)} transactions final")
                lasted_s = time.monotonic() - began_s
            finally:
                working.cancel()
                await asyncio.gather(working, return_exceptions=True)
            await crash.settled()
            await check_records(stage.network, [patient.owner for patient in load.patients], load.promised, found)
        name = gateway_of(stage.home)
        await stage.supervisor.stop(f"gateway-{name}")
        await check_imports(stage.network, stage.home.gateway(name) / "keyring", load.promised, found)
    check_chains(stage.home, crash.shown, load.promised, found)
    check_signatures(witnessed(signed), found)
    return figures(nodes, seed, lasted_s, crash, load, found)


def figures(nodes: int, seed: int, lasted_s: float, crash: Crash, load: Load, found: Found) -> dict[str, Any]:
    return {
        "nodes": nodes,
        "seed": seed,
        "machine": machine(),
        "seconds": round(lasted_s),
        "kills": crash.killed,
        "of_which": crash.kills,
        "recovery_ms": {
            which: spread([getattr(one, which) for one in crash.recoveries], (50, 95))
            for which in ("own", "wall", "cpu", "from_kill")
        },
        "recoveries": len(crash.recoveries),
        "over_5_s": {which: sum(getattr(one, which) > GOAL_MS for one in crash.recoveries) for which in ("own", "wall")},
        "standstill_ms": spread(crash.standstills_ms, (50, 95)),
        "promised": {
            "transactions": len(load.promised.transactions),
            "records": len(load.promised.records),
            "imported": len(load.promised.observations),
            "unanswered": load.promised.unanswered,
        },
        "found": to_builtins(found),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--nodes", type=int, default=4)
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hce-crash-") as folder:
        measured = asyncio.run(
            measure(Path(folder), chosen.nodes, chosen.kills, chosen.seed, Params(), lambda line: print(line, file=sys.stderr))
        )
    shown = json.dumps(measured, indent=2)
    print(shown)
    if chosen.json is not None:
        chosen.json.write_text(shown + "\n")
    sys.exit(1 if measured["found"]["double_signatures"] else 0)


if __name__ == "__main__":
    main()
