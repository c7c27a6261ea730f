"""A given number of transactions, however long it takes, and what the nodes' memory does meanwhile.

Signed and sent in parts, because a signed transaction is valid for a limited number of blocks and a million of them would fill the
memory of whoever measures. Each part has keys of its own: a transfer that was refused in one, on a machine that was busy for a moment,
leaves no gap in the nonces of the next. While a part is signed the network makes empty blocks; rates are those of sending.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

from hce.app.bench.figures import Usage, machine, per_second, spread
from hce.app.bench.ledger import Figures, prepare, run_load, signing
from hce.app.bench.load import Load
from hce.app.bench.plan import plan
from hce.app.bench.signing import sign_ahead, workers
from hce.app.bench.stage import Tell, stage_of
from hce.service.terms.genesis import Params

PART = 25_000
"""Transactions signed and sent at a time; between two parts memory is read."""
MOST_S = 24 * 3_600.0


async def measure_soak(nodes: int, transactions: int, rate: float | None, seed: int, params: Params, tell: Tell) -> Figures:
    """All of them, final or refused. Raises `HceError` when the run itself fails."""
    async with stage_of(nodes, params, tell) as stage:
        began_s = time.monotonic()
        rows: list[dict[str, Any]] = [_row(0, 0.0, await stage.network.head(), stage.usage())]
        final, sending_s, cpu_us, refused, latencies = 0, 0.0, 0, Counter[str](), list[float]()
        window = 0
        with workers() as pool:
            for number, count in enumerate(part_sizes(transactions)):
                await prepare(stage, seed + number)
                items = plan(count)
                tell("bench.signing", count=len(items))
                raws = await sign_ahead(pool, await signing(stage, seed + number), items)
                before = stage.usage()
                load = Load(stage.network.nodes, items, raws, rate, window)
                ran = await run_load(stage, load, MOST_S)
                after = stage.usage()
                cpu_us += sum(last.cpu_us - first.cpu_us for first, last in zip(before, after, strict=True))
                sending_s += ran.blocks[-1].seen_s - ran.start_s
                final, window = final + load.final, load.window
                refused.update(load.refused)
                latencies += load.latencies_ms
                rows.append(_row(final, time.monotonic() - began_s, ran.blocks[-1].height, after))
        return {
            "nodes": nodes,
            "seconds": round(time.monotonic() - began_s, 1),
            "seed": seed,
            "machine": machine(),
            "offered_per_s": rate,
            "transactions": transactions,
            "final": final,
            "refused": dict(refused),
            "tx_per_s": per_second(final, sending_s),
            "latency_ms": spread(latencies),
            "cpu_us_per_tx_per_node": round(cpu_us / nodes / final) if final else None,
            "rss_anon_mb": rows[-1]["rss_anon_mb"],
            "rss_anon_mb_per_100k_tx": growth_per_100k(rows),
            "memory": rows,
        }


def part_sizes(transactions: int) -> list[int]:
    """Parts of `PART`, and what is left."""
    whole, left = divmod(transactions, PART)
    return [PART] * whole + [left] * (left > 0)


def growth_per_100k(rows: list[dict[str, Any]]) -> float | None:
    """MB the largest node grew by for each 100,000 transactions, over the second half: the first fills what is bounded."""
    later = rows[len(rows) // 2 :]
    if len(later) < 2 or later[-1]["final"] == later[0]["final"]:
        return None
    grown: float = max(later[-1]["rss_anon_mb"]) - max(later[0]["rss_anon_mb"])
    count: int = later[-1]["final"] - later[0]["final"]
    return round(grown * 100_000 / count, 1)


def _row(final: int, seconds: float, height: int, usages: list[Usage]) -> dict[str, Any]:
    return {"final": final, "seconds": round(seconds), "height": height, "rss_anon_mb": [usage.rss_anon_mb for usage in usages]}
