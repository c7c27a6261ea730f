"""The supervisor with a real node: what dies by itself is started again, and nothing is started twice."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import psutil
import pytest

from hce.app import control
from hce.app.devnet import run
from hce.app.devnet.genesis import DEMO_PARAMS
from hce.app.devnet.home import Home
from hce.app.lifeline import ended_by_fault
from hce.app.preflight import free_ports
from hce.app.supervisor import MAX_MENDED, ProcessFailed, ProcessKilled, Supervisor
from hce.foundation.types.errors import NotFound
from hce.service.sdk.errors import Remote

NODE = "node-0"


@pytest.fixture
async def network(tmp_path: Path) -> AsyncIterator[tuple[Home, Supervisor]]:
    """One node of its own, running; no gateways."""
    home = Home(tmp_path / "run")
    run.create(home, free_ports(run.port_count(1)), 1, DEMO_PARAMS)
    supervisor = Supervisor(home.logs)
    await supervisor.start(run.plans(home)[0][0])
    yield home, supervisor
    await supervisor.stop_all()


async def kill_from_outside(supervisor: Supervisor) -> None:
    """As the system does when memory runs out; returns when the child is gone."""
    child = supervisor._running[NODE]
    os.kill(child.pid, signal.SIGKILL)
    await child.wait()


async def test_what_dies_by_itself_is_started_again_but_not_for_ever(network: tuple[Home, Supervisor]) -> None:
    home, supervisor = network
    told: list[tuple[str, bool]] = []

    def tell(name: str, failure: ProcessFailed, runs_again: bool) -> None:
        assert isinstance(failure, ProcessKilled)
        told.append((name, runs_again))

    await supervisor.mend(tell)
    assert told == [], "nothing is wrong"
    for round_ in range(MAX_MENDED):
        await kill_from_outside(supervisor)
        await supervisor.mend(tell)
        assert told == [(NODE, True)] * (round_ + 1)
        async with httpx.AsyncClient(trust_env=False) as http:
            assert (await http.get(home.network()["nodes"][0] + "/v1/status")).status_code == 200
    await kill_from_outside(supervisor)
    await supervisor.mend(tell)
    assert told[-1] == (NODE, False), "given up, and nothing else is touched"
    assert not supervisor.runs(NODE)
    await supervisor.mend(tell)
    assert len(told) == MAX_MENDED + 1
    await supervisor.restart(NODE)
    assert supervisor.runs(NODE), "somebody may still start it"


async def test_a_process_that_does_not_start_is_given_up_with_its_last_words(network: tuple[Home, Supervisor]) -> None:
    home, supervisor = network
    (home.node(0) / "share.cbor").unlink()
    told: list[tuple[str, bool]] = []
    await kill_from_outside(supervisor)
    await supervisor.mend(lambda name, failure, runs_again: told.append((str(failure.fields.get("said", "")), runs_again)))
    assert [runs_again for _, runs_again in told] == [False]
    assert "share.cbor" in told[0][0]
    assert not supervisor.runs(NODE)


async def test_a_process_killed_while_it_starts_is_started_once_more(network: tuple[Home, Supervisor]) -> None:
    _, supervisor = network
    told: list[tuple[str, bool]] = []
    await kill_from_outside(supervisor)
    killed = supervisor._running[NODE].pid
    mending = asyncio.create_task(supervisor.mend(lambda name, failure, runs_again: told.append((name, runs_again))))
    while not supervisor.runs(NODE) or supervisor.pid(NODE) == killed:  # noqa: ASYNC110 - the other task's next step
        await asyncio.sleep(0)
    assert supervisor.stands(NODE)
    await kill_from_outside(supervisor)
    await mending
    assert told == [(NODE, True)]
    assert supervisor.runs(NODE)


async def test_a_process_is_told_when_the_one_before_was_ended_by_what_it_read(network: tuple[Home, Supervisor]) -> None:
    _, supervisor = network

    def told_now() -> bool:
        return ended_by_fault(psutil.Process(supervisor.pid(NODE)).environ())

    assert not told_now()
    for sign, fault in ((signal.SIGSEGV, True), (signal.SIGKILL, False)):
        child = supervisor._running[NODE]
        os.kill(child.pid, sign)
        await child.wait()
        await supervisor.mend(lambda name, failure, runs_again: None)
        assert told_now() is fault


async def test_two_restarts_at_once_make_one_process(network: tuple[Home, Supervisor]) -> None:
    home, supervisor = network
    await asyncio.gather(supervisor.restart(NODE), supervisor.restart(NODE))
    running = [one for one in psutil.process_iter(["cmdline"]) if str(home.root) in (one.info["cmdline"] or [])]
    assert [one.pid for one in running] == [supervisor.pid(NODE)]


async def test_the_door_takes_known_acts_only(network: tuple[Home, Supervisor]) -> None:
    home, supervisor = network
    damaged: list[tuple[int, str]] = []

    def damage(index: int, way: str) -> int:
        damaged.append((index, way))
        return 7

    with pytest.raises(control.NotRunning):
        await control.ask(home, "restart", name=NODE)
    async with control.answering(home, supervisor, damage):
        assert (await control.ask(home, "damage", node=0, way="flip"))["shards"] == 7
        await control.ask(home, "kill", name=NODE)
        await control.ask(home, "restart", name=NODE)
        with pytest.raises(Remote, match="not_found"):
            await control.ask(home, "kill", name="node-8")
        with pytest.raises(Remote, match="malformed"):
            await control.ask(home, "explode", name=NODE)  # type: ignore[arg-type]  # no such act
    assert damaged == [(0, "flip")]
    with pytest.raises(NotFound):
        await supervisor.kill("node-8")
