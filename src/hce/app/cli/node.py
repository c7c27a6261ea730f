"""`hce node`: one node process. `hce up` starts it; run it by hand only to debug."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from hce.app.cli.options import DEFAULT_HOME, DEFAULT_PORT_BASE, HomeOption
from hce.app.devnet.genesis import home_at
from hce.app.lifeline import with_lifeline
from hce.app.node import run_node


def node(
    home: HomeOption = DEFAULT_HOME,
    index: Annotated[int, typer.Option("--index", min=0, max=8, help="place in the node list")] = 0,
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="port on the loopback address")] = DEFAULT_PORT_BASE,
) -> None:
    """Run one node (started by `hce up`)."""
    asyncio.run(with_lifeline(run_node(home_at(home), index, port)))
