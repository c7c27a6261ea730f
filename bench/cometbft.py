"""CometBFT beside `hce bench ledger`, in one run on one machine: ratios, with the difference in work stated.

.venv/bin/python -m bench.cometbft --nodes 1 --nodes 4 --seconds 60 --json

CometBFT and its modules come from the Go module proxy into a cache folder of the user (`--cache`); nothing of it is in the repository.
Without Go the comparison is left out, loudly.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench.comet.load import CometLoad, transactions
from bench.comet.network import PROFILES, VERSION, built, running

from hce.app.bench.figures import machine
from hce.app.bench.plan import plan
from hce.app.bench.signing import SigningTask, sign_items

DEFAULT_SECONDS = 60.0
MOST_PER_S = 12_000
"""Prepared for each second when no rate is asked for."""
BATCH = {"default": 10, "tuned": 100}
"""Calls in one request: what `max_request_batch_size` of the profile allows."""
WINDOW = {"default": 4_500, "tuned": 30_000}
"""On their way at most: less than the profile's mempool holds."""
DIFFERENCE = [
    "CometBFT kvstore: no signature on a transaction, no fee, no account, no contract, no replay window; its application hash is the "
    "number of keys, so nothing can be proven from it; state in memory.",
    "HCE: every node checks two Ed25519 signatures (or recovers one secp256k1 key) of every transaction, executes contracts and fees, "
    "keeps two authenticated maps with proofs, and has block, state and sign state on disk before it says final.",
    "Both: every node on the same cores as the load, a block a second, votes signed with Ed25519, blocks in a durable log.",
    "CometBFT is compiled Go; HCE is Python with native parts.",
]


def main() -> None:
    arguments = parse_arguments()
    binary = built(arguments.cache)
    if binary is None:
        print(
            "SKIPPED: no Go on this machine, so CometBFT cannot be built and nothing stands beside HCE's figures", file=sys.stderr
        )
    size = grant_bytes()
    rows = []
    for nodes in arguments.nodes:
        print(f"hce, {nodes} nodes ...", file=sys.stderr)
        ours = measure_hce(nodes, arguments.seconds, arguments.seed)
        theirs = (
            {} if binary is None else {name: measure_comet(binary, nodes, name, arguments, size) for name in arguments.profiles}
        )
        rows.append(
            {"nodes": nodes, "hce": ours, "cometbft": theirs, "ratios": {name: ratios(ours, one) for name, one in theirs.items()}}
        )
    found = {
        "machine": machine(),
        "seed": arguments.seed,
        "command": f"python -m bench.cometbft {' '.join(sys.argv[1:])}",
        "cometbft": VERSION if binary is not None else None,
        "tx_bytes": size,
        "tuned": {section: dict(values) for section, values in PROFILES["tuned"].items()},
        "difference_in_work": DIFFERENCE,
        "runs": rows,
    }
    print(json.dumps(found)) if arguments.json else show(found)


def grant_bytes() -> int:
    """A signed `grant.open`."""
    return len(sign_items(SigningTask(1, bytes(16), 1, 500, 2_000_000_000_000), plan(1))[0])


def measure_hce(nodes: int, seconds: float, seed: int) -> dict[str, Any]:
    command = ["bench", "ledger", "--nodes", str(nodes), "--seconds", str(seconds), "--seed", str(seed), "--json"]
    done = subprocess.run([sys.executable, "-m", "hce.app.cli", *command], check=True, stdout=subprocess.PIPE)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def measure_comet(binary: Path, nodes: int, profile: str, arguments: argparse.Namespace, size: int) -> dict[str, Any]:
    print(f"cometbft {VERSION}, {nodes} nodes, {profile} ...", file=sys.stderr)
    count = round(arguments.seconds * (arguments.rate or MOST_PER_S))
    txs = transactions(count, size, arguments.seed)
    with (
        tempfile.TemporaryDirectory(prefix="hce-comet-") as folder,
        running(binary, Path(folder), nodes, PROFILES[profile]) as comet,
    ):
        load = CometLoad(comet, txs, arguments.rate, BATCH[profile], WINDOW[profile])
        return asyncio.run(load.run(arguments.seconds))


def ratios(ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, float | None]:
    """Ours divided by theirs: above 1 is faster for a rate, dearer for the rest."""
    return {
        "tx_per_s": _ratio(ours["tx_per_s"], theirs["tx_per_s"]),
        "cpu_us_per_tx_per_node": _ratio(ours["cpu_us_per_tx_per_node"], theirs["cpu_us_per_tx_per_node"]),
        "rss_anon_mb": _ratio(max(ours["rss_anon_mb"]), max(theirs["rss_anon_mb"])),
    }


def _ratio(ours: float | None, theirs: float | None) -> float | None:
    return round(ours / theirs, 2) if ours and theirs else None


def show(found: dict[str, Any]) -> None:
    print(f"machine  {found['machine']}")
    print(f"seed     {found['seed']}    transactions of {found['tx_bytes']} bytes    CometBFT {found['cometbft']}")
    print(f"command  {found['command']}")
    print(
        f"{'who':<22}{'nodes':>6}{'tx/s':>9}{'p50 ms':>9}{'p95 ms':>9}{'us/tx/node':>12}{'RSS MB':>9}{'block ms':>10}{'ratio':>8}"
    )
    for row in found["runs"]:
        _line("hce", row["hce"], None)
        for profile, one in row["cometbft"].items():
            _line(f"cometbft {profile}", one, row["ratios"][profile]["tx_per_s"])
    for line in found["difference_in_work"]:
        print(f"- {line}")


def _line(who: str, one: dict[str, Any], ratio: float | None) -> None:
    latency, interval = one["latency_ms"], one["block_interval_ms"]["p50"]
    numbers = f"{one['nodes']:>6}{one['tx_per_s']:>9}{latency['p50'] or 0:>9}{latency['p95'] or 0:>9}"
    more = f"{one['cpu_us_per_tx_per_node'] or 0:>12}{max(one['rss_anon_mb']):>9}{interval or 0:>10}{ratio or '':>8}"
    print(f"{who:<22}{numbers}{more}")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--nodes", type=int, action="append", help="again for more networks; 1 and 4 without")
    parser.add_argument("--seconds", type=float, default=DEFAULT_SECONDS)
    parser.add_argument("--rate", type=float, help="offered a second to CometBFT; as fast as it goes without")
    parser.add_argument("--profiles", nargs="*", default=list(PROFILES), choices=list(PROFILES))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cache", type=Path, default=Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "hce-bench")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    arguments.nodes = arguments.nodes or [1, 4]
    return arguments


if __name__ == "__main__":
    main()
