"""`hce status`: what runs, and where it stands."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import httpx
import typer
from rich.console import Console

from hce.app.cli.options import DEFAULT_HOME, HomeOption, JsonOption, make_console
from hce.app.devnet.genesis import home_at
from hce.app.room import RESERVE_BYTES
from hce.app.words import say

ASK_S = 3.0


def status(home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """Say what runs; exit code 1 when something does not answer."""
    place = home_at(home)
    described = place.network()
    addresses = {f"node-{index}": url for index, url in enumerate(described["nodes"])}
    addresses |= {f"gateway-{name}": url for name, url in described["gateways"].items()}
    found = asyncio.run(_ask_all(addresses))
    if as_json:
        print(json.dumps(found))
    else:
        _print(make_console(), addresses, found, place.option)
    if not _all_well(found):
        raise typer.Exit(1)


async def _ask_all(addresses: dict[str, str]) -> dict[str, dict[str, Any] | None]:
    async with httpx.AsyncClient(trust_env=False, timeout=ASK_S) as http:
        answers = await asyncio.gather(*(_ask(http, url) for url in addresses.values()))
    return dict(zip(addresses, answers, strict=True))


async def _ask(http: httpx.AsyncClient, url: str) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = (await http.get(url + "/v1/status")).json()
        return found
    except (httpx.HTTPError, ValueError):
        return None


def _print(console: Console, addresses: dict[str, str], found: dict[str, dict[str, Any] | None], home: str) -> None:
    now_ms = time.time_ns() // 1_000_000
    for name, url in addresses.items():
        answer = found[name]
        if answer is None:
            console.print(say("status.silent", name=name, url=url))
        elif "code" in answer:
            console.print(say("status.halted", name=name, url=url, reason=say(answer["code"]), code=answer["code"]), soft_wrap=True)
        elif "chain" in answer:
            age_s = f"{(now_ms - answer['time_ms']) / 1_000:.1f}"
            line = say("status.node", name=name, url=url, height=answer["height"], age=age_s)
            console.print(" | ".join([line, *notes_on(answer)]), soft_wrap=True)
        else:
            console.print(say("status.gateway", name=name, url=url, title=f"{answer['name']} {answer['name_zh']}"))
    console.print(say("status.next" if _all_well(found) else "status.next_down", home=home))


def _all_well(found: dict[str, dict[str, Any] | None]) -> bool:
    """Everything answers, and nothing answers with a reason not to work."""
    return all(answer is not None and "code" not in answer for answer in found.values())


def notes_on(status: dict[str, Any]) -> list[str]:
    """Its links, and whatever is not as it should be; a node that is well has a short line."""
    notes = []
    peers, shards = status["peers"], status["shards"]
    damaged = shards["damaged"] - shards["restored"]
    if peers:
        notes.append(say("status.links", up=sum(peer["connected"] for peer in peers), all=len(peers)))
    if status["syncing"]:
        notes.append(say("status.syncing"))
    if not status["voting"]:
        notes.append(say("status.watching"))
    if damaged:
        notes.append(say("status.damaged", count=damaged))
    if status["free_bytes"] < RESERVE_BYTES:
        notes.append(say("status.little_room", mb=status["free_bytes"] >> 20))
    if status["awaited"]:
        notes.append(say("status.awaited", count=status["awaited"]))
    return notes
