"""`hce tour`: the life of a record, played against the running network or one of its own, by programs or by people in a browser."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from hce.app import control
from hce.app.cli.options import DEFAULT_HOME, DEFAULT_NODES, HomeOption, JsonOption, make_console
from hce.app.devnet.genesis import EPHEMERAL_PARAMS, home_at
from hce.app.devnet.home import Home
from hce.app.devnet.run import bring_up_portal, port_count
from hce.app.gateway_client import GatewayClient
from hce.app.preflight import free_ports
from hce.app.supervisor import Supervisor
from hce.app.tour.browser.chromium import chromium
from hce.app.tour.browser.looking import Album
from hce.app.tour.browser.spoken import Spoken
from hce.app.tour.browser.story import play_in_browser
from hce.app.tour.patient import choose_bundle
from hce.app.tour.stage import Act, Result, Stage, Tell
from hce.app.tour.story import play, promises_broken
from hce.app.up import running
from hce.app.words import LANGUAGES, language, say
from hce.service.sdk.network import Network

PROJECT = Path(__file__).parents[4]


def tour(
    home: HomeOption = DEFAULT_HOME,
    ephemeral: Annotated[bool, typer.Option("--ephemeral", help="on a network of its own, in a temporary folder")] = False,
    nodes: Annotated[int, typer.Option("--nodes", min=1, max=9, help="super nodes of the temporary network")] = DEFAULT_NODES,
    as_json: JsonOption = False,
    browser: Annotated[bool, typer.Option("--browser", help="people in Chromium play it, through the portal")] = False,
    screenshots: Annotated[
        Path | None, typer.Option("--screenshots", help="with --browser: folder for a picture of each step")
    ] = None,
    lang: Annotated[str, typer.Option("--lang", help="zh-CN or en, in the terminal and in the portal")] = "",
    headed: Annotated[bool, typer.Option("--headed", help="with --browser: in windows that can be watched")] = False,
) -> None:
    """Play the life of a record; exit code 0 only if every promise held."""
    if lang and lang not in LANGUAGES:
        raise typer.BadParameter(", ".join(LANGUAGES), param_hint="--lang")
    if not browser and (screenshots or headed):
        raise typer.BadParameter(say("browse.only"), param_hint="--screenshots, --headed")
    if lang:
        os.environ["HCE_LANG"] = lang
    console, place = make_console(stderr=as_json), home_at(home)
    if browser:
        result = asyncio.run(_in_browser(place, ephemeral, nodes, console, Album(screenshots), headed))
        broken = result["broken"]
    else:
        result = asyncio.run(_tour(place, ephemeral, nodes, console))
        broken = promises_broken(result)
    if as_json:
        print(json.dumps(result))
    if screenshots is not None:
        console.print(say("browse.pictures", count=len(result["pictures"]), folder=str(screenshots)))
    if broken:
        console.print(say("tour.broken", keys=", ".join(broken)))
        raise typer.Exit(1)
    console.print(say("tour.kept", seconds=result["seconds"]))
    if not as_json:
        console.print(say("tour.next", home=place.option))


async def _in_browser(home: Home, ephemeral: bool, nodes: int, console: Console, album: Album, headed: bool) -> Result:
    """The browser first: without one there is nothing to start a network for."""
    tell, words = _teller(console), Spoken(language())
    async with chromium(headed=headed) as browser:
        if not ephemeral:
            return await play_in_browser(home, browser, words, album, tell)
        async with _own_network(nodes, console) as (own, supervisor):
            await bring_up_portal(own, supervisor, _aside(console))
            return await play_in_browser(own, browser, words, album, tell)


async def _tour(home: Home, ephemeral: bool, nodes: int, console: Console) -> Result:
    tell = _teller(console)
    name, bundle = choose_bundle(PROJECT)
    if ephemeral:
        async with _own_network(nodes, console) as (own, supervisor):
            return await _play(own, supervisor.restart, supervisor.kill, bundle, name, tell)

    async def restart_through_supervisor(name: str) -> None:
        await control.ask(home, "restart", name=name)

    async def kill_through_supervisor(name: str) -> None:
        await control.ask(home, "kill", name=name)

    return await _play(home, restart_through_supervisor, kill_through_supervisor, bundle, name, tell)


async def _play(home: Home, restart: Act, kill: Act, bundle: bytes, name: str, tell: Tell) -> Result:
    described = home.network()
    hospital_url, clinic_url = described["gateways"]["riverside"], described["gateways"]["oldtown"]
    async with (
        await Network.join(described["nodes"], home.genesis()) as network,
        GatewayClient.at(hospital_url, home.gateway("riverside")) as hospital,
        GatewayClient.at(clinic_url, home.gateway("oldtown")) as clinic,
    ):
        tell("tour.begin", height=await network.head(), file=name)
        return await play(Stage(home, network, hospital, clinic, restart, kill, []), bundle, _language(), tell)


@asynccontextmanager
async def _own_network(nodes: int, console: Console) -> AsyncIterator[tuple[Home, Supervisor]]:
    """A network in a temporary folder on free ports, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="hce-") as folder:
        home = Home(Path(folder) / "home")
        ports = free_ports(port_count(nodes))
        async with running(home, EPHEMERAL_PARAMS, nodes, ports, _aside(console)) as supervisor:
            yield home, supervisor


def _teller(console: Console) -> Tell:
    """Numbered lines of the story."""
    number = 0

    def tell(key: str, **fields: Any) -> None:
        nonlocal number
        number += 1
        console.print(f"{number:3}. " + say(key, **{name: _worded(name, value) for name, value in fields.items()}))

    return tell


def _aside(console: Console) -> Tell:
    """What the network does meanwhile."""

    def tell(key: str, **fields: Any) -> None:
        console.print("     " + say(key, **fields), style="dim")

    return tell


def _language() -> Any:
    return language()


def _worded(name: str, value: Any) -> Any:
    """What the story calls by a code, in the person's words."""
    if isinstance(value, bool):
        return say("yes" if value else "no")
    if name == "purpose":
        return say(f"purpose.{value}")
    if name == "ways":
        return ", ".join(say(f"way.{way}") for way in value)
    return value
