"""Signed transactions a network makes final: every node checks, executes and stores every one."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import Any

from msgspec import Struct

from hce.app.bench.figures import Usage, differences, machine, per_second, spread
from hce.app.bench.load import Load
from hce.app.bench.plan import PAYERS, plan
from hce.app.bench.signing import SigningTask, sign_ahead, workers
from hce.app.bench.stage import Stage, Tell, found, fund_senders, stage_of
from hce.app.bench.watch import SeenBlock, follow
from hce.service.terms.genesis import Params

GRANT_LIFE_MS = 24 * 3_600_000
MOST_PER_S = 4_000
"""Prepared for each second when no rate is asked for; a network that is faster ends early."""
AHEAD_BLOCKS = 6
"""Signed beyond what the time takes: the window, and the blocks before and after."""
MIN_STEPS = 150
"""A little less than a grant's steps: bounds what fits a block."""
DRAIN_S = 20.0
"""After the last transaction was sent: how long its block may take."""
DRAIN_POLL_S = 0.05
SECOND_SEED = 1_000
"""Added for a second load on the same network: other keys, so that what the first left unsent is in nobody's way."""
SIGNED_FOR_BLOCKS = 10
"""Less than the replay window by this much: the chain goes on while signing."""

Figures = dict[str, Any]


async def measure_ledger(
    nodes: int, seconds: float, rate: float | None, seed: int, params: Params, tell: Tell, then_percent: int | None = None
) -> Figures:
    """The whole measurement; `then_percent`: once more at this part of the rate that was found, as `then`. Raises `HceError` when
    the run itself fails."""
    async with stage_of(nodes, params, tell) as stage:
        figures = await _measure(stage, seconds, rate, seed)
        if then_percent is not None:
            then_rate = figures["tx_per_s"] * then_percent / 100
            figures["then"] = await _measure(stage, seconds, then_rate, seed + SECOND_SEED)
        return figures


async def _measure(stage: Stage, seconds: float, rate: float | None, seed: int) -> Figures:
    await prepare(stage, seed)
    items = plan(prepared_count(seconds, rate, stage.network.genesis.params))
    stage.tell("bench.signing", count=len(items))
    with workers() as pool:
        raws = await sign_ahead(pool, await signing(stage, seed), items)
    ran = await run_load(stage, Load(stage.network.nodes, items, raws, rate), seconds)
    return ledger_figures(stage.nodes, seed, rate, ran)


async def prepare(stage: Stage, seed: int) -> None:
    """Organisations that pay and accounts that send."""
    await asyncio.gather(*(found(stage, seed, number) for number in range(PAYERS)))
    await fund_senders(stage, seed)


def prepared_count(seconds: float, rate: float | None, params: Params) -> int:
    """Transactions to sign ahead."""
    if rate is not None:
        return max(1, round(seconds * rate))
    blocks = seconds * 1_000 / params.block_interval_ms + AHEAD_BLOCKS
    return round(min(seconds * MOST_PER_S, blocks * _per_block(params)))


def _per_block(params: Params) -> int:
    """More than a block's steps let in."""
    return max(1, params.block_steps // MIN_STEPS)


async def signing(stage: Stage, seed: int) -> SigningTask:
    """For transactions that are sent soon."""
    genesis = stage.network.genesis
    valid_until = await stage.network.head() + genesis.params.replay_window - SIGNED_FOR_BLOCKS
    return SigningTask(seed, genesis.chain, genesis.eip155_id, valid_until, int(time.time() * 1_000) + GRANT_LIFE_MS)


class Reading(Struct, frozen=True):
    """What everybody had used when a block arrived."""

    nodes: list[Usage]
    load_cpu_us: int
    """Of this process: sending, following, counting."""


class Ran(Struct, frozen=True):
    """A load that is over."""

    load: Load
    blocks: list[SeenBlock]
    readings: list[Reading]
    """One for each block."""
    start_s: float
    ended_s: float
    """Monotonic: between them transactions were sent."""


async def run_load(stage: Stage, load: Load, seconds: float) -> Ran:
    """Offers for so long or until nothing is left, and waits for what is on its way."""
    blocks: list[SeenBlock] = []
    readings: list[Reading] = []

    def take(block: SeenBlock) -> None:
        blocks.append(block)
        readings.append(Reading(stage.usage(), time.process_time_ns() // 1_000))
        load.take(block)
        stage.tell("bench.block", height=block.height, count=block.count, waiting=load.waiting)

    following = asyncio.create_task(follow(stage.network.nodes[0], await stage.network.head() + 1, take))
    offering = asyncio.create_task(load.offer(seconds))
    try:
        await asyncio.wait((offering, following), return_when=asyncio.FIRST_COMPLETED)
        if following.done():
            following.result()
        start, ended = await offering, time.monotonic()
        await _drain(load, following)
    finally:
        for task in (offering, following):
            task.cancel()
        await asyncio.gather(offering, following, return_exceptions=True)
        await load.close()
    return Ran(load, blocks, readings, start, ended)


async def _drain(load: Load, following: asyncio.Task[None]) -> None:
    """Until all is final or the patience ends; the follower is the one who knows."""
    deadline = time.monotonic() + DRAIN_S
    while load.waiting and time.monotonic() < deadline:
        load.require_sending()
        await asyncio.wait((following,), timeout=DRAIN_POLL_S)
        if following.done():
            following.result()


def ledger_figures(nodes: int, seed: int, rate: float | None, ran: Ran) -> Figures:
    """Rates count blocks that arrived while sending went on, after the first of them: its interval began before."""
    load, blocks = ran.load, ran.blocks
    during = [place for place, block in enumerate(blocks) if ran.start_s < block.seen_s <= ran.ended_s]
    counted = [blocks[place] for place in during[1:]]
    span_s = counted[-1].seen_s - blocks[during[0]].seen_s if counted else 0.0
    total = sum(block.count for block in counted)
    cpu_us = load_cpu_us = 0
    if counted:
        before, after = ran.readings[during[0]], ran.readings[during[-1]]
        cpu_us = sum(last.cpu_us - first.cpu_us for first, last in zip(before.nodes, after.nodes, strict=True))
        load_cpu_us = after.load_cpu_us - before.load_cpu_us
    failed: Counter[str] = Counter()
    for block in blocks:
        failed.update(block.failed)
    return {
        "nodes": nodes,
        "seconds": round(ran.ended_s - ran.start_s, 1),
        "seed": seed,
        "machine": machine(),
        "offered_per_s": rate if rate is None else round(rate, 1),
        "tx_per_s": per_second(total, span_s),
        "health_tx_per_s": per_second(sum(len(block.health_txs) for block in counted), span_s),
        "latency_ms": spread(load.latencies_ms),
        "cpu_us_per_tx_per_node": round(cpu_us / nodes / total) if total else None,
        "nodes_cpu_s": round(cpu_us / 1e6, 2),
        "load_cpu_s": round(load_cpu_us / 1e6, 2),
        "measured_s": round(span_s, 1),
        "rss_anon_mb": [usage.rss_anon_mb for usage in ran.readings[-1].nodes] if ran.readings else [],
        "blocks": len(counted),
        "block_interval_ms": spread(differences([block.time_ms for block in counted]), (50, 95), with_max=False),
        "offered": load.offered,
        "final": load.final,
        "not_final": load.waiting,
        "refused": dict(load.refused),
        "failed": dict(failed),
    }
