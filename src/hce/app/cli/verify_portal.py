"""`hce verify-portal`: is the page that a portal serves the one that the network's nodes have published?

Exit codes: 0 it is the newest edition; 1 it could not be checked; 3 it is an edition that was replaced; 4 it is another page.
"""

from __future__ import annotations

import asyncio
import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import httpx
import typer

from hce.app.cli.options import DEFAULT_HOME, HomeOption
from hce.app.devnet.genesis import home_at
from hce.app.portal.bundle import is_built, read_bundle
from hce.app.portal.verifying import PortalForeign, PortalReplaced, Served, differing, fetch, published, require_network
from hce.app.words import explain_with_fields, say
from hce.foundation.codec.dagcbor import decode_as
from hce.service.sdk.network import Network
from hce.service.terms.genesis import Genesis, genesis_cid

REPLACED = 3
FOREIGN = 4


def verify_portal(
    home: HomeOption = DEFAULT_HOME,
    url: Annotated[str, typer.Option("--url", help="address of the portal; the network's own when left out")] = "",
    genesis: Annotated[Path | None, typer.Option("--genesis", help="the genesis you trust; without it that of --home")] = None,
    node: Annotated[
        list[str] | None, typer.Option("--node", help="address of a node to ask, may be repeated; else those the portal names")
    ] = None,
    ca: Annotated[Path | None, typer.Option("--ca", help="PEM of the authority behind the certificates, if it is your own")] = None,
) -> None:
    """Compare the page that a portal serves with what the network's nodes have published on chain."""
    asked = url or home_at(home).portal
    trusted = home_at(home).genesis() if genesis is None else decode_as(Genesis, genesis.read_bytes())
    try:
        asyncio.run(_verify(asked, trusted, node or [], ssl.create_default_context(cafile=ca)))
    except PortalReplaced as error:
        typer.echo(explain_with_fields(error), err=True)
        raise typer.Exit(REPLACED) from error
    except PortalForeign as error:
        typer.echo(explain_with_fields(error), err=True)
        raise typer.Exit(FOREIGN) from error


async def _verify(url: str, genesis: Genesis, nodes: list[str], trust: ssl.SSLContext) -> None:
    async with httpx.AsyncClient(trust_env=False, verify=trust) as http:
        served = await fetch(url, http)
    require_network(served, genesis)
    transport = httpx.AsyncHTTPTransport(verify=trust)
    async with await Network.join(nodes or served.network.nodes, genesis, transport=transport) as network:
        edition = await published(served, network)
        typer.echo(say("portal.verified", url=url, files=len(served.files)))
        typer.echo(say("portal.hash", hash=served.bundle))
        when = datetime.fromtimestamp(edition.time_ms / 1_000, UTC).strftime("%Y-%m-%d %H:%M UTC")
        release = edition.release
        typer.echo(say("portal.edition", number=release.number, version=release.version, height=edition.height, when=when))
        typer.echo(say("portal.proven", height=network.light.height, genesis=genesis_cid(genesis).hex()))
        _compare(served)


def _compare(served: Served) -> None:
    """With what was built here, when something was: whoever built it from sources he has read knows what is published."""
    if not is_built():
        return
    paths = differing(served.files, read_bundle())
    typer.echo(say("portal.built_other", paths=", ".join(paths)) if paths else say("portal.built_here"))
