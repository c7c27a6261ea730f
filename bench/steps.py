"""What a step should weigh: microseconds of one transaction of each kind against what the meter charges for it.

.venv/bin/python -m bench.steps --rounds 100 --map-key-us 45

One transaction at a time, in one process, on one core: parsing, checks, execution, its keys' share of the state map's root and, for a
transfer, its share of the two Ethereum tries. The cost of one changed key of the map comes from `bench/authmap.py` (a batch of 3,000).

To set the weights anew, when code or machine changed:

1. `python -m bench.authmap` and then `python -m bench.steps --map-key-us <compute + apply of it>`.
2. `us a step` is what a step costs. The rules say 1 step = 1 us on the reference core, and every kind should stay well below it (0.3 to
   0.5): set `STEPS_OF_...` in `service/contracts/health/steps.py`, `TRANSFER_STEPS` and `ACCESS_ITEM_STEPS` in
   `service/contracts/value/execute.py`.
3. `hce bench worst-block --nodes 1 --json` fills whole blocks with each kind. Its `cpu_us_per_step` is the truth (it holds block, disk and
   consensus), and `worst_cpu_ms` at `block_steps` is what a block can cost. A kind far above the others is charged too little, one far
   below is charged too much; `block_steps` may grow until the worst block takes the time it may take.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import time

from tests.service.contracts.world import CHAIN, World, bytes32, key
from tests.service.ledger.chain import EIP155, GWEI, genesis_of

from hce.app.bench.worst.blocks import ADDRESSES, SLOTS
from hce.app.bench.worst.transactions import Cast, transfer
from hce.foundation.crypto.secp import EthSigningKey
from hce.foundation.store.journal import HEALTH, VALUE, Journal
from hce.service.contracts.health import apply, check_stateless
from hce.service.contracts.health.steps import count_steps
from hce.service.contracts.value.accounts import Account, encode_account
from hce.service.contracts.value.execute import apply_transfer, transfer_steps
from hce.service.contracts.value.transactions import decode_value_tx
from hce.service.contracts.value.tries import ordered_root
from hce.service.terms.genesis import TOTAL_SUPPLY_AHCE, Params
from hce.service.terms.payloads import AnchorPost, CompartmentRotate, CredentialRevoke, PortalRelease, PortalVote, owner_digest
from hce.service.terms.transactions import HealthTx, parse


def main() -> None:
    arguments = parse_arguments()
    print(f"machine  {os.cpu_count()} cores, Python {platform.python_version()}, {platform.system()} {platform.machine()}")
    print(f"command  python -m bench.steps {' '.join(sys.argv[1:])}")
    print(f"{'transaction':<34}{'median us':>10}{'p99 us':>10}{'steps':>9}{'us a step':>11}")
    world = World(9)
    for name, tx in transactions(world):
        show(name, [measure(world, tx, arguments.map_key_us) for _ in range(arguments.rounds)], count_steps(tx))
    for name, raw in transfers():
        steps = transfer_steps(decode_value_tx(raw, EIP155))
        show(name, [measure_transfer(raw, arguments.map_key_us) for _ in range(arguments.rounds)], steps)


def show(name: str, micros: list[float], steps: int) -> None:
    micros.sort()
    median, slow = statistics.median(micros), micros[len(micros) * 99 // 100]
    print(f"{name:<34}{median:>10.0f}{slow:>10.0f}{steps:>9}{median / steps:>11.2f}")


def transactions(world: World) -> list[tuple[str, HealthTx]]:
    """One of each kind on its most expensive way to success, in a network of nine; batches of three sizes."""
    world.next_block(blocks=world.params.anchor_blocks)
    world.certify("clinic")
    world.certify("lab")
    release = PortalRelease(1, bytes32("bundle"), "1.0.0")
    published = [
        world.tx("portal.vote", PortalVote(release, key(name).public), [("node", name)])
        for name in (f"node {voter} service" for voter in range(6))
    ]
    for voter in range(5):
        world.run(published[voter])
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
        ("portal.vote", published[5]),
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


def transfers() -> list[tuple[str, bytes]]:
    """A plain one and the two longest access lists."""
    genesis = genesis_of(Params())
    cast = Cast(seed=1, genesis=genesis, nodes=[], wallet=EthSigningKey(bytes(31) + b"\1"), now_ms=0, valid_until=0)
    to = bytes([7]) * 20
    slots = [(to, [bytes(32)] * SLOTS)]
    addresses: list[tuple[bytes, list[bytes]]] = [(number.to_bytes(20, "big"), []) for number in range(ADDRESSES[0])]
    return [
        ("transfer", transfer(cast, cast.wallet, 0, to, 1)),
        (f"transfer, {SLOTS} storage keys", transfer(cast, cast.wallet, 0, to, 1, slots)),
        (f"transfer, {ADDRESSES[0]} addresses", transfer(cast, cast.wallet, 0, to, 1, addresses)),
    ]


def measure_transfer(raw: bytes, map_key_us: float) -> float:
    """Microseconds of decoding, recovering the sender, running, two trie leaves, and the map's root for the accounts it changed."""
    journal = Journal(lambda _, name: encode_account(Account(0, TOTAL_SUPPLY_AHCE // 2)))
    started = time.perf_counter()
    tx = decode_value_tx(raw, EIP155)
    receipt = apply_transfer(journal, tx, GWEI, bytes([9]) * 20, 0)
    ordered_root([raw])
    ordered_root([receipt.encode()])
    elapsed = time.perf_counter() - started
    return elapsed * 1e6 + len(journal.changes(VALUE)) * map_key_us


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--map-key-us", type=float, default=45.0, help="cost of one changed key, from bench/authmap.py")
    return parser.parse_args()


if __name__ == "__main__":
    main()
