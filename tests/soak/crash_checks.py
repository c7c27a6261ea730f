"""What must hold after any number of kills, read from the disks of stopped nodes and through a network that runs again."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct
from tests.soak.crash_load import Items, Promised

from hce.app.devnet.home import Home
from hce.foundation.codec.dagcbor import encode
from hce.foundation.store.appendlog import AppendLog
from hce.foundation.types.clock import SystemClock
from hce.network.runtime.blocklog import MAX_RECORD_BYTES, BlockLog
from hce.service.keyring.keyring import Keyring
from hce.service.ledger.genesis import genesis_block
from hce.service.sdk.network import Network
from hce.service.sdk.owner import Owner, OwnRecords


class Found(Struct):
    """Figures of the checks; every one but the counts of what was looked at should be 0."""

    heights: int = 0
    lost_blocks: int = 0
    """Other blocks of two nodes at one height, and heights a node showed and has no more."""
    lost_transactions: int = 0
    """Reported final and in no block."""
    twice: int = 0
    """In more than one block, or imported into more than one record."""
    lost_records: int = 0
    wrong_bytes: int = 0
    signatures: int = 0
    double_signatures: int = 0
    """(node, height, round, step) with two different things signed."""

    @property
    def faults(self) -> int:
        return (
            self.lost_blocks + self.lost_transactions + self.twice + self.lost_records + self.wrong_bytes + self.double_signatures
        )


@contextmanager
def block_logs(home: Home) -> Iterator[list[BlockLog]]:
    """Of all nodes, which have stopped."""
    genesis = genesis_block(home.genesis())
    logs = [
        AppendLog.open(home.node(index) / "data" / "blocks.log", max_record_bytes=MAX_RECORD_BYTES)
        for index in range(len(home.network()["nodes"]))
    ]
    try:
        yield [BlockLog(log, genesis) for log in logs]
    finally:
        for log in logs:
            log.close()


def check_chains(home: Home, shown: Sequence[int], promised: Promised, found: Found) -> None:
    """Equal blocks at every height of every node, all that a node ever showed, and what was promised in exactly one of them.

    `shown`: the highest height each node said it had. The nodes stopped one after the other, so the last may have more than the first.
    """
    with block_logs(home) as logs:
        found.lost_blocks += sum(max(0, height - log.height) for log, height in zip(logs, shown, strict=True))
        found.heights = max(log.height for log in logs)
        times: Counter[bytes] = Counter()
        for height in range(1, found.heights + 1):
            held = [log.read(height).block for log in logs if height <= log.height]
            found.lost_blocks += len({encode(block) for block in held}) - 1
            times.update(held[0].ledger.health_txs)
    found.lost_transactions += sum(times[raw] == 0 for raw in promised.transactions)
    found.twice += sum(count > 1 for count in times.values())


async def check_records(network: Network, owners: Iterable[Owner], promised: Promised, found: Found) -> None:
    """Owners read what was written for them, without the keyholders: all of it, byte for byte."""
    opened: dict[bytes, Items] = {}
    for owner in owners:
        opened |= _contents(await owner.read_own())
    for name, items in promised.records.items():
        if name not in opened:
            found.lost_records += 1
        elif opened[name] != items:
            found.wrong_bytes += 1


async def check_imports(network: Network, keyring_folder: Path, promised: Promised, found: Found) -> None:
    """Every imported observation is in exactly one record of the custodial account. The gateway has stopped."""
    seen: Counter[str] = Counter()
    with Keyring.open(keyring_folder) as keyring:
        for account in keyring.custodial_accounts():
            owner = Owner(network, SystemClock(), keyring.custodial_keys(account.account_id))
            for items in _contents(await owner.read_own()).values():
                resources = [json.loads(content) for _, content in items]
                seen.update(one["id"] for one in resources if one["resourceType"] == "Observation")
    found.lost_records += sum(seen[name] == 0 for name in promised.observations)
    found.twice += sum(count > 1 for count in seen.values())


def _contents(own: OwnRecords) -> dict[bytes, Items]:
    return {name: [(item.name, item.content) for item in one.manifest.items] for name, one in own.opened.items()}


def check_signatures(lines: Iterable[tuple[str, str]], found: Found) -> None:
    """`lines`: (node, what its witness wrote), see `witness/sitecustomize.py`."""
    signed: defaultdict[tuple[str, int, int, int], set[str | None]] = defaultdict(set)
    for node, line in lines:
        height, round_, step, value = json.loads(line)
        signed[node, height, round_, step].add(value)
        found.signatures += 1
    found.double_signatures += sum(len(values) > 1 for values in signed.values())


def witnessed(folder: Path) -> Iterator[tuple[str, str]]:
    """Everything the witnesses wrote."""
    for path in sorted(folder.iterdir()):
        for line in path.read_text().splitlines():
            yield path.name, line
