"""Measures the weights of `contracts/health/steps.py`: microseconds per kind and per counted item, against what the meter charges.

.venv/bin/python -m bench.steps --rounds 100 --map-key-us 45

The root of the state map is measured by `bench/authmap.py`; its cost per changed key (compute, apply and commit) comes in here.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import time

from tests.service.contracts.world import CHAIN, World, bytes32, key

from hce.foundation.store.journal import HEALTH
from hce.service.contracts.health import apply, check_stateless
from hce.service.contracts.health.steps import count_steps
from hce.service.terms.payloads import AnchorPost, CompartmentRotate, CredentialRevoke, owner_digest
from hce.service.terms.transactions import HealthTx, parse


def main() -> None:
    arguments = parse_arguments()
    print(f"machine  {os.cpu_count()} cores, Python {platform.python_version()}, {platform.system()} {platform.machine()}")
    print(f"command  python -m bench.steps {' '.join(sys.argv[1:])}")
    print(f"{'transaction':<28}{'median us':>10}{'p99 us':>10}{'steps':>9}{'steps / median':>16}")
    world = World(9)
    for name, tx in transactions(world):
        micros = sorted(measure(world, tx, arguments.map_key_us) for _ in range(arguments.rounds))
        median, slow = statistics.median(micros), micros[len(micros) * 99 // 100]
        print(f"{name:<28}{median:>10.0f}{slow:>10.0f}{count_steps(tx):>9}{count_steps(tx) / median:>16.2f}")


def transactions(world: World) -> list[tuple[str, HealthTx]]:
    """One of each kind on its most expensive way to success, in a network of nine; batches of three sizes."""
    world.next_block(blocks=world.params.anchor_blocks)
    world.certify("clinic")
    world.certify("lab")
    for voter in range(5):
        world.run(world.vote(world.certificate("pharmacy"), voter))
        world.run(world.vote_revoke("lab", voter))
    [nurse] = world.run(world.credential("clinic", "nurse"))
    [owned] = world.run(world.compartment("owner", "recovery", "clinic"))
    [granted] = world.run(world.open_grant("g", world.grant("g"), "clinic"))
    rotate = CompartmentRotate(owned, owner_digest(key("child").public), owner_digest(key("aunt").public))
    batches = [[world.entry(f"{size} {number}") for number in range(size)] for size in (1, 100, 600)]
    return [
        ("organisation.vote", world.vote(world.certificate("pharmacy"), 5)),
        ("organisation.revoke", world.vote_revoke("lab", 5)),
        ("credential.issue", world.credential("clinic", "doctor")),
        ("credential.revoke", world.tx("credential.revoke", CredentialRevoke(nurse, "left"), [("organisation", "clinic")])),
        ("compartment.open", world.compartment("someone", "friend", "clinic")),
        ("compartment.rotate", world.tx("compartment.rotate", rotate, [("recovery", "recovery")])),
        *((f"record.commit, {len(rows)}", world.commit("clinic", world.batch("clinic", rows))) for rows in batches),
        ("grant.open", world.open_grant("new", world.grant("new"), "clinic")),
        ("grant.revoke", world.revoke_grant("g", granted)),
        ("access.open", world.access("g", granted, bytes32("access"), "clinic")),
        (
            "anchor.post",
            world.tx(
                "anchor.post", AnchorPost(0, 1, bytes32("anchor"), key("node 8 service").public), [("node", "node 8 service")]
            ),
        ),
    ]


def measure(world: World, tx: HealthTx, map_key_us: float) -> float:
    """Microseconds of parsing, checking, running and undoing, and of the map's root for the keys it changed."""
    before = world.map()
    started = time.perf_counter()
    fresh = parse(tx.raw, CHAIN)
    check_stateless(fresh, CHAIN)
    mark = world.journal.checkpoint()
    apply(fresh, world.journal, world.env)
    elapsed = time.perf_counter() - started
    changed = sum(before.get(name) != value for name, value in world.journal.changes(HEALTH).items())
    world.journal.rollback(mark)
    return elapsed * 1e6 + changed * map_key_us


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--map-key-us", type=float, default=45.0, help="cost of one changed key, from bench/authmap.py")
    return parser.parse_args()


if __name__ == "__main__":
    main()
