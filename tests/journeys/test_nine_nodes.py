"""Networks of several real node processes on this machine: they agree, take turns, lose some, and find together again."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest

from hce.app.devnet import run
from hce.app.devnet.home import Home
from hce.app.preflight import free_ports
from hce.app.supervisor import ProcessPlan, Supervisor
from hce.foundation.crypto.sign import SigningKey
from hce.foundation.store.appendlog import AppendLog
from hce.foundation.types.blocks import Block
from hce.network.runtime.blocklog import MAX_RECORD_BYTES, BlockLog
from hce.service.contracts.value.header import decode_header
from hce.service.ledger.genesis import genesis_block
from hce.service.terms.genesis import Params
from hce.service.terms.payloads import OrganisationCertificate, OrganisationVote
from hce.service.terms.transactions import make_body, sign_tx

LIMIT_S = 60
"""Only a hang reaches this."""
SLOTS = 6
DAY_MS = 24 * 3_600_000


class Nodes:
    """The node processes of one network, and what they say of themselves."""

    def __init__(self, home: Home, supervisor: Supervisor, http: httpx.AsyncClient) -> None:
        self.home = home
        self.supervisor = supervisor
        self.plans: list[ProcessPlan] = run.plans(home)[0]
        self.alive = set(range(len(self.plans)))
        self._http = http

    async def kill(self, *indexes: int) -> None:
        """kill -9."""
        self.alive -= set(indexes)
        for index in indexes:
            await self.supervisor.kill(self.plans[index].name)

    async def restart(self, *indexes: int) -> None:
        await asyncio.gather(*(self.supervisor.restart(self.plans[index].name) for index in indexes))
        self.alive |= set(indexes)

    async def status(self, index: int) -> dict[str, Any]:
        found: dict[str, Any] = (await self._http.get(self.plans[index].url + "/v1/status")).json()
        return found

    async def heights(self) -> list[int]:
        return [found["height"] for found in await asyncio.gather(*map(self.status, sorted(self.alive)))]

    async def all_reach(self, height: int) -> None:
        await self.until(lambda found: all(one["height"] >= height for one in found))

    async def until(self, holds: Callable[[list[dict[str, Any]]], bool]) -> None:
        """Until something is so for the statuses of the living, in node order."""
        deadline = time.monotonic() + LIMIT_S
        while not holds(found := await asyncio.gather(*map(self.status, sorted(self.alive)))):
            assert time.monotonic() < deadline, [(one["node"], one["height"], one["syncing"]) for one in found]
            await asyncio.sleep(0.1)

    async def nobody_blames_anybody(self) -> None:
        """Honest nodes find no fault with one another, whoever died meanwhile."""
        for found in await asyncio.gather(*map(self.status, sorted(self.alive))):
            assert [peer for peer in found["peers"] if peer["faults"]] == []

    async def submit(self, index: int, raw: bytes) -> str:
        answer = await self._http.post(self.plans[index].url + "/v1/health-tx", content=raw)
        assert answer.status_code == 200, answer.text
        name: str = answer.json()["id"]
        return name

    def chain(self, index: int) -> list[Block]:
        """All blocks in a stopped node's log, genesis first."""
        log = AppendLog.open(self.home.node(index) / "data" / "blocks.log", max_record_bytes=MAX_RECORD_BYTES)
        try:
            blocks = BlockLog(log, genesis_block(self.home.genesis()))
            return [blocks.read(height).block for height in range(blocks.height + 1)]
        finally:
            log.close()


@asynccontextmanager
async def network(folder: Path, n: int, block_interval_ms: int) -> AsyncIterator[Nodes]:
    """n nodes, all serving; all stopped afterwards."""
    home = Home(folder / "run")
    run.create(home, free_ports(run.port_count(n)), n, Params(block_interval_ms=block_interval_ms))
    supervisor = Supervisor(home.logs)
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=10) as http:
            nodes = Nodes(home, supervisor, http)
            await run.start_all(supervisor, nodes.plans, lambda key, **fields: pytest.fail(f"{key} {fields}"))
            yield nodes
    finally:
        await supervisor.stop_all()


def author(nodes: Nodes, block: Block) -> int:
    """Who produced it, as the ledger rewards it."""
    operators = [node.operator for node in nodes.home.genesis().node_list]
    return operators.index(decode_header(block.ledger.header.value_head).coinbase)


def check_one_chain(nodes: Nodes, indexes: range) -> list[Block]:
    """The longest log; every other is its beginning, so all state roots are equal height by height."""
    chains = sorted((nodes.chain(index) for index in indexes), key=len)
    for chain in chains:
        assert chain == chains[-1][: len(chain)]
    return chains[-1]


