"""All performance goals of issue 4, one after another: what was asked, what was measured, how many times the goal that is.

.venv/bin/python -m bench.gates                     everything, some 25 minutes of a machine that does nothing else
.venv/bin/python -m bench.gates --only open --only worst-block
.venv/bin/python -m bench.gates --long              also the memory of four nodes after a million transactions

A table in Markdown for docs/bench.md on standard output, every figure behind it in `--figures FILE`. Exit code 1: a goal was missed or
a measurement could not be made. CometBFT stands beside in `python -m bench.cometbft`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

from hce.app.bench.figures import machine
from hce.app.bench.plan import TRANSFER_PERCENT

Figures = dict[str, Any]

HEALTH_TX_PER_S = {9: 500, 4: 1_000, 1: 2_000}
"""Signed health transactions, by nodes."""
HALF_SECOND = ["--block-interval-ms", "500"]
"""One node takes its rate in blocks twice a second: so many transactions in one block would be worse than the worst block may be."""
PART = 0.7
"""Of that rate: where latency is judged."""
MILLION = 1_000_000
QUIET_LOAD = 0.5
"""Load average above which a figure says little."""


class Goal(NamedTuple):
    """One number to reach."""

    what: str
    sense: Literal["at least", "at most"]
    wanted: float
    found: Callable[[Figures], float | None]

    def ratio(self, measured: float | None) -> float | None:
        """1 or more: reached."""
        if not measured:
            return None
        return measured / self.wanted if self.sense == "at least" else self.wanted / measured


class Gate(NamedTuple):
    """One measurement and the goals it is judged by."""

    name: str
    arguments: list[str]
    goals: list[Goal]


def gates(seconds: float, long: bool) -> Iterator[Gate]:
    lasting = ["--seconds", str(seconds)]
    for nodes, rate in HEALTH_TX_PER_S.items():
        goal = Goal(f"health transactions/s, {nodes} nodes", "at least", rate, lambda found: found["health_tx_per_s"])
        yield Gate("ledger", ["ledger", "--nodes", str(nodes), *lasting, *_blocks(nodes)], [goal])
    for nodes, rate in HEALTH_TX_PER_S.items():
        offered = round(rate * PART * 100 / (100 - TRANSFER_PERCENT))
        named = f"final at {round(rate * PART)} health transactions/s, {nodes} nodes, ms"
        goals = [
            Goal(f"{named}: p50", "at most", 1_200, lambda found: found["latency_ms"]["p50"]),
            Goal(f"{named}: p95", "at most", 2_000, lambda found: found["latency_ms"]["p95"]),
        ]
        yield Gate("latency", ["ledger", "--nodes", str(nodes), *lasting, "--rate", str(offered), *_blocks(nodes)], goals)
    resources = Goal("FHIR resources/s, 9 nodes", "at least", 1_000, lambda found: found["resources_per_s"])
    yield Gate("records", ["records", "--nodes", "9", *lasting], [resources])
    opening = [
        Goal("one record to plaintext, 9 nodes, ms: p95", "at most", 1_800, lambda found: found["latency_ms"]["p95"]),
        Goal(
            "1,000 records under one entry, opened/s",
            "at least",
            1_000,
            lambda found: None if found["refused"] else found["opened_per_s"],
        ),
    ]
    yield Gate("open", ["open", "--nodes", "9", *lasting, "--records", "1000"], opening)
    for nodes in (9, 1):
        goals = [
            Goal(f"worst block, {nodes} nodes, processor ms of a node", "at most", 300, lambda found: found["worst_cpu_ms"]),
            Goal(
                f"worst block, {nodes} nodes at once on this machine, wall ms",
                "at most",
                300,
                lambda found: found["worst_prevote_wall_ms"],
            ),
        ]
        yield Gate("worst-block", ["worst-block", "--nodes", str(nodes)], goals)
    for nodes in (1, 4) if long else (1,):
        memory = Goal(
            f"RssAnon after 1,000,000 transactions, {nodes} nodes, MB", "at most", 200, lambda found: max(found["rss_anon_mb"])
        )
        yield Gate("memory", ["ledger", "--nodes", str(nodes), "--transactions", str(MILLION), *_blocks(nodes)], [memory])


def _blocks(nodes: int) -> list[str]:
    return HALF_SECOND if nodes == 1 else []


def main() -> int:
    arguments = parse_arguments()
    chosen = [gate for gate in gates(arguments.seconds, arguments.long) if not arguments.only or gate.name in arguments.only]
    print(f"machine  {machine()}, load average before {os.getloadavg()[0]:.2f}")
    print(f"seed     {arguments.seed}")
    print(f"command  python -m bench.gates {' '.join(sys.argv[1:])}\n")
    if os.getloadavg()[0] > QUIET_LOAD:
        print("This machine is busy: the figures say little.", file=sys.stderr)
    print("| goal | asked | measured | times the goal | | `./hce bench ...` |\n|---|---|---|---|---|---|", flush=True)
    all_met, kept = True, []
    for gate in chosen:
        began = time.monotonic()
        found = measure(gate, arguments.seed)
        print(f"{gate.name}: {time.monotonic() - began:.0f} s", file=sys.stderr)
        kept.append({"arguments": gate.arguments, "figures": found})
        for goal in gate.goals:
            measured = None if found is None else goal.found(found)
            ratio = goal.ratio(measured)
            met = ratio is not None and ratio >= 1
            all_met = all_met and met
            print(row(goal, measured, ratio, met, " ".join(gate.arguments)), flush=True)
        if arguments.figures is not None:
            arguments.figures.write_text(json.dumps(kept, indent=1))
    return 0 if all_met else 1


def measure(gate: Gate, seed: int) -> Figures | None:
    """None when it could not be made; standard error said why."""
    command = [sys.executable, "-m", "hce.app.cli", "bench", *gate.arguments, "--seed", str(seed), "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    if done.returncode != 0:
        return None
    figures: Figures = json.loads(done.stdout)
    return figures


def row(goal: Goal, measured: float | None, ratio: float | None, met: bool, command: str) -> str:
    shown = "not measured" if measured is None else f"{measured:,.0f}"
    return (
        f"| {goal.what} | {goal.sense} {goal.wanted:,.0f} | {shown} | {'' if ratio is None else f'{ratio:.2f}'} "
        f"| {'met' if met else '**missed**'} | `{command}` |"
    )


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--only", action="append", choices=["ledger", "latency", "records", "open", "worst-block", "memory"])
    parser.add_argument("--seconds", type=float, default=60.0, help="of load in each measurement that takes a time")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--long", action="store_true", help="also what takes longer than everything else together")
    parser.add_argument("--figures", type=Path, help="file for every figure behind the table, JSON")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
