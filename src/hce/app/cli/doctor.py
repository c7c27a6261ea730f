"""`hce doctor`: what is missing on this machine, and the command that mends it."""

from __future__ import annotations

import json
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.text import Text

from hce.app.cli.options import DEFAULT_HOME, DEFAULT_NODES, DEFAULT_PORT_BASE, HomeOption, JsonOption, make_console
from hce.app.devnet import run
from hce.app.devnet.genesis import home_at
from hce.app.preflight import Finding, judge, port_fix, read_machine
from hce.app.words import say


def doctor(
    home: HomeOption = DEFAULT_HOME,
    port_base: Annotated[int, typer.Option("--port-base", min=1024, max=65_000)] = DEFAULT_PORT_BASE,
    as_json: JsonOption = False,
) -> None:
    """Check this machine; exit code 1 when something stands in the way."""
    place = home_at(home)
    ports = run.ports_in(place) if place.exists else run.ports_of(DEFAULT_NODES, port_base)
    processes = run.process_count(len(place.network()["nodes"]) if place.exists else DEFAULT_NODES)
    findings = judge(read_machine(place.root, ports), processes, port_fix(place, port_base))
    if as_json:
        print(json.dumps([msgspec.to_builtins(finding) for finding in findings]))
    else:
        print_findings(make_console(), findings)
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)


def print_findings(console: Console, findings: list[Finding]) -> None:
    """One line a finding, the fix below it."""
    for finding in findings:
        mark = Text(" ok  ", "green") if finding.ok else Text(" !!  ", "red")
        console.print(mark + Text(say(finding.key if finding.ok else f"{finding.key}_bad", **finding.fields), "default"))
        if finding.fix:
            console.print("       " + say("doctor.fix", command=finding.fix))
