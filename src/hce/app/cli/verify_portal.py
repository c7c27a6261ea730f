"""`hce verify-portal`: does a portal serve the page that was built here?"""

from __future__ import annotations

import asyncio
from typing import Annotated

import httpx
import typer

from hce.app.cli.options import DEFAULT_HOME, HomeOption
from hce.app.devnet.genesis import home_at
from hce.app.portal.bundle import read_bundle
from hce.app.portal.verifying import Verified, verify
from hce.app.words import say


def verify_portal(
    home: HomeOption = DEFAULT_HOME,
    url: Annotated[str, typer.Option("--url", help="address of the portal; the network's own when left out")] = "",
) -> None:
    """Compare what a portal serves with what was built here, byte for byte."""
    asked = url or home_at(home).portal
    verified = asyncio.run(_verify(asked))
    typer.echo(say("portal.verified", url=asked, files=verified.files))
    typer.echo(say("portal.hash", hash=verified.bundle))


async def _verify(url: str) -> Verified:
    async with httpx.AsyncClient(trust_env=False) as http:
        return await verify(url, read_bundle(), http)
