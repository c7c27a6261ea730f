"""Composition root of a gateway: keyring, index and network client behind one HTTP face."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from hce.app.devnet.home import Home
from hce.app.node import serving
from hce.foundation.crypto.secret import SecretBytes
from hce.foundation.store.disk import replace_file
from hce.foundation.types.clock import SystemClock
from hce.foundation.types.errors import HceError, NotFound
from hce.service.gateway.granted import collect
from hce.service.gateway.http import make_app
from hce.service.gateway.practice import Practice, StaffMember
from hce.service.gateway.securing import Outbox, secure_for_ever
from hce.service.index.store import Index
from hce.service.keyring.keyring import Keyring
from hce.service.sdk.author import deliver
from hce.service.sdk.network import Network
from hce.service.terms.payloads import OrganisationKind, Power

COLLECT_S = 1.0
"""How often a gateway looks into its inbox for new grants."""
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
    """Serves until SIGTERM or SIGINT. Certifies staff that has no credential yet; collects grants and secures records meanwhile."""
    folder = home.gateway(name)
    settings = read_settings(folder)
    index = Index(folder / "index.sqlite")
    try:
        with Keyring.open(folder / "keyring") as keyring, Outbox.open(folder / "outbox") as outbox:
            async with await Network.join(home.network()["nodes"], home.genesis()) as network:
                practice = Practice(network, keyring, index, outbox, SystemClock())
                await practice.certify_staff(settings.staff)
                app = make_app(practice, SecretBytes(bearer_token(folder).encode()), lambda: _public(settings))
                async with serving(app, port):
                    stopping = asyncio.Event()
                    for sign in (signal.SIGTERM, signal.SIGINT):
                        asyncio.get_running_loop().add_signal_handler(sign, stopping.set)
                    working = asyncio.gather(_collect_for_ever(practice), secure_for_ever(outbox, partial(deliver, network)))
                    await stopping.wait()
                    working.cancel()
                    with suppress(asyncio.CancelledError):
                        await working
    finally:
        index.close()


async def _collect_for_ever(practice: Practice) -> None:
    while True:
        try:
            found = await collect(practice)
            for seq, code in found.refused.items():
                log.warning("inbox item %d refused: %s", seq, code)
        except HceError as error:
            log.warning("collecting grants: %s", error.code)
        await asyncio.sleep(COLLECT_S)


def _public(settings: GatewaySettings) -> dict[str, Any]:
    return {"name": settings.name, "name_zh": settings.name_zh, "kind": settings.kind}
