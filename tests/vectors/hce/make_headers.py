"""Writes `headers.json`: the story of `health.json` on a whole ledger, one transaction a block, with the header of every block.

.venv/bin/python -m tests.vectors.hce.make_headers

Receipts name the steps of each transaction and the fee they cost, and tanks pay it: a header holds the roots of both. So whoever changes
a weight (`service/contracts/health/steps.py`) or anything else a block means changes headers here, and needs another rules version.
Bytes are hex after `0x`.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from tests.service.contracts.world import CHAIN, START_MS, World
from tests.service.ledger.chain import ALICE, EIP155, HCET, address_of, pay
from tests.vectors.hce.make_health import shown, story

from hce.foundation.codec.cid import cid_of_raw
from hce.foundation.codec.dagcbor import encode
from hce.foundation.store.kv import KeyValueStore
from hce.foundation.types.blocks import RULES_VERSION
from hce.foundation.types.scalars import amount_to_bytes
from hce.network.consensus.application import BlockContext
from hce.service.ledger.ledger import Ledger
from hce.service.terms.genesis import TOTAL_SUPPLY_AHCE, Genesis, GenesisBalance, GenesisNode, Params
from hce.service.terms.payloads import tank_address
from hce.service.terms.states import KeyholderState

FILE = Path(__file__).with_name("headers.json")
EPOCH = 3
"""Of a world."""


def vectors() -> dict[str, Any]:
    """The whole file."""
    world = World(1)
    world.height, world.params = 2, Params(anchor_blocks=10)
    genesis = _genesis(world)
    with tempfile.TemporaryDirectory() as folder, KeyValueStore.open(Path(folder), tables=Ledger.tables()) as store:
        Ledger.create(store, genesis)
        ledger = Ledger(store, genesis, on_revokes=lambda _: None, monotonic_ns=lambda: 0)
        blocks = [{"name": "pay a tank"} | _final(ledger, pay(ALICE, tank_address(world.org("clinic")), HCET, 0))]
        for name, tx in story(world):
            while ledger.height + 1 < world.height:
                _final(ledger, b"")
            blocks.append({"name": name} | _final(ledger, tx.raw))
            world.run(tx)
            world.next_block()
    return {
        "about": "docs/formats.md, section Blocks; the weights: docs/adr/0013",
        "rules_version": RULES_VERSION,
        "genesis": shown(encode(genesis)),
        "blocks": blocks,
    }


def _genesis(world: World) -> Genesis:
    half = amount_to_bytes(TOTAL_SUPPLY_AHCE // 2)
    return Genesis(
        version=1,
        chain=CHAIN,
        eip155_id=EIP155,
        time_ms=START_MS,
        params=world.params,
        nodes=[GenesisNode(world.nodes[0], b"")],
        balances=[GenesisBalance(address, half) for address in (tank_address(world.org("clinic")), address_of(ALICE))],
        keyholders=KeyholderState(bytes(32), 1, bytes(32), [bytes(32)], 0),
    )


def _final(ledger: Ledger, raw: bytes) -> dict[str, Any]:
    """The next block, with this transaction or none, and what it leaves."""
    height = ledger.height + 1
    operator, parent = bytes(20), cid_of_raw(b"block %d" % (height - 1))
    context = BlockContext(height, EPOCH, START_MS + 1_000 * height, operator, parent)
    if raw:
        ledger.check_tx(raw)
    block = ledger.prepare_proposal(context)
    assert [*block.health_txs, *block.value_txs] == [raw] * bool(raw)
    header = ledger.finalize(context, block)
    ledger.commit(height)
    results = ledger.queries.results_at(height)
    return {
        "height": height,
        "time_ms": context.time_ms,
        "transaction": shown(raw),
        "receipts": [{"ok": one.ok, "code": one.code, "steps": one.steps, "fee": shown(one.fee)} for one in results.health],
        "header": shown(encode(header)),
    }


if __name__ == "__main__":
    FILE.write_text(json.dumps(vectors(), indent=1) + "\n")
