"""What one transaction costs a node besides its execution: processor time of one thread, nothing else counted.

.venv/bin/python -m bench.door

The smallest of some rounds, because others run on the machine too. The last rows are a link's both ends, TLS and sockets included.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import uvloop
from msgspec.structs import replace
from tests.network.link.mesh import QUICK, mesh
from tests.service.ledger.chain import ALICE, CHAIN, EIP155, HCET, Chain, open_grant, pay, tank

from hce.foundation.codec.cid import cid_of_dag_cbor
from hce.foundation.codec.dagcbor import decode_as, encode
from hce.foundation.types.blocks import RULES_VERSION, HealthHead, LedgerBlock, LedgerHeader
from hce.service.contracts.value.transactions import decode_value_tx
from hce.service.ledger.pool import PoolLimits
from hce.service.terms.genesis import Params
from hce.service.terms.transactions import HealthTx, check_signatures, parse

ROUNDS = 5
LIST = 50
"""Transactions a request hands to a worker at a time."""
COUNT = 300
BLOCK_HEALTH, BLOCK_VALUE = 450, 50
"""Transactions of the measured block, of 420 and 110 bytes."""
BUNCHES = (1, 5, 50)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        limits = PoolLimits(value_per_sender=COUNT + 1)
        chain = Chain(Path(folder), params=Params(), pool_limits=limits, monotonic_ns=time.monotonic_ns)
        chain.found("clinic", coins=1_000 * HCET)
        lists = [[open_grant(f"g{n}", "clinic", chain.next_height + 300 + i) for n in range(COUNT)] for i in range(ROUNDS)]
        parsed = [parse(raw, CHAIN) for raw in lists[0]]
        transfers = [pay(ALICE, tank("clinic"), 1, 1 + n) for n in range(COUNT)]
        rounds = iter(lists)
        show("into the pool, in lists", COUNT, lambda: take(chain, next(rounds)))
        show("two signatures of it", COUNT, lambda: check_all(parsed))
        show("parsing of it", COUNT, lambda: [parse(raw, CHAIN) for raw in lists[0]])
        show("transfer, sender recovered", COUNT, lambda: [decode_value_tx(raw, EIP155) for raw in transfers])
        chain.close()
    block = full_block()
    raw = encode(block)
    show("encoding a block", BLOCK_HEALTH + BLOCK_VALUE, lambda: encode(block))
    show("decoding a block", BLOCK_HEALTH + BLOCK_VALUE, lambda: decode_as(LedgerBlock, raw))
    uvloop.run(gossip())


def take(chain: Chain, raws: list[bytes]) -> None:
    for start in range(0, len(raws), LIST):
        chain.ledger.check_txs(raws[start : start + LIST])


def check_all(txs: list[HealthTx]) -> None:
    for tx in txs:
        check_signatures(tx)


def full_block() -> LedgerBlock:
    chance = random.Random(1)
    roots = [chance.randbytes(32) for _ in range(5)]
    header = LedgerHeader(RULES_VERSION, bytes(600), HealthHead(*roots[:3]), roots[3], 0, cid_of_dag_cbor(b""), roots[4])
    lists = [[chance.randbytes(size) for _ in range(count)] for count, size in ((BLOCK_HEALTH, 420), (BLOCK_VALUE, 110))]
    return LedgerBlock(header, *lists)


async def gossip() -> None:
    """Both ends of one link, as many at a time as `Link` sends together."""
    async with mesh(2, limits=replace(QUICK, gossip_rest_s=0.0)) as (here, there):
        for size in BUNCHES:
            count = 1_000 // size * size
            fresh = iter([random.randbytes(420) for _ in range(count)])
            began = time.process_time()
            for _ in range(count // size):
                for _ in range(size):
                    here.gossip_tx(next(fresh))
                left = size
                while left:
                    left -= len(await there.receive_transactions(left))
            tell(f"gossip, {size} together", time.process_time() - began, count)
            await asyncio.sleep(0)


def show(name: str, count: int, work: Callable[[], object]) -> None:
    """The quickest round."""
    spent = []
    for _ in range(ROUNDS):
        began = time.thread_time()
        work()
        spent.append(time.thread_time() - began)
    tell(name, min(spent), count)


def tell(name: str, seconds: float, count: int) -> None:
    print(f"{name:<28}{seconds / count * 1e6:7.1f} us")


if __name__ == "__main__":
    main()
