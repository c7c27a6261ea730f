"""`hce bench`: figures of a network of its own. No goals in here: exit code 1 only when a measurement could not be made."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any

import typer
from rich.console import Console

from hce.app.bench.ledger import measure_ledger
from hce.app.cli.options import JsonOption
from hce.app.words import say
from hce.service.terms.genesis import Params

bench = typer.Typer(help="Measure a network of real processes.", no_args_is_help=True, rich_markup_mode=None)

NodesOption = Annotated[int, typer.Option("--nodes", min=1, max=9, help="super nodes of the measured network")]
SecondsOption = Annotated[float, typer.Option("--seconds", min=1, max=480, help="how long the load goes on")]
RateOption = Annotated[
    float | None, typer.Option("--rate", min=0.1, help="transactions offered a second; as fast as it goes without")
]
SeedOption = Annotated[int, typer.Option("--seed", min=0, help="what keys and load follow from")]
StepsOption = Annotated[int, typer.Option("--block-steps", min=1_000, help="steps a block may hold (a genesis parameter)")]
DEFAULT_SECONDS = 30.0
DEFAULT_STEPS = Params().block_steps


@bench.command("ledger")
def ledger(
    nodes: NodesOption = 1,
    seconds: SecondsOption = DEFAULT_SECONDS,
    rate: RateOption = None,
    seed: SeedOption = 1,
    block_steps: StepsOption = DEFAULT_STEPS,
    as_json: JsonOption = False,
) -> None:
    """Signed transactions made final: grants, access entries, transfers."""
    _run(as_json, lambda tell: measure_ledger(nodes, seconds, rate, seed, Params(block_steps=block_steps), tell))


def _run(as_json: bool, measure: Any) -> None:
    console = Console(stderr=as_json)
    with console.status(say("bench.starting")) as shown:

        def tell(key: str, **fields: Any) -> None:
            shown.update(say(key, **fields))

        figures = asyncio.run(measure(tell))
    if as_json:
        print(json.dumps(figures))
    else:
        _print(console, figures)


def _print(console: Console, figures: dict[str, Any]) -> None:
    for key, value in figures.items():
        console.print(f"{say('bench.key_' + key)}: {_shown(value)}", highlight=False)


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_shown(item)}" for key, item in value.items()) or "-"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "-"
    return say("bench.none") if value is None else str(value)
