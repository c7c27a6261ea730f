"""`hce import`: FHIR Bundles into an organisation's gateway, with a progress bar; a broken entry or file stops no other."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from hce.app.cli.options import DEFAULT_HOME, HomeOption, JsonOption, make_console
from hce.app.devnet.genesis import home_at
from hce.app.gateway_client import GatewayClient
from hce.app.up import HOSPITAL
from hce.app.words import explain, say
from hce.foundation.types.errors import HceError, NotFound


def import_(
    files: Annotated[list[Path], typer.Argument(help="FHIR R4 transaction Bundles, JSON or gzip")],
    gateway: Annotated[str, typer.Option("--gateway", help="which organisation writes")] = HOSPITAL,
    patient: Annotated[str, typer.Option("--patient", help="patient_id, when it is known whose they are")] = "",
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Import patients' FHIR Bundles; each entry that cannot be taken is named and the others go on."""
    place = home_at(home)
    url = place.network()["gateways"].get(gateway)
    if url is None:
        raise NotFound("gateway", name=gateway)
    console = make_console(stderr=as_json)
    outcome = asyncio.run(_import_all(GatewayClient.at(url, place.gateway(gateway)), files, patient, console))
    if as_json:
        print(json.dumps(outcome))
    else:
        console.print(say("import.total", **{key: outcome[key] for key in ("files", "records", "resources", "failed")}))
        if outcome["failed"] < outcome["files"]:
            console.print(say("import.next", home=place.option))
    if outcome["failed"]:
        raise typer.Exit(1)


async def _import_all(client: GatewayClient, files: list[Path], patient: str, console: Console) -> dict[str, Any]:
    outcome: dict[str, Any] = {"files": len(files), "records": 0, "resources": 0, "problems": 0, "failed": 0}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    async with client:
        with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
            for path in files:
                try:
                    done = await _import_one(client, path, patient, console, progress)
                except (HceError, OSError) as error:
                    outcome["failed"] += 1
                    shown = explain(error) if isinstance(error, HceError) else say("import.unreadable", reason=error.strerror)
                    console.print(say("import.failed", file=path.name, reason=shown))
                    continue
                for key in ("records", "resources", "problems"):
                    outcome[key] += done[key]
    return outcome


async def _import_one(client: GatewayClient, path: Path, patient: str, console: Console, progress: Progress) -> dict[str, int]:
    bar = progress.add_task(path.name, total=None)
    options = {"patient_id": patient} if patient else {}
    counts = {"records": 0, "resources": 0, "problems": 0}
    bundle = await asyncio.to_thread(path.read_bytes)
    async for event in client.import_bundle(bundle, **options):
        if event["event"] == "planned":
            progress.update(bar, total=event["records"])
            custody = say("import.custodial") if event["custodial"] else ""
            console.print(say("import.planned", file=path.name, name=event["label"], custody=custody, **_numbers(event)))
        elif event["event"] == "problem":
            console.print(
                say("import.problem", index=event["index"], type=event["type"], code=event["code"], detail=event["detail"])
            )
        elif event["event"] == "progress":
            progress.update(bar, completed=event["records_done"])
        else:
            counts = {"records": len(event["records"]), "resources": event["resources"], "problems": event["problems"]}
    return counts


def _numbers(event: dict[str, Any]) -> dict[str, int]:
    return {key: event[key] for key in ("records", "resources", "already_written", "shared")}
