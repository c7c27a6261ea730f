"""`hce card`: the card with which a person takes over the record a hospital keeps for them. Printed once; the code is kept nowhere."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from hce.app import qr
from hce.app.cli.options import DEFAULT_HOME, HomeOption, JsonOption, make_console
from hce.app.devnet.genesis import home_at
from hce.app.devnet.home import Home
from hce.app.gateway_client import GatewayClient
from hce.app.up import HOSPITAL
from hce.app.words import plain, say, say_in_all
from hce.foundation.store.disk import replace_file
from hce.foundation.types.errors import NotFound, Refused
from hce.service.gateway.claiming import CARD_DAYS, MAX_CARD_DAYS

ORG_DIGITS = 8
"""Of the organisation's id in a card's link, so that the portal knows whom to ask."""


class PatientUnclear(Refused):
    """Several people kept here are called like that."""

    code = "card.several"


def card(
    patient: Annotated[str, typer.Argument(help="patient_id, or part of the name, of somebody whose record is kept for them")],
    gateway: Annotated[str, typer.Option("--gateway", help="which organisation keeps the record")] = HOSPITAL,
    days: Annotated[int, typer.Option("--days", min=1, max=MAX_CARD_DAYS, help="how long the card may be used")] = CARD_DAYS,
    picture: Annotated[Path | None, typer.Option("--picture", help="also write the QR code to this SVG file, for paper")] = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Print the card with which a person takes over the record that is kept for them. One printed before is void."""
    place = home_at(home)
    printed = asyncio.run(_print(GatewayClient.of(place, gateway), patient, days))
    printed["link"] = link_of(place, printed["code"], printed["org_id"])
    if picture is not None:
        replace_file(picture, qr.svg(printed["link"]).encode())
    if as_json:
        print(json.dumps(printed))
        return
    console = make_console()
    console.print(qr.drawn(printed["link"]))
    console.print(f"{plain(printed['label'])}\n\n    {printed['code']}\n\n{printed['link']}\n")
    until = datetime.fromtimestamp(printed["expires_ms"] / 1_000, UTC).date().isoformat()
    for text in say_in_all("card.text", names=printed["names"], portal=place.portal, until=until):
        console.print(text + "\n")
    console.print(say("card.next"))


def link_of(place: Home, code: str, org_id: str) -> str:
    """What the picture holds: the code stands behind "#", which no server sees."""
    return f"{place.portal}/#/claim/{code}.{org_id[:ORG_DIGITS]}"


async def _print(client: GatewayClient, patient: str, days: int) -> dict[str, Any]:
    async with client:
        kept = [one for one in await client.get("/v1/patients") if one["custodial"]]
        chosen = [one for one in kept if one["patient_id"] == patient] or [
            one for one in kept if patient.casefold() in one["label"].casefold()
        ]
        if not chosen:
            raise NotFound("nobody of that name or patient_id whose record is kept here", patient=patient)
        if len(chosen) > 1:
            raise PatientUnclear(", ".join(f"{one['label']} ({one['patient_id']})" for one in chosen))
        status = await client.get("/v1/status")
        printed: dict[str, Any] = await client.post(f"/v1/patients/{chosen[0]['patient_id']}/claim-card", {"days": days})
    return printed | {"names": {"en": status["name"], "zh-CN": status["name_zh"]}}