def check_turns(nodes: Nodes, blocks: list[Block]) -> None:
    """Slots of a turn follow one another from 0, by the producer whose turn it is; a turn is left early only by a failed producer."""
    n = len(nodes.plans)
    for block in blocks:
        assert author(nodes, block) == block.header.turn % n
    for before, after in pairwise(block.header for block in blocks):
        following = (before.turn, before.slot + 1) if before.slot + 1 < SLOTS else (before.turn + 1, 0)
        skipping = after.slot == 0 and after.turn > following[0]
        assert (after.turn, after.slot) == following or skipping, (before.height, before.turn, before.slot, after.turn, after.slot)


def turns_of(blocks: list[Block]) -> dict[int, int]:
    """Turn -> blocks in it."""
    return {turn: len(list(group)) for turn, group in groupby(block.header.turn for block in blocks)}


def any_vote(nodes: Nodes, index: int, height: int) -> bytes:
    """A transaction that needs no payer: a node's vote for an organisation."""
    now_ms = time.time_ns() // 1_000_000
    key = SigningKey(os.urandom(32)).public
    certificate = OrganisationCertificate(key, bytes(1216), "Harbour", "CN", "hospital", ["read"], now_ms - DAY_MS, now_ms + DAY_MS)
    voter = SigningKey(nodes.home.node_keys(index).service)
    vote = OrganisationVote(certificate, True, voter.public)
    return sign_tx(make_body(nodes.home.genesis().chain, "organisation.vote", vote, None, height + 100), [("node", voter)])


@pytest.mark.slow
async def test_four_nodes_go_on_without_one_that_was_killed_and_it_catches_up(tmp_path: Path) -> None:
    async with network(tmp_path, 4, block_interval_ms=150) as nodes:
        await nodes.all_reach(3)
        await nodes.kill(2)
        killed_at = max(await nodes.heights())
        await nodes.all_reach(killed_at + 4 * SLOTS)
        await nodes.restart(2)
        await nodes.all_reach(max(await nodes.heights()) + 2 * SLOTS)
        await nodes.until(lambda found: not any(one["syncing"] for one in found))
        await nodes.nobody_blames_anybody()
    blocks = check_one_chain(nodes, range(4))
    check_turns(nodes, blocks[1:])
    without = [block for block in blocks[1:] if killed_at + SLOTS < block.header.height <= killed_at + 4 * SLOTS]
    assert {author(nodes, block) for block in without} == {0, 1, 3}


@pytest.mark.slow
async def test_nine_nodes_take_turns_of_six_and_halt_and_resume_by_themselves(tmp_path: Path) -> None:
    async with network(tmp_path, 9, block_interval_ms=200) as nodes:
        await nodes.all_reach(SLOTS + 1)
        assert all(len(found["peers"]) == 8 for found in await asyncio.gather(*map(nodes.status, range(9))))
        vote = any_vote(nodes, 7, SLOTS)
        name = await nodes.submit(7, vote)

        await nodes.kill(3, 5)
        two_down_at = max(await nodes.heights())
        await nodes.all_reach(two_down_at + 7 * SLOTS)
        await nodes.kill(8)
        halted_at = max(await nodes.heights())
        await asyncio.sleep(3)  # fifteen intervals: six of nine are no quorum, so nothing can come
        assert max(await nodes.heights()) <= halted_at + 1

        await nodes.restart(5)
        await nodes.all_reach(halted_at + 3)
        await nodes.restart(3, 8)
        await nodes.all_reach(max(await nodes.heights()) + 3)
        await nodes.nobody_blames_anybody()
    blocks = check_one_chain(nodes, range(9))
    check_turns(nodes, blocks[1:])
    check_lap_without(nodes, [block for block in blocks if SLOTS < block.header.height <= halted_at], two_down_at, {3, 5})
    including = next(block for block in blocks if vote in block.ledger.health_txs)
    assert author(nodes, including) != 7, f"{name} came to the producer through its peers"


def check_lap_without(nodes: Nodes, blocks: list[Block], since: int, dead: set[int]) -> None:
    """A dead producer's whole turn is left out at once: nobody else's turn is shortened, and nothing but its own turns is missing."""
    later = [block for block in blocks if block.header.height > since]
    whole = turns_of(later)
    first, last = min(whole), max(whole)
    missing = [turn for turn in range(first + 1, last) if turn not in whole]
    assert missing, "the lap was long enough to meet a dead producer"
    assert {turn % len(nodes.plans) for turn in missing} <= dead
    assert {whole[turn] for turn in whole if first < turn < last} == {SLOTS}
