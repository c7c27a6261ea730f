"""`hce backup` and `hce restore`: a node or a gateway into one file, and back (docs/operations.md)."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from hce.app.backup import backup_gateway, backup_node, restore_gateway, restore_node
from hce.app.cli.options import DEFAULT_HOME, HomeOption
from hce.app.devnet.genesis import home_at
from hce.app.devnet.home import Home
from hce.app.words import say

backup = typer.Typer(help="Back up a node or a gateway into one file, running or stopped.", no_args_is_help=True)
restore = typer.Typer(help="Put a node or a gateway back from its backup. Overwrites nothing.", no_args_is_help=True)

IndexArgument = Annotated[int, typer.Argument(min=0, max=8, help="place in the node list")]
NameArgument = Annotated[str, typer.Argument(help="folder under gateways/")]
ToOption = Annotated[Path, typer.Option("--to", help="the file to make")]
FromOption = Annotated[Path, typer.Option("--from", help="the backup")]
KeysOption = Annotated[bool, typer.Option("--with-keys", help="private keys too: guard the file like them")]


@backup.command("node")
def backup_one_node(index: IndexArgument, to: ToOption, with_keys: KeysOption = False, home: HomeOption = DEFAULT_HOME) -> None:
    """Back up a node; it may run."""
    place, target = home_at(home), to.expanduser().absolute()
    backup_node(place, index, target, with_keys, _now_ms())
    _print_made(place, f"node {index}", target, with_keys)


@backup.command("gateway")
def backup_one_gateway(name: NameArgument, to: ToOption, with_keys: KeysOption = False, home: HomeOption = DEFAULT_HOME) -> None:
    """Back up a gateway; it may run."""
    place, target = home_at(home), to.expanduser().absolute()
    backup_gateway(place, name, target, with_keys, _now_ms())
    _print_made(place, f"gateway {name}", target, with_keys)


@restore.command("node")
def restore_one_node(
    index: IndexArgument,
    source: FromOption,
    give_up_later_blocks: Annotated[
        bool, typer.Option("--give-up-later-blocks", help="a network of one node goes on from the backup")
    ] = False,
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """Restore a node that is stopped and whose data folder is gone."""
    place = home_at(home)
    height = restore_node(place, index, source, give_up_later_blocks, _now_ms())
    typer.echo(say("restore.node", index=index, height=height))
    if not give_up_later_blocks:
        typer.echo(say("restore.watches"))
    typer.echo(say("restore.node_next", index=index, home=place.option))


@restore.command("gateway")
def restore_one_gateway(name: NameArgument, source: FromOption, home: HomeOption = DEFAULT_HOME) -> None:
    """Restore a gateway that is stopped and whose files are gone."""
    place = home_at(home)
    restore_gateway(place, name, source)
    typer.echo(say("restore.gateway", name=name))
    typer.echo(say("restore.gateway_next", home=place.option))


def _print_made(home: Home, what: str, target: Path, with_keys: bool) -> None:
    typer.echo(say("backup.made", file=str(target), size=f"{target.stat().st_size / (1 << 20):.1f} MiB"))
    typer.echo(say("backup.keys_in" if with_keys else "backup.keys_out"))
    typer.echo(say("backup.next", what=what, file=str(target), home=home.option))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
