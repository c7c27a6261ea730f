"""The worst block: every block of `blocks` dealt to a network of its own, and what the nodes noted."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from itertools import chain
from pathlib import Path
from typing import Any

from msgspec import Struct

from hce.app.bench.figures import machine, usage_of
from hce.app.bench.ledger import Figures
from hce.app.bench.stage import Tell
from hce.app.bench.worst.blocks import Blocks, Wanted
from hce.app.bench.worst.dealing import Call, Deal, Note, put_deal, read_notes
from hce.app.bench.worst.transactions import Cast
from hce.app.devnet import run
from hce.app.devnet.home import Home
from hce.app.preflight import free_ports
from hce.app.supervisor import ProcessPlan, Supervisor
from hce.foundation.crypto.secp import EthSigningKey
from hce.foundation.crypto.sign import SigningKey
from hce.service.sdk.network import Network
from hce.service.terms.genesis import Params

BEFORE_PREVOTE: tuple[Call, ...] = ("decode", "check", "process")
AFTER_QUORUM: tuple[Call, ...] = ("precommit", "finalize", "commit")
WAIT_S = 12.0
"""For all nodes to be done with a dealt block; then it is dealt again, for its round may have failed. What is final is refused then."""
MAX_DEALS = 6
POLL_S = 0.05
REPLAY_WINDOW = 10_000
"""Blocks: on a busy machine many empty ones go by between two that are dealt, and transactions are signed once a round."""


INTERVAL_MS = 500
"""Between blocks: short, because most of the time nothing happens."""


def worst_params(block_steps: int) -> Params:
    """The bounds of a real network. What is otherwise changes when something may be done, not what it costs."""
    return Params(block_steps=block_steps, block_interval_ms=INTERVAL_MS, replay_window=REPLAY_WINDOW, anchor_blocks=1)


class Cost(Struct, frozen=True):
    """Of one block on one node, ms."""

    prevote_wall: float
    prevote_cpu: float
    final_wall: float
    final_cpu: float

    @property
    def cpu(self) -> float:
        return self.prevote_cpu + self.final_cpu


class Measured(Struct, frozen=True):
    """One dealt block and what it cost each node."""

    wanted: Wanted
    costs: list[Cost]
    refused: str
    """Code with which the nodes refused it; "" when it became final, or should have."""
    lost: bool = False
    """It did not become final however often it was dealt: the machine was too busy for its rounds. What the nodes noted counts."""


async def measure_worst_block(nodes: int, rounds: int, seed: int, params: Params, tell: Tell) -> Figures:
    """The whole measurement. Raises `HceError` when the run itself fails."""
    with tempfile.TemporaryDirectory(prefix="hce-bench-") as folder:
        home, deals = Home(Path(folder) / "home"), Path(folder) / "deals"
        deals.mkdir()
        async with _running(home, deals, nodes, params, tell) as (supervisor, network):
            table = Table(home, deals, network, tell)
            measured = await table.play(seed, rounds)
            memory = [usage_of(supervisor.pid(f"node-{index}")).rss_anon_mb for index in range(nodes)]
    return worst_block_figures(nodes, rounds, seed, params, measured, memory)


@asynccontextmanager
async def _running(home: Home, deals: Path, nodes: int, params: Params, tell: Tell) -> AsyncIterator[tuple[Supervisor, Network]]:
    """Nodes alone: no gateway, no demo people."""
    run.create(home, free_ports(run.port_count(nodes)), nodes, params)
    supervisor = Supervisor(home.logs)
    try:
        await run.start_all(supervisor, [_watched(plan, index, deals) for index, plan in enumerate(run.plans(home)[0])], tell)
        async with await Network.join(home.network()["nodes"], home.genesis()) as network:
            await network.started()
            yield supervisor, network
    finally:
        await supervisor.stop_all()


def _watched(plan: ProcessPlan, index: int, deals: Path) -> ProcessPlan:
    """The product's node, with a ledger that is dealt blocks."""
    _, _, *options = plan.arguments
    return ProcessPlan(plan.name, ["bench", "dealt-node", *options, "--deals", str(deals)], plan.url)


