"""`hce node run`: one node process, as `hce up` starts it. `vote-portal` is an operator's word on the page; the others ask the running
supervisor: rehearsals of what machines do.
"""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from hce.app import control
from hce.app.cli.options import DEFAULT_HOME, DEFAULT_PORT_BASE, HomeOption
from hce.app.devnet.damage import OTHER_WAYS, WAYS
from hce.app.devnet.genesis import home_at
from hce.app.devnet.home import Home
from hce.app.devnet.publishing import vote_for_page
from hce.app.lives import run_node
from hce.app.portal.bundle import bundle_hash, read_bundle
from hce.app.process import run_process
from hce.app.rejoin import give_up_watch
from hce.app.words import say
from hce.foundation.crypto.sign import SigningKey
from hce.service.sdk.network import Network

node = typer.Typer(help="One node: run it, vote with its key, kill it, restart it, damage its shards.", no_args_is_help=True)
IndexArgument = Annotated[int, typer.Argument(min=0, max=8, help="place in the node list")]


@node.command("run")
def run(
    home: HomeOption = DEFAULT_HOME,
    index: Annotated[int, typer.Option("--index", min=0, max=8, help="place in the node list")] = 0,
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="port on the loopback address")] = DEFAULT_PORT_BASE,
) -> None:
    """Run one node (started by `hce up`)."""
    run_process(run_node(home_at(home), index, port))


@node.command("kill")
def kill(index: IndexArgument, home: HomeOption = DEFAULT_HOME) -> None:
    """Kill a node without warning, as a power cut would."""
    asyncio.run(control.ask(home_at(home), "kill", name=f"node-{index}"))
    typer.echo(say("node.killed", index=index))


@node.command("restart")
def restart(index: IndexArgument, home: HomeOption = DEFAULT_HOME) -> None:
    """Stop a node if it runs, and start it."""
    asyncio.run(control.ask(home_at(home), "restart", name=f"node-{index}"))
    typer.echo(say("node.restarted", index=index))


@node.command("sign-again")
def sign_again(
    index: IndexArgument,
    home: HomeOption = DEFAULT_HOME,
    given_up: Annotated[
        bool,
        typer.Option("--give-up-later-blocks", help="blocks this node does not know are given up; a fork, if somebody saw one"),
    ] = False,
) -> None:
    """End the watch of a stopped node that lost its sign state, when all others watch too."""
    if not given_up:
        raise typer.BadParameter(say("node.say_it"), param_hint="--give-up-later-blocks")
    found = home_at(home)
    height = give_up_watch(found.node(index) / "data", found.genesis(), index)
    typer.echo(say("node.signs_again", index=index, height=height, home=found.option))


@node.command("vote-portal")
def vote_portal(index: IndexArgument, home: HomeOption = DEFAULT_HOME) -> None:
    """Vote, as this node's operator, that the page built here is the portal's next edition."""
    number, published, bundle = asyncio.run(_vote_portal(home_at(home), index))
    typer.echo(say("portal.hash", hash=bundle))
    typer.echo(say("node.page_published" if published else "node.page_voted", index=index, number=number))


async def _vote_portal(home: Home, index: int) -> tuple[int, bool, str]:
    bundle = bundle_hash(read_bundle())
    async with await Network.join(home.network()["nodes"], home.genesis()) as network:
        return *await vote_for_page(network, SigningKey(home.node_keys(index).service), bytes.fromhex(bundle)), bundle


@node.command("damage")
def damage(
    index: IndexArgument,
    way: Annotated[str, typer.Option("--way", help=" | ".join((*WAYS, *OTHER_WAYS)))] = WAYS[0],
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """Damage a node's files on disk, to watch them being repaired."""
    if way not in (*WAYS, *OTHER_WAYS):
        raise typer.BadParameter(" | ".join((*WAYS, *OTHER_WAYS)), param_hint="--way")
    answer = asyncio.run(control.ask(home_at(home), "damage", node=index, way=way))
    typer.echo(say("node.damaged", index=index, shards=answer["shards"]))
