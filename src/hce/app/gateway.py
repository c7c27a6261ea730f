"""Composition root of a gateway: keyring, index and network client behind one HTTP face."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sqlite3
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from hce.app.devnet.home import Home
from hce.app.serving import serving
from hce.foundation.crypto.secret import SecretBytes
from hce.foundation.store.disk import replace_file
from hce.foundation.types.clock import SystemClock
from hce.foundation.types.errors import Corrupt, HceError, NotFound, Unavailable
from hce.service.gateway.granted import collect
from hce.service.gateway.http import make_app
from hce.service.gateway.importing import settle
from hce.service.gateway.practice import Practice, StaffMember
from hce.service.gateway.securing import Outbox, secure_for_ever
from hce.service.index.store import Index
from hce.service.keyring.keyring import Keyring
from hce.service.sdk.author import deliver
from hce.service.sdk.light import HeaderTooOld
from hce.service.sdk.network import Network
from hce.service.terms.payloads import OrganisationKind, Power

REACH_S = 0.5
"""Between two tries to reach the nodes at the start."""
COLLECT_S = 1.0
"""Between two looks into the inbox for new grants."""
RENEW_S = 24 * 3_600.0
"""Between two looks at the credentials of the staff."""
TOKEN_BYTES = 32

log = logging.getLogger("hce.gateway")


class GatewaySettings(Struct, frozen=True, forbid_unknown_fields=True):
    """HOME/gateways/NAME/gateway.json: what an organisation says about itself."""

    name: str
    name_zh: str
    country: str
    kind: OrganisationKind
    powers: list[Power]
    staff: list[StaffMember]
    welcomes_per_hour: int = 0
    """Accounts it pays for in an hour, for people who are not its patients yet."""


def settings_path(folder: Path) -> Path:
    return folder / "gateway.json"


def read_settings(folder: Path) -> GatewaySettings:
    path = settings_path(folder)
    if not path.exists():
        raise NotFound("gateway settings", path=str(path))
    return msgspec.json.decode(path.read_bytes(), type=GatewaySettings)


def make_gateway(folder: Path, settings: GatewaySettings) -> None:
    """A new gateway's folder: settings, a keyring with a fresh organisation key, a bearer token."""
    replace_file(settings_path(folder), json.dumps(msgspec.to_builtins(settings), indent=2, ensure_ascii=False).encode())
    replace_file(token_path(folder), os.urandom(TOKEN_BYTES).hex().encode())
    Keyring.create(folder / "keyring").close()


def token_path(folder: Path) -> Path:
    return folder / "token"


def bearer_token(folder: Path) -> str:
    """What callers of this gateway send; readable by the folder's owner only."""
    return token_path(folder).read_text("ascii").strip()


async def run_gateway(home: Home, name: str, port: int) -> None:
    """Serves until SIGTERM or SIGINT. Meanwhile renews staff, collects grants, secures records. Raises what broke one of these."""
    folder = home.gateway(name)
    settings = read_settings(folder)
    index = Index(folder / "index.sqlite")
    try:
        with Keyring.open(folder / "keyring") as keyring, Outbox.open(folder / "outbox") as outbox:
            async with await Network.join(home.network()["nodes"], home.genesis()) as network:
                practice = Practice(network, keyring, index, outbox, SystemClock())
                await when_reachable(lambda: practice.certify_staff(settings.staff), REACH_S)
                await when_reachable(lambda: settle(practice), REACH_S)
                token = SecretBytes(bearer_token(folder).encode())
                app = make_app(practice, token, lambda: _public(settings), home.portal, settings.welcomes_per_hour)
                async with serving(app, port, pages=home.portal, door=home.gateway_door(name)):
                    stopping = asyncio.Event()
                    for sign in (signal.SIGTERM, signal.SIGINT):
                        asyncio.get_running_loop().add_signal_handler(sign, stopping.set)
                    await until_stopped(
                        stopping,
                        for_ever(lambda: _collect(practice), COLLECT_S),
                        for_ever(lambda: practice.certify_staff(settings.staff), RENEW_S),
                        secure_for_ever(outbox, partial(deliver, network)),
                    )
    finally:
        index.close()


async def when_reachable(act: Callable[[], Awaitable[object]], every_s: float) -> None:
    """Acts as soon as the nodes can be asked: after a power cut they may come back later than this gateway. Who started it decides how
    long it may take."""
    while True:
        try:
            await act()
        except (Unavailable, HeaderTooOld) as error:
            log.warning("waiting for the nodes: %s", error.code)
            await asyncio.sleep(every_s)
        else:
            return


async def until_stopped(stopping: asyncio.Event, *work: Coroutine[Any, Any, None]) -> None:
    """Works until told to stop; raises what ended one of the works."""
    working = [asyncio.ensure_future(one) for one in work]
    stopped = asyncio.ensure_future(stopping.wait())
    try:
        done, _ = await asyncio.wait((*working, stopped), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (*working, stopped):
            task.cancel()
        await asyncio.gather(*working, stopped, return_exceptions=True)
    for task in done:
        await task


async def for_ever(act: Callable[[], Awaitable[object]], every_s: float) -> None:
    """Again and again, whatever comes; but what our own disk does wrong ends it, for going on would lose what should be kept."""
    while True:
        try:
            await act()
        except (Corrupt, sqlite3.Error):
            raise
        except HceError as error:
            log.warning("%s: %s", error.code, error.detail)
        except Exception:
            log.exception("unexpected; going on")
        await asyncio.sleep(every_s)


async def _collect(practice: Practice) -> None:
    for item, code in (await collect(practice)).refused.items():
        log.warning("inbox item %s refused: %s", item[:12], code)


def _public(settings: GatewaySettings) -> dict[str, Any]:
    welcomes = settings.welcomes_per_hour > 0
    return {"name": settings.name, "name_zh": settings.name_zh, "kind": settings.kind, "welcomes": welcomes}
