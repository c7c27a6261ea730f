"""`hce portal`: the process that serves the page. `hce up` starts it."""

from __future__ import annotations

from typing import Annotated

import typer

from hce.app.cli.options import DEFAULT_HOME, DEFAULT_PORT_BASE, HomeOption
from hce.app.devnet.genesis import home_at
from hce.app.devnet.home import PORTAL_PORT_OFFSET
from hce.app.portal.serving import run_portal
from hce.app.process import run_process


def portal(
    home: HomeOption = DEFAULT_HOME,
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="port on the loopback address")] = DEFAULT_PORT_BASE
    + PORTAL_PORT_OFFSET,
) -> None:
    """Serve the portal's page (started by `hce up`)."""
    run_process(run_portal(home_at(home), port))
