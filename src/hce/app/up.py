"""`hce up` at work: checks the machine, brings the network up, fills it with demo people once, shows it live, stops it cleanly."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any

import httpx
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from hce.app.control import answering, socket_path
from hce.app.devnet import run
from hce.app.devnet.damage import damage_node
from hce.app.devnet.home import Home
from hce.app.devnet.making import alone
from hce.app.devnet.people import ORGANISATIONS, demo_bundles
from hce.app.face import PORT_OFFSET, Face, Outside, certified
from hce.app.gateway import token_path
from hce.app.gateway_client import GatewayClient
from hce.app.liveview import view
from hce.app.portal.bundle import bundle_hash, read_bundle
from hce.app.preflight import Finding, judge, port_fix, read_machine
from hce.app.supervisor import ProcessFailed, Supervisor
from hce.app.words import explain_with_fields, say
from hce.foundation.types.errors import Refused, Unavailable
from hce.service.terms.genesis import Params

REFRESH_S = 0.5
SEEDED_MARK = "demo-people"
"""File in the home that says the demo people are in."""
HOSPITAL = "riverside"


class MachineUnfit(Refused):
    """Something on this machine stands in the way; the findings say what and how to mend it."""

    code = "machine.unfit"
    status = 409

    def __init__(self, findings: list[Finding]) -> None:
        super().__init__()
        self.findings = findings


class NoNodeLeft(Unavailable):
    """Every node of the network has ended; there is nothing left to watch over."""

    code = "up.no_node_left"


def check_machine(home: Home, ports: list[int], processes: int, port_base: int) -> None:
    """Raises `MachineUnfit` with everything that is wrong."""
    findings = judge(read_machine(home.root, ports), processes, port_fix(home, port_base))
    wrong = [finding for finding in findings if not finding.ok]
    if wrong:
        raise MachineUnfit(wrong)


@asynccontextmanager
async def running(
    home: Home, params: Params, nodes: int, ports: list[int], tell: run.Tell, face: Callable[[Home], Face] | None = None
) -> AsyncIterator[Supervisor]:
    """A network, new or continued, for the time of the block; on this machine only, unless it is given a face."""
    if not home.exists and run.create(home, ports, nodes, params):
        tell("up.leftovers", home=str(home.root))
    home.keep_face(None if face is None else face(home))
    supervisor = Supervisor(home.logs)
    try:
        await run.bring_up(home, supervisor, tell)
        yield supervisor
    finally:
        await supervisor.stop_all()


async def run_up(
    home: Home,
    params: Params,
    nodes: int,
    port_base: int,
    console: Console,
    chosen: Sequence[str] = (),
    outside: Outside | None = None,
) -> None:
    """Until Ctrl-C or SIGTERM. `chosen`: options somebody gave that only a new network can follow. `outside`: how other machines
    reach it until then.

    Raises `HomeBusy`, `HomeOccupied`, `PathTooLong`, `MachineUnfit`, `ProcessFailed`, `TlsMissing`, `TlsUnusable`.
    """
    socket_path(home)  # too long a path is said before anything is made
    pair = certified(outside, datetime.now(UTC))
    face = None if outside is None or pair is None else partial(run.face_for, outside, pair, _outer)
    with alone(home):
        await _run_alone(home, params, nodes, port_base, console, chosen, face)


def _outer(port: int) -> int:
    return port + PORT_OFFSET


async def _run_alone(
    home: Home,
    params: Params,
    nodes: int,
    port_base: int,
    console: Console,
    chosen: Sequence[str],
    face: Callable[[Home], Face] | None,
) -> None:
    new = not home.exists
    ports = run.ports_of(nodes, port_base) if new else run.ports_in(home)
    processes = run.process_count(nodes if new else len(home.network()["nodes"]))
    check_machine(home, ports if face is None else [*ports, *map(_outer, ports)], processes, port_base)
    if not new and chosen:
        console.print(say("up.options_ignored", options=", ".join(chosen)))
    stopping = asyncio.Event()
    for sign in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(sign, stopping.set)

    def tell(key: str, **fields: Any) -> None:
        console.print("  " + say(key, **fields))

    console.print(say("up.new" if new else "up.continued", home=str(home.root)))
    bringing = asyncio.create_task(_serve(home, params, nodes, ports, console, tell, stopping, face))
    stopped = asyncio.create_task(stopping.wait())
    await asyncio.wait((bringing, stopped), return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if not bringing.done():
        console.print(say("up.stopping"))
    await bringing
    console.print(say("up.stopped", home=home.option))


async def _serve(
    home: Home,
    params: Params,
    nodes: int,
    ports: list[int],
    console: Console,
    tell: run.Tell,
    stopping: asyncio.Event,
    face: Callable[[Home], Face] | None,
) -> None:
    async with (
        running(home, params, nodes, ports, tell, face) as supervisor,
        answering(home, supervisor, partial(damage_node, home)),
    ):
        if not stopping.is_set():
            await run.bring_up_portal(home, supervisor, tell)
            await _seed_people(home, tell)
        _print_addresses(home, console)
        await _show(home, supervisor, console, stopping)


async def _seed_people(home: Home, tell: run.Tell) -> None:
    """The Bundles that ship with HCE, into custodial accounts of the hospital, once."""
    mark = home.root / SEEDED_MARK
    if mark.exists():
        return
    async with GatewayClient.of(home, HOSPITAL) as hospital:
        for _, bundle in demo_bundles():
            label = ""
            async for event in hospital.import_bundle(bundle):
                label = event.get("label", label)
                if event["event"] == "finished":
                    tell("up.person", name=label, records=len(event["records"]), resources=event["resources"])
    mark.touch()


def _print_addresses(home: Home, console: Console) -> None:
    described = home.network()
    table = Table(box=None, show_header=False, padding=(0, 2))
    for index, url in enumerate(described["nodes"]):
        table.add_row(say("up.node", index=index), url)
    for name, url in described["gateways"].items():
        settings = ORGANISATIONS.get(name)
        table.add_row(f"{settings.name} {settings.name_zh}" if settings else name, url)
    console.print(table)
    console.print(say("portal.hash", hash=bundle_hash(read_bundle())))
    console.print(say("up.ready"))
    token = token_path(home.gateway(HOSPITAL))
    shorter = shlex.quote(min(str(token), os.path.relpath(token), key=len))
    console.print(say("up.portal", url=home.portal))
    console.print(say("up.clinic", url=f"{home.portal}/#/clinic", token=shorter))
    console.print(say("up.next", home=home.option))


async def _show(home: Home, supervisor: Supervisor, console: Console, stopping: asyncio.Event) -> None:
    """The live view on a terminal; without one, silence until stopped. A process that ends by itself is started again."""
    watching = asyncio.create_task(supervisor.watch(partial(_tell_ended, console)))
    urls, slots = home.network()["nodes"], home.genesis().params.slots_per_turn
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=2) as http:
            with Live(Text(""), console=console, transient=True, auto_refresh=False) as live:
                while not stopping.is_set():
                    if watching.done():
                        watching.result()
                    if not any(supervisor.stands(f"node-{index}") for index in range(len(urls))):
                        raise NoNodeLeft
                    if console.is_terminal:
                        statuses = await asyncio.gather(*(_status(http, url) for url in urls))
                        live.update(view(statuses, slots, console.width, time.time_ns() // 1_000_000), refresh=True)
                    with suppress(TimeoutError):
                        await asyncio.wait_for(stopping.wait(), REFRESH_S)
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


def _tell_ended(console: Console, name: str, failure: ProcessFailed, runs_again: bool) -> None:
    console.print(say("up.mended" if runs_again else "up.given_up", name=name, reason=explain_with_fields(failure)))


async def _status(http: httpx.AsyncClient, url: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = (await http.get(url + "/v1/status")).json()
        return found if "height" in found else {}
    except (httpx.HTTPError, ValueError):
        return {}
