"""How many signed transactions one process takes through the ledger: checked, pooled, proposed, validated, final, on disk.

.venv/bin/python -m bench.ledger_local --grants 3000 --transfers 2000

Each grant is a `grant.open` and an `access.open` (four Ed25519 signatures); the network, the votes and the other eight nodes are left out.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.service.ledger.chain import ALICE, CHAIN, EIP155, HCET, Chain, access, open_grant, pay, tank

from hce.foundation.types.blocks import LedgerBlock
from hce.service.ledger.admission import Admission, is_health
from hce.service.ledger.pool import PoolLimits
from hce.service.terms.genesis import Params

SEED = "keys are SHA-256 of their names"


def main() -> None:
    arguments = parse_arguments()
    print(f"machine  {os.cpu_count()} cores, Python {platform.python_version()}, {platform.system()} {platform.machine()}")
    print(f"seed     {SEED}")
    print(f"command  python -m bench.ledger_local {' '.join(sys.argv[1:])}")
    with tempfile.TemporaryDirectory() as folder:
        limits = PoolLimits(value_per_sender=arguments.transfers + 1)
        chain = Chain(Path(folder), params=Params(), pool_limits=limits, monotonic_ns=time.monotonic_ns)
        chain.found("clinic", coins=1_000 * HCET)
        run("grant.open", chain, lambda until: [open_grant(f"g{n}", "clinic", until) for n in range(arguments.grants)])
        run("access.open", chain, lambda until: [access(f"g{n}", n, "clinic", until) for n in range(arguments.grants)])
        run("transfer", chain, lambda until: [pay(ALICE, tank("clinic"), 1, 1 + n) for n in range(arguments.transfers)])
        chain.close()


def run(name: str, chain: Chain, make: Callable[[int], list[bytes]]) -> None:
    """Sign (not counted), then time each step of the way."""
    raws = make(chain.next_height + 500)
    admission = Admission(CHAIN, EIP155)
    stateless = timed(lambda: [(admission.health if is_health(raw) else admission.value)(raw) for raw in raws])
    pooled = timed(lambda: [chain.ledger.check_tx(raw) for raw in raws])
    blocks, proposing, committing = 0, 0.0, 0.0
    while len(chain.ledger.pool):
        made: list[LedgerBlock] = []
        proposing += timed(lambda made=made: made.append(chain.propose()))
        committing += timed(lambda block=made[0]: chain.finish(block))
        blocks += 1
    whole = pooled + proposing + committing
    print(f"{name:<12} {len(raws)} in {blocks} blocks: {len(raws) / whole:.0f}/s in all; us each:", end=" ")
    print(f"stateless checks {us(stateless, raws)}, into the pool {us(pooled, raws)},", end=" ")
    print(f"propose {us(proposing, raws)}, finalize and commit {us(committing, raws)}")


def us(seconds: float, raws: list[bytes]) -> int:
    return round(seconds / len(raws) * 1e6)


def timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--grants", type=int, default=3_000, help="grants opened, and read once each")
    parser.add_argument("--transfers", type=int, default=2_000, help="transfers of one account")
    return parser.parse_args()


if __name__ == "__main__":
    main()
