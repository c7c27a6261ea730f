"""`hce bench`: figures of a network of its own. No goals in here: exit code 1 only when a measurement could not be made."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any

import typer

from hce.app.bench.ledger import Figures, measure_ledger
from hce.app.bench.opening import measure_opening
from hce.app.bench.records import measure_records
from hce.app.bench.soak import measure_soak
from hce.app.bench.stage import Tell
from hce.app.bench.worst.dealing import run_dealt_node
from hce.app.bench.worst.measure import measure_worst_block, worst_params
from hce.app.cli.options import HomeOption, JsonOption, make_console
from hce.app.devnet.genesis import home_at
from hce.app.lifeline import with_lifeline
from hce.app.words import say
from hce.service.terms.genesis import Params
from hce.service.terms.grants import MAX_RECORDS_PER_ENTRY

PROJECT = Path(__file__).parents[4]
DEFAULT_SECONDS = 30.0

bench = typer.Typer(
    name="bench",
    help="Measure a network of real processes, its own, in a temporary folder.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

NodesOption = Annotated[int, typer.Option("--nodes", min=1, max=9, help="super nodes of the measured network")]
SecondsOption = Annotated[float, typer.Option("--seconds", min=1, max=480, help="how long the load goes on")]
RateOption = Annotated[float | None, typer.Option("--rate", min=0.1, help="offered a second; as fast as it goes without")]
SeedOption = Annotated[int, typer.Option("--seed", min=0, help="what keys and load follow from")]
StepsOption = Annotated[int, typer.Option("--block-steps", min=150_000, help="steps a block may hold")]
IntervalOption = Annotated[int, typer.Option("--block-interval-ms", min=50, max=60_000, help="target time between blocks")]
RoundsOption = Annotated[
    int, typer.Option("--rounds", min=1, max=5, help="how often every block is dealt; the cheapest time counts")
]
ThenOption = Annotated[
    int | None, typer.Option("--then-percent", min=1, max=100, help="then once more, at this part of the rate that was found")
]
CountOption = Annotated[
    int | None, typer.Option("--transactions", min=1, help="so many, however long it takes, with the nodes' memory over time")
]
ManyOption = Annotated[int, typer.Option("--records", min=1, max=MAX_RECORDS_PER_ENTRY, help="records under one access entry")]


@bench.command("ledger")
def ledger(
    nodes: NodesOption = 1,
    seconds: SecondsOption = DEFAULT_SECONDS,
    rate: RateOption = None,
    seed: SeedOption = 1,
    block_steps: StepsOption = Params().block_steps,
    block_interval_ms: IntervalOption = Params().block_interval_ms,
    then_percent: ThenOption = None,
    transactions: CountOption = None,
    as_json: JsonOption = False,
) -> None:
    """Signed transactions made final a second: grants, access entries, transfers. Or a given number, and the nodes' memory meanwhile."""
    params = Params(block_steps=block_steps, block_interval_ms=block_interval_ms)
    if transactions is None:
        _run(as_json, lambda tell: measure_ledger(nodes, seconds, rate, seed, params, tell, then_percent))
    else:
        _run(as_json, lambda tell: measure_soak(nodes, transactions, rate, seed, params, tell))


@bench.command("records")
def records(
    nodes: NodesOption = 1,
    seconds: SecondsOption = DEFAULT_SECONDS,
    rate: RateOption = None,
    seed: SeedOption = 1,
    block_steps: StepsOption = Params().block_steps,
    block_interval_ms: IntervalOption = Params().block_interval_ms,
    as_json: JsonOption = False,
) -> None:
    """Records sealed, dispersed, durable and final a second."""
    params = Params(block_steps=block_steps, block_interval_ms=block_interval_ms)
    _run(as_json, lambda tell: measure_records(nodes, seconds, rate, seed, params, PROJECT, tell))


@bench.command("open")
def opening(
    nodes: NodesOption = 1,
    seconds: SecondsOption = DEFAULT_SECONDS,
    rate: RateOption = None,
    seed: SeedOption = 1,
    records: ManyOption = MAX_RECORDS_PER_ENTRY,
    block_interval_ms: IntervalOption = Params().block_interval_ms,
    as_json: JsonOption = False,
) -> None:
    """Granted records from request to plaintext: one at a time, and many under one access entry."""
    params = Params(block_interval_ms=block_interval_ms)
    _run(as_json, lambda tell: measure_opening(nodes, seconds, rate, seed, params, records, PROJECT, tell))


@bench.command("worst-block")
def worst_block(
    nodes: NodesOption = 1,
    rounds: RoundsOption = 2,
    seed: SeedOption = 1,
    block_steps: StepsOption = Params().block_steps,
    as_json: JsonOption = False,
) -> None:
    """What the dearest blocks the rules allow cost every node."""
    _run(as_json, lambda tell: measure_worst_block(nodes, rounds, seed, worst_params(block_steps), tell))


@bench.command("dealt-node", hidden=True)
def dealt_node(
    home: HomeOption,
    index: Annotated[int, typer.Option("--index", min=0, max=8, help="place in the node list")],
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="port on the loopback address")],
    deals: Annotated[Path, typer.Option("--deals", help="where blocks are dealt and costs noted")],
) -> None:
    """Run one node of `worst-block` (started by it)."""
    asyncio.run(with_lifeline(run_dealt_node(home_at(home), index, port, deals)))


def _run(as_json: bool, measure: Callable[[Tell], Coroutine[Any, Any, Figures]]) -> None:
    console = make_console(stderr=as_json)
    with console.status(say("bench.starting")) as shown:

        def tell(key: str, **fields: Any) -> None:
            shown.update(say(key, **fields))

        figures = asyncio.run(measure(tell))
    if as_json:
        print(json.dumps(figures))
        return
    for key, value in figures.items():
        console.print(f"{say(f'bench.key_{key}')}: {_shown(value)}")
    console.print(say("bench.next"))


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_shown(item)}" for key, item in value.items()) or "-"
    if isinstance(value, list):
        return (
            "".join(f"\n  {_shown(row)}" for row in value)
            if value and isinstance(value[0], dict)
            else ", ".join(map(str, value)) or "-"
        )
    return "-" if value is None else str(value)
