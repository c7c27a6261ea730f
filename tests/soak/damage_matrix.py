"""The damage matrix: nine real nodes, files damaged in every way on one to four of them, all of it compared afterwards.

    python -m tests.soak.damage_matrix --cases 2000 --seed 1 [--json FILE] [--folder FOLDER]

One seed draws the cases. Full disks need the right to mount a small file system in memory, slow ones a C compiler; without them these
cases are left out and the figures say so.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import httpx
from tests.soak.crash_checks import Found, check_signatures, witnessed
from tests.soak.damage_files import FILE_WAYS
from tests.soak.damage_mounts import SMALL_NODES, Mounts, unmount_left
from tests.soak.damage_rounds import BEARABLE, DERIVED, Case, Rounds
from tests.soak.damage_scene import NODES, NotWhole, damage_scene

from hce.app.bench.figures import machine
from hce.foundation.types.errors import HceError

PATIENTS = 3
RECORDS = 40
"""Of each patient, in one batch at the start."""
PHASES = ("quiet", "reading", "writing")
BLOBS = 60
"""Records damaged in one round."""
FULL = 200
"""From so many cases on every kind of damage takes part."""
HANG_S, SLOW_S = 3.0, 4.0
ROUND_S = 1_200.0
"""A round that has not ended by then is a failed case: every wait in it together is shorter."""
SLOW = Path(__file__).parent / "slow_flush.c"


async def measure(folder: Path, cases: int, seed: int, tell: Callable[[str], None]) -> dict[str, Any]:
    """So many cases, then all checks; the figures."""
    small = Mounts(folder, cases >= FULL)
    slow = _SlowFlush(folder, cases >= FULL)
    began_s = time.monotonic()
    try:
        async with damage_scene(folder, seed, small.mount) as scene:
            await scene.prepare(PATIENTS, RECORDS if cases >= FULL else 8)
            rounds = Rounds(scene, seed, tell)
            chance = random.Random(f"order {seed}")
            number = 0
            while len(rounds.cases) < cases:
                number += 1
                if not await ended(rounds, number, _round(rounds, chance, number, small, slow, cases)):
                    await scene.start_what_is_down()
                tally = Counter(one.outcome for one in rounds.cases)
                tell(f"{time.monotonic() - began_s:6.0f} s, round {number}: {len(rounds.cases)} cases {dict(tally)}")
            records, refused = len(scene.held), scene.refused_writes
            signed = scene.signed
        found = Found()
        check_signatures(witnessed(signed), found)
    finally:
        small.unmount()
    return figures(seed, time.monotonic() - began_s, rounds.cases, records, refused, found, small.left_out + slow.left_out)


async def ended(rounds: Rounds, number: int, work: Coroutine[Any, Any, None]) -> bool:
    """Whether a round ended as rounds do; one that does not is a failed case, also when it does not end at all."""
    try:
        async with asyncio.timeout(ROUND_S):
            await work
    except (NotWhole, HceError, TimeoutError, httpx.HTTPError) as error:
        rounds.failed(number, error)
        return False
    return True


async def _round(rounds: Rounds, chance: random.Random, number: int, small: Mounts, slow: _SlowFlush, cases: int) -> None:
    count, phase, way = chance.randint(1, 4), chance.choice(PHASES), chance.choice(FILE_WAYS)
    few, turn = min(count, 2), number // 12 % 4
    match number % 12:
        case 1 | 5 | 8 | 9:
            await rounds.blobs(BLOBS if cases >= FULL else 12, phase)
        case 3:
            await rounds.manifests(phase)
        case 4:
            await rounds.packs(way, count, phase)
        case 7 if turn == 1:
            await rounds.scrubbed(BLOBS)
        case 7:
            await rounds.tables_in_use(count, phase)
        case 11 if turn == 0:
            await rounds.stopped({"block log": way}, few, phase)
        case 11 if turn == 1:
            await rounds.stopped({"everything": "delete"}, few, phase)
        case 11 if turn == 2:
            await rounds.stopped({"sign state": way}, few, "quiet")
        case 11:
            await rounds.hanging(chance.sample(range(NODES), count), HANG_S)
        case 0 if turn % 2 and small.mounted:
            await rounds.full(chance.sample(SMALL_NODES, count), "writing")
        case 0 if slow.library:
            await rounds.slow(chance.sample(range(NODES), count), slow.delay, SLOW_S, "writing")
        case _:
            plan = {part: chance.choice(FILE_WAYS) for part in DERIVED}
            if count > BEARABLE:
                del plan["revocations"]  # nobody could know them all; the nodes would wait for the replay window, 600 blocks
            await rounds.stopped(plan, count, phase)


class _SlowFlush:
    """A library in front of the C library's flushes: they wait as long as a file says."""

    def __init__(self, folder: Path, wanted: bool) -> None:
        self.library: Path | None = None
        self.left_out: list[str] = []
        self._folder = folder / "slow"
        if not wanted:
            return
        self._folder.mkdir()
        library = folder / "slow_flush.so"
        try:
            subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-o", library, SLOW, "-ldl"], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            self.left_out = ["slow disks: no C compiler"]
            return
        self.library = library
        os.environ |= {"LD_PRELOAD": str(library), "HCE_SLOW_FLUSH": str(self._folder)}

    def delay(self, node: int, seconds: float) -> None:
        """From now on, of one node. The library finds the node by its folder."""
        (self._folder / f"node-{node}").write_text(str(int(seconds * 1_000)))


def figures(
    seed: int, lasted_s: float, cases: list[Case], records: int, refused: dict[str, int], found: Found, left_out: list[str]
) -> dict[str, Any]:
    table: dict[str, dict[str, Counter[str]]] = {}
    for one in cases:
        row = table.setdefault(one.part, {}).setdefault(one.way, Counter())
        row["cases"] += 1
        row[one.outcome] += 1
    return {
        "seed": seed,
        "machine": machine(),
        "seconds": round(lasted_s),
        "cases": len(cases),
        "outcomes": dict(Counter(one.outcome for one in cases)),
        "by_nodes": {str(count): dict(Counter(one.outcome for one in cases if one.nodes == count)) for count in range(1, 5)},
        "by_phase": {phase: dict(Counter(one.outcome for one in cases if one.phase == phase)) for phase in PHASES},
        "table": {part: {way: dict(row) for way, row in sorted(ways.items())} for part, ways in sorted(table.items())},
        "named_errors": dict(Counter(one.said for one in cases if one.outcome == "named")),
        "bad": [
            [one.part, one.way, one.nodes, one.phase, one.outcome, one.said] for one in cases if one.outcome in ("lost", "wrong")
        ],
        "records": records,
        "writes_tried_again": refused,
        "signatures": found.signatures,
        "double_signatures": found.double_signatures,
        "left_out": left_out,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--cases", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--folder", type=Path, help="keep everything there")
    chosen = parser.parse_args()

    def tell(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory(prefix="hce-damage-") as temporary:
        folder = chosen.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        unmount_left(folder)
        if any(folder.iterdir()):
            parser.error(f"an earlier run lies in {folder}: remove it, or name another folder")
        measured = asyncio.run(measure(folder, chosen.cases, chosen.seed, tell))
    shown = json.dumps(measured, indent=1)
    print(shown)
    if chosen.json is not None:
        chosen.json.write_text(shown + "\n")
    outcomes = measured["outcomes"]
    sys.exit(1 if outcomes.get("lost") or outcomes.get("wrong") or measured["double_signatures"] else 0)


if __name__ == "__main__":
    main()
