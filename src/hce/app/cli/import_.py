"""`hce import`: what a hospital exports into its gateway; a broken resource, person or file stops no other."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from hce.app.cli.options import DEFAULT_HOME, HomeOption, JsonOption, make_console
from hce.app.devnet.genesis import home_at
from hce.app.gateway_client import GatewayClient
from hce.app.handover.files import Files, find_sources
from hce.app.handover.sending import Outcome, Sent, known_names, outcome_of, send_all
from hce.app.up import HOSPITAL
from hce.app.words import explain, plain, say
from hce.foundation.store.disk import replace_file
from hce.service.fhir.scan import Found, Passed
from hce.service.fhir.sorting import ORGANISATION, Group, sort_out

SHOWN_PER_CODE = 3
"""Refused resources named on the screen for each reason; the rest is in the list."""
SHOWN_TYPES = 3
EXIT_FAILED = 1
"""A file or a person could not be taken; running again may help."""
EXIT_REFUSED = 3
"""Everything else is in, but some resources were refused: the list says which."""


def import_(
    paths: Annotated[list[Path], typer.Argument(help="folders or files: FHIR R4 resources, Bundles, NDJSON; .gz too")],
    gateway: Annotated[str, typer.Option("--gateway", help="which organisation writes")] = HOSPITAL,
    patient: Annotated[str, typer.Option("--patient", help="patient_id, when it is known whose they are")] = "",
    base: Annotated[str, typer.Option("--base", help="FHIR base URL the files came from: resources are named under it")] = "",
    rejects: Annotated[Path | None, typer.Option("--rejects", help="write what was refused to this NDJSON file")] = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Import patients' FHIR data; what cannot be taken is named and the rest goes on. Run again after any interruption."""
    place = home_at(home)
    client = GatewayClient.of(place, gateway)
    console = make_console(stderr=as_json)
    outcome = asyncio.run(_import(client, paths, base, patient, console))
    if rejects is not None:
        replace_file(rejects, msgspec.json.Encoder().encode_lines(outcome.rejects))
    if as_json:
        print(json.dumps(msgspec.to_builtins(outcome)))
    else:
        _say_outcome(console, outcome, rejects)
        if outcome.patients:
            console.print(say("import.next", home=place.option))
    if outcome.failed:
        raise typer.Exit(EXIT_FAILED)
    if outcome.problems:
        raise typer.Exit(EXIT_REFUSED)


async def _import(client: GatewayClient, paths: Sequence[Path], base: str, patient: str, console: Console) -> Outcome:
    sources, aside = find_sources(paths)
    with Files(sources) as files:
        found, passed = await asyncio.to_thread(_look_through, files, base, console)
        async with client:
            sorted_out = sort_out(found, known=await known_names(client))
            people = sum(group.name != ORGANISATION for group in sorted_out.groups)
            console.print(say("import.files", files=len(sources), aside=aside, people=people, resources=len(found)))
            with _bar(console) as progress:
                bar = progress.add_task(say("import.sending"), total=sum(len(group.found) for group in sorted_out.groups))
                done: dict[str, int] = {}

                def tell(group: Group, sent: Sent, finished: bool) -> None:
                    done[group.name] = len(group.found) if finished else sent.resources
                    progress.update(bar, completed=sum(done.values()))
                    if finished:
                        _say_group(console, group, sent)

                sent = await send_all(client, files, sorted_out.groups, patient, tell)
        return outcome_of(files, aside, sorted_out.groups, [*passed, *sorted_out.passed], sorted_out.repeated, sent)


def _look_through(files: Files, base: str, console: Console) -> tuple[list[Found], list[Passed]]:
    found: list[Found] = []
    passed: list[Passed] = []
    with _bar(console) as progress:
        bar = progress.add_task(say("import.looking", files=len(files.sources)), total=len(files.sources))
        for number in range(len(files.sources)):
            for one in files.look_through(number, base):
                if isinstance(one, Found):
                    found.append(one)
                else:
                    passed.append(one)
            progress.advance(bar)
    return found, passed


@contextmanager
def _bar(console: Console) -> Iterator[Progress]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        yield progress


def _say_group(console: Console, group: Group, sent: Sent) -> None:
    name = say("import.organisation") if group.name == ORGANISATION else sent.label
    if sent.failure is not None:
        console.print(say("import.failed", file=name, reason=explain(sent.failure)))
    else:
        custody = say("import.custodial") if sent.custodial and group.name != ORGANISATION else ""
        console.print(say("import.group", name=name, custody=custody, resources=sent.resources, records=sent.records))


def _say_outcome(console: Console, outcome: Outcome, rejects: Path | None) -> None:
    console.print(say("import.total", **{key: getattr(outcome, key) for key in ("files", "records", "resources", "patients")}))
    for key in ("amended", "already", "repeated"):
        if count := getattr(outcome, key):
            console.print(say(f"import.{key}", count=count))
    if outcome.definitions:
        most = sorted(outcome.definitions, key=lambda name: -outcome.definitions[name])[:SHOWN_TYPES]
        shown = ", ".join([*most, *(["..."] if len(most) < len(outcome.definitions) else [])])
        console.print(say("import.definitions", count=sum(outcome.definitions.values()), types=shown))
    for code, count in outcome.refused.items():
        console.print(say("import.refused", count=count, code=code, words=say(code)))
        for one in [reject for reject in outcome.rejects if reject.code == code][:SHOWN_PER_CODE]:
            place = one.file if one.entry < 0 else f"{one.file}[{one.entry}]"
            kind = f"{one.type}/{one.id}" if one.id else one.type
            console.print(plain(f"    {place} {kind} {one.detail}"))
    if rejects is not None:
        console.print(say("import.rejects", path=rejects))
    elif len(outcome.rejects) > SHOWN_PER_CODE:
        console.print(say("import.rejects_hint"))
