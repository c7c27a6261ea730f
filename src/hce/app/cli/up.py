"""`hce up`: the network on this machine."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from hce.app.cli.doctor import print_findings
from hce.app.cli.options import DEFAULT_HOME, DEFAULT_NODES, DEFAULT_PORT_BASE, HomeOption, make_console
from hce.app.devnet.genesis import DEMO_PARAMS, home_at
from hce.app.face import EVERYWHERE, Outside
from hce.app.up import MachineUnfit, run_up
from hce.app.words import explain


def up(
    context: typer.Context,
    home: HomeOption = DEFAULT_HOME,
    nodes: Annotated[int, typer.Option("--nodes", min=1, max=9, help="super nodes of a new network")] = DEFAULT_NODES,
    port_base: Annotated[
        int, typer.Option("--port-base", min=1024, max=65_000, help="first port of a new network")
    ] = DEFAULT_PORT_BASE,
    name: Annotated[str, typer.Option("--name", help="host name under which other machines reach it, over TLS")] = "localhost",
    tls_cert: Annotated[Path | None, typer.Option("--tls-cert", help="PEM certificate for that name, with its chain")] = None,
    tls_key: Annotated[Path | None, typer.Option("--tls-key", help="PEM key of the certificate, without passphrase")] = None,
    bind: Annotated[str, typer.Option("--bind", help="address to listen on for other machines")] = EVERYWHERE,
) -> None:
    """Start the network here, or continue it; Ctrl-C stops it cleanly."""
    console = make_console()
    chosen = [f"--{name.replace('_', '-')}" for name in ("nodes", "port_base") if _was_given(context, name)]
    outside = Outside(name, bind, tls_cert, tls_key)
    try:
        asyncio.run(run_up(home_at(home), DEMO_PARAMS, nodes, port_base, console, chosen, outside))
    except MachineUnfit as error:
        console.print(explain(error))
        print_findings(console, error.findings)
        raise typer.Exit(1) from error


def _was_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"
