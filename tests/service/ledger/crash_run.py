"""One process with one PYTHONHASHSEED: runs a story of blocks, then kills children of itself at every sync of it and lets others go on.

Prints one JSON object: the header bytes of every height and a digest of every table, which must be those of every other such process.
The story holds transactions of both chains, one that fails, a revocation, and proposals that are thrown away.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

from tests.service.ledger.chain import (
    ALICE,
    BOB,
    HCET,
    UNTIL,
    Chain,
    access,
    address_of,
    enrol,
    open_grant,
    pay,
    revoke_grant,
    tank,
    vote,
)

from hce.foundation.codec.dagcbor import encode
from hce.foundation.types.blocks import LedgerBlock
from hce.service.ledger.final import LEDGER_TABLES

Lists = tuple[list[bytes], list[bytes]]
KILLED = 9
MAX_KILLS = 100

STORY: list[Lists] = [
    ([vote("clinic", UNTIL), vote("rival", UNTIL)], [pay(ALICE, tank("clinic"), HCET, 0), pay(ALICE, tank("rival"), HCET, 1)]),
    ([enrol("owner", "clinic", UNTIL), open_grant("g", "rival", UNTIL)], [pay(BOB, address_of(ALICE), 5, 0)]),
    ([enrol("owner", "rival", UNTIL - 1), access("g", 1, "rival", UNTIL), access("g", 2, "rival", UNTIL)], []),
    ([revoke_grant("g", UNTIL), access("g", 3, "rival", UNTIL)], [pay(BOB, b"\x77" * 20, HCET, 1)]),
    ([], []),
]


class Killer:
    """Counts syncs and ends the process, with nothing cleaned up, right before or right after one of them. 0 never kills."""

    def __init__(self, at: int, when: str) -> None:
        self.at, self.when, self.calls = at, when, 0

    def commit(self, transaction: Any) -> None:
        self._end("before")
        transaction.commit()
        self._end("after")

    def sync(self, grant_ids: list[bytes]) -> None:
        """Stands for the keyholders' fsync of a revocation."""
        self._end("before")
        self._end("after")

    def _end(self, moment: str) -> None:
        if moment == "before":
            self.calls += 1
        if self.calls == self.at and self.when == moment:
            os._exit(KILLED)


def tell(folder: Path) -> list[LedgerBlock]:
    """The story told once, nothing in the way."""
    chain, blocks = Chain(folder), []
    for lists in STORY:
        for raw in (*lists[0], *lists[1]):
            chain.ledger.check_tx(raw)
        blocks.append(chain.propose())
        chain.finish(blocks[-1])
    chain.close()
    return blocks


def follow(folder: Path, blocks: list[LedgerBlock], killer: Killer, *, discard: bool) -> None:
    """Bring a ledger, new or left behind by a kill, to the end of the story."""
    chain = Chain(folder, commit=killer.commit, on_revokes=killer.sync)
    for block in blocks[chain.ledger.height :]:
        context = chain.context()
        if discard:
            for others in (chain.forge(), chain.forge(block.health_txs[:1]), chain.propose()):
                chain.ledger.process_proposal(context, others)
            chain.ledger.process_proposal(context, block)
            chain.ledger.before_precommit(context.parent, block)
        header = chain.ledger.finalize(context, block)
        assert encode(header) == encode(block.header)
        chain.ledger.commit(context.height)
    chain.close()


def dump(folder: Path) -> str:
    """Digest of every table."""
    chain = Chain(folder)
    with chain.store.read() as snapshot:
        content = [[table, [list(pair) for pair in snapshot.scan(table)]] for table in LEDGER_TABLES]
    chain.close()
    return hashlib.sha256(encode(content)).hexdigest()


def killed_at(folder: Path, blocks: list[LedgerBlock], at: int, when: str) -> bool:
    """Follow in a child that dies at its `at`-th sync; False when it came to its end before."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            follow(folder, blocks, Killer(at, when), discard=True)
            code = 0
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, KILLED)
    return code == KILLED


def main(folder: Path) -> None:
    blocks = tell(folder / "reference")
    reference = dump(folder / "reference")
    follow(folder / "discards", blocks, Killer(0, ""), discard=True)
    follow(folder / "fresh", blocks, Killer(0, ""), discard=False)
    assert dump(folder / "discards") == dump(folder / "fresh") == reference
    kills = 0
    for when in ("before", "after"):
        for at in range(1, MAX_KILLS):
            killed = killed_at(folder / f"{when}-{at}", blocks, at, when)
            follow(folder / f"{when}-{at}", blocks, Killer(0, ""), discard=False)
            assert dump(folder / f"{when}-{at}") == reference
            if not killed:
                break
            kills += 1
    print(json.dumps({"headers": [encode(block.header).hex() for block in blocks], "tables": reference, "kills": kills}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
