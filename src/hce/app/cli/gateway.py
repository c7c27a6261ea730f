"""`hce gateway`: one organisation's gateway process. `hce up` starts it; run it by hand only to debug."""

from __future__ import annotations

from typing import Annotated

import typer

from hce.app.cli.options import DEFAULT_HOME, DEFAULT_PORT_BASE, HomeOption
from hce.app.devnet.genesis import home_at
from hce.app.devnet.run import GATEWAY_PORT_OFFSET
from hce.app.gateway import run_gateway
from hce.app.process import run_process


def gateway(
    name: Annotated[str, typer.Option("--name", help="folder under gateways/")],
    home: HomeOption = DEFAULT_HOME,
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="port on the loopback address")] = DEFAULT_PORT_BASE
    + GATEWAY_PORT_OFFSET,
) -> None:
    """Run one organisation's gateway (started by `hce up`)."""
    run_process(run_gateway(home_at(home), name, port))