class Table:
    """Deals blocks and waits for the notes."""

    def __init__(self, home: Home, deals: Path, network: Network, tell: Tell) -> None:
        self._home = home
        self._deals = deals
        self._network = network
        self.tell = tell
        self._nodes = range(len(network.genesis.nodes))

    async def play(self, seed: int, rounds: int) -> list[Measured]:
        """All blocks, `rounds` times."""
        done: list[Measured] = []
        for round in range(rounds):
            head = await self._network.head()
            cast = Cast(
                seed=seed,
                genesis=self._network.genesis,
                nodes=[SigningKey(self._home.node_keys(index).service) for index in self._nodes],
                wallet=EthSigningKey(self._home.wallet().secret),
                now_ms=int(time.time() * 1_000),
                valid_until=head + REPLAY_WINDOW // 2,
            )
            blocks = Blocks(cast, round, await self._wallet_nonce(cast), head)
            if round == 0:
                await self._deal(blocks.founding(), round)
            for wanted in blocks.rules_allow():
                done.append(await self._deal(wanted, round))
                blocks.height = await self._network.head()
            repeatable = blocks.repeatable()
            dearest = max((one for one in done if one.wanted.name in repeatable and one.costs), key=_us_per_step)
            for wanted in chain(blocks.mixed(dearest.wanted.name), blocks.rules_refuse()):
                done.append(await self._deal(wanted, round))
        return done

    async def _wallet_nonce(self, cast: Cast) -> int:
        return (await self._network.any_node(lambda node: node.account(cast.wallet.address)))["nonce"]

    async def _deal(self, wanted: Wanted, round: int) -> Measured:
        deal = Deal(wanted.health_txs, wanted.value_txs, wanted.roots)
        last: Call = "commit" if wanted.valid else "process"
        done = False
        for _ in range(MAX_DEALS):
            self.tell("bench.dealt", round=round + 1, name=wanted.name)
            put_deal(self._deals, deal)
            done = await self._all_noted(deal.name, last, everybody=wanted.valid)
            if done:
                break
        notes = [one for one in self._notes(deal.name) if one]
        refused = next((note.refused for one in notes for note in one if note.refused), "")
        return Measured(wanted, [_cost(one) for one in notes], refused, lost=not done)

    async def _all_noted(self, name: str, last: Call, everybody: bool) -> bool:
        """Whether all nodes did the last call of a block in time. The proposer does not judge a block that it knows to be wrong."""
        wanted = len(self._nodes) if everybody or len(self._nodes) == 1 else len(self._nodes) - 1
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            await asyncio.sleep(POLL_S)
            if sum(any(note.call == last for note in one) for one in self._notes(name)) >= wanted:
                return True
        return False

    def _notes(self, name: str) -> list[list[Note]]:
        """Of this block, by node."""
        return [[note for note in read_notes(self._deals, index) if note.name == name] for index in self._nodes]


def _cost(notes: Iterable[Note]) -> Cost:
    """Of the first time each call was made: a second look at the same block finds its signatures checked."""
    first: dict[Call, Note] = {}
    for note in notes:
        first.setdefault(note.call, note)
    prevote = [first[call] for call in BEFORE_PREVOTE if call in first]
    final = [first[call] for call in AFTER_QUORUM if call in first]
    return Cost(
        sum(note.wall_ms for note in prevote),
        sum(note.cpu_ms for note in prevote),
        sum(note.wall_ms for note in final),
        sum(note.cpu_ms for note in final),
    )


def _us_per_step(one: Measured) -> float:
    return _dearest(one).cpu * 1_000 / one.wanted.steps


def worst_block_figures(
    nodes: int, rounds: int, seed: int, params: Params, measured: list[Measured], memory: list[float]
) -> Figures:
    """For every block the dearest node; of several rounds the cheapest, for what else the machine did is no part of the block."""
    blocks = [_row(one) for one in _cheapest_rounds(measured)]
    allowed = sorted((row for row in blocks if not row["refused"]), key=_block_cpu, reverse=True)
    refused = sorted((row for row in blocks if row["refused"]), key=_block_cpu, reverse=True)
    worst = allowed[0]
    return {
        "nodes": nodes,
        "rounds": rounds,
        "seed": seed,
        "machine": machine(),
        "block_steps": params.block_steps,
        "gas_limit": params.gas_limit,
        "worst": worst["name"],
        "worst_prevote_cpu_ms": worst["prevote_cpu_ms"],
        "worst_final_cpu_ms": worst["final_cpu_ms"],
        "worst_cpu_ms": round(_block_cpu(worst), 1),
        "worst_prevote_wall_ms": max(row["prevote_wall_ms"] for row in allowed),
        "worst_final_wall_ms": max(row["final_wall_ms"] for row in allowed),
        "worst_refused_cpu_ms": refused[0]["prevote_cpu_ms"] if refused else None,
        "dearest_us_per_step": max(row["cpu_us_per_step"] or 0 for row in allowed),
        "dealt": [*allowed, *refused],
        "lost": sorted({one.wanted.name for one in measured if one.lost}),
        "rss_anon_mb": memory,
    }


def _cheapest_rounds(measured: list[Measured]) -> list[Measured]:
    """One for each name; of what was lost everywhere nothing is known."""
    best: dict[str, Measured] = {}
    for one in (one for one in measured if one.costs):
        known = best.get(one.wanted.name)
        if known is None or _dearest(one).cpu < _dearest(known).cpu:
            best[one.wanted.name] = one
    return list(best.values())


def _dearest(one: Measured) -> Cost:
    return max(one.costs, key=lambda cost: cost.cpu)


def _row(one: Measured) -> dict[str, Any]:
    wanted, dearest = one.wanted, _dearest(one)
    return {
        "name": wanted.name,
        "txs": len(wanted.health_txs) + len(wanted.value_txs),
        "steps": wanted.steps,
        "gas": wanted.gas,
        "kib": round(wanted.size_bytes / 1024),
        "prevote_cpu_ms": round(dearest.prevote_cpu, 1),
        "final_cpu_ms": round(dearest.final_cpu, 1),
        "prevote_wall_ms": round(max(cost.prevote_wall for cost in one.costs), 1),
        "final_wall_ms": round(max(cost.final_wall for cost in one.costs), 1),
        "cpu_us_per_step": round(dearest.cpu * 1_000 / wanted.steps, 2) if wanted.steps else None,
        "refused": one.refused,
    }


def _block_cpu(row: dict[str, Any]) -> float:
    return float(row["prevote_cpu_ms"] + row["final_cpu_ms"])
