"""A node that may have forgotten revocations it had seen releases nothing until it must know them again."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.service.ledger.chain import (
    ALICE,
    HCET,
    PARAMS,
    START_MS,
    UNTIL,
    Chain,
    grant_name,
    health_tx,
    open_grant,
    pay,
    revoke_grant,
    tank,
    vote,
)

from hce.app.doubt import Doubt, taking
from hce.app.rejoin import BLOCKS_ABOVE, SAFE_MS, has_begun
from hce.foundation.codec.dagcbor import decode, encode
from hce.foundation.types.errors import Unavailable
from hce.service.keyholders import hearing
from hce.service.keyholders.revoked import RevokedSet
from hce.service.terms.payloads import GrantRevoke

NODES, ENOUGH = 9, 6
LOST_MS = START_MS
SAFE = [(height, START_MS + SAFE_MS + 1) for height in range(10, 10 + BLOCKS_ABOVE + 1)]
"""Blocks after which whatever was on its way has arrived."""


async def at_once(function: Callable[..., Any], *arguments: Any) -> Any:
    return function(*arguments)


class Node:
    """A ledger and its list. A pool is memory: a node that started again has only its list."""

    def __init__(self, folder: Path, stack: ExitStack, lost_ms: int | None = None) -> None:
        self.revoked = RevokedSet.open(folder / "revoked", lost_ms=lost_ms)
        stack.callback(self.revoked.close)
        self.chain = Chain(folder / "ledger", on_revokes=self.revoked.add)
        stack.callback(self.chain.close)

    def height(self) -> int:
        return self.chain.ledger.height


class Nodes:
    """Nine with the same two grants; requests go through memory. Node 0 has lost its list."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.all = [Node(folder / str(index), stack, LOST_MS if index == 0 else None) for index in range(NODES)]
        for node in self.all:
            node.chain.add([vote("clinic", UNTIL)], [pay(ALICE, tank("clinic"), HCET, 0)])
            node.chain.add([open_grant(name, "clinic", UNTIL) for name in ("g", "h")])
        self.handlers: dict[int, Callable[[int, bytes], Awaitable[bytes]]] = {}
        self.away: set[int] = set()
        self.lies: dict[int, Callable[[Any], Any]] = {}
        self.asked: list[int] = []
        for index, node in enumerate(self.all):
            hearing.serve(node.revoked, node.height, Channel(self, index), at_once)

    def doubt(self, index: int = 0, **options: Any) -> Doubt:
        node = self.all[index]
        peers = [peer for peer in range(NODES) if peer != index]
        asking = hearing.Hearing(
            peers=peers,
            enough=ENOUGH,
            channel=Channel(self, index),
            worker=at_once,
            take=taking(node.chain.ledger),
            height=node.height,
            **options,
        )
        return Doubt(node.revoked, asking, PARAMS.replay_window, at_once, again_s=0.0)

    def see(self, revocation: bytes, *indices: int) -> None:
        for index in indices:
            self.all[index].chain.ledger.revoke_seen(revocation)


class Channel:
    def __init__(self, nodes: Nodes, index: int) -> None:
        self._nodes, self._index = nodes, index

    async def request(self, peer: int, method: str, payload: bytes, timeout_s: float) -> bytes:
        await asyncio.sleep(0)
        self._nodes.asked.append(peer)
        if peer in self._nodes.away:
            raise Unavailable(peer=peer)
        answer = await self._nodes.handlers[peer](self._index, payload)
        lie = self._nodes.lies.get(peer)
        return answer if lie is None else encode(lie(decode(answer)))

    def serve(self, method: str, handler: Callable[[int, bytes], Awaitable[bytes]], *, max_request_bytes: int) -> None:
        self._nodes.handlers[self._index] = handler


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Nodes]:
    with ExitStack() as stack:
        yield Nodes(tmp_path, stack)


async def told(doubt: Doubt, blocks: list[tuple[int, int]]) -> None:
    for height, time_ms in blocks:
        await doubt.block_is_final(height, time_ms)


async def some_rounds(doubt: Doubt) -> bool:
    """Whether it is over after it could ask many times."""
    running = asyncio.create_task(doubt.run())
    for _ in range(2_000):
        await asyncio.sleep(0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    return not doubt.is_open


async def test_a_revocation_no_block_holds_yet_is_known_again_before_anything_is_released(nodes: Nodes) -> None:
    nodes.see(revoke_grant("g", UNTIL), 6, 7, 8)
    doubt, node = nodes.doubt(), nodes.all[0]
    await told(doubt, [(9, START_MS + 1_000), (10, START_MS + SAFE_MS), *SAFE])
    assert doubt.is_open, "time alone says nothing about what waits for a block"
    nodes.away = {1, 2}
    assert await some_rounds(doubt), "six of nine are enough: three honest nodes saw it besides this one"
    assert grant_name("g") in node.revoked
    assert grant_name("h") not in node.revoked
    assert node.revoked.lost_ms is None
    assert node.chain.propose().health_txs == [revoke_grant("g", UNTIL)], "and it finds its block"


async def test_nobody_is_asked_while_what_was_on_its_way_may_still_arrive(nodes: Nodes) -> None:
    doubt = nodes.doubt()
    await told(doubt, [(9, START_MS + SAFE_MS), *SAFE[:-1]])
    assert not await some_rounds(doubt)
    assert nodes.asked == []


async def test_too_few_that_are_heard_are_not_enough_until_the_replay_window_has_passed(nodes: Nodes) -> None:
    nodes.away = {1, 2, 3}
    doubt = nodes.doubt()
    await told(doubt, SAFE)
    assert not await some_rounds(doubt)
    first = SAFE[0][0]
    later = [(height, START_MS + 2 * SAFE_MS) for height in range(SAFE[-1][0] + 1, first + PARAMS.replay_window + 1)]
    await told(doubt, later[:-1])
    assert doubt.is_open
    await told(doubt, later[-1:])
    assert not doubt.is_open
    assert nodes.all[0].revoked.lost_ms is None


async def test_after_a_restart_the_window_is_not_waited_for_from_its_beginning(nodes: Nodes) -> None:
    nodes.away = set(range(1, NODES))
    doubt = nodes.doubt()
    first, window = SAFE[0][0], PARAMS.replay_window
    doubt.has_seen((height, START_MS + 2 * SAFE_MS) for height in range(first, first + window))
    await told(doubt, [(first + window, START_MS + 3 * SAFE_MS)])
    assert not doubt.is_open


async def test_who_lost_its_own_list_is_listened_to_and_not_counted(nodes: Nodes) -> None:
    nodes.see(revoke_grant("g", UNTIL), 1)
    for index in (1, 2, 3):
        nodes.all[index].revoked.doubt(LOST_MS)
    doubt = nodes.doubt()
    await told(doubt, SAFE)
    assert not await some_rounds(doubt), "four of nine have lost their lists: nobody can know what all four saw"
    assert grant_name("g") in nodes.all[0].revoked
    nodes.all[1].revoked.known_again()
    assert await some_rounds(doubt)


def other_key(answer: Any) -> Any:
    forged = health_tx("grant.revoke", GrantRevoke(grant_name("g")), [("revoke_key", "h revoke")], None, UNTIL)
    return [[forged], *answer[1:]]


def other_kind(answer: Any) -> Any:
    return [[open_grant("i", "clinic", UNTIL)], *answer[1:]]


def unknown_grant(answer: Any) -> Any:
    return [[revoke_grant("nobody's", UNTIL)], *answer[1:]]


def far_ahead(answer: Any) -> Any:
    return [*answer[:3], 1 << 40]


@pytest.mark.parametrize("lie", [other_key, other_kind, unknown_grant, far_ahead])
async def test_a_lie_makes_nothing_refused_and_its_teller_silent(nodes: Nodes, lie: Any) -> None:
    nodes.lies = {1: lie, 2: lie, 3: lie}
    doubt = nodes.doubt()
    await told(doubt, SAFE)
    assert not await some_rounds(doubt)
    assert len(nodes.all[0].revoked) == 0
    nodes.lies = {}
    assert await some_rounds(doubt)


async def test_a_peer_that_pages_for_ever_ends(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hearing, "MAX_SIGNED", 3)
    monkeypatch.setattr(hearing, "MAX_PAGES", 4)
    grown = iter(range(1, 1_000))
    nodes.lies = {1: lambda answer: [[revoke_grant("g", UNTIL)] * 3, next(grown).to_bytes(32, "big"), *answer[2:]]}
    doubt = nodes.doubt()
    await told(doubt, SAFE)
    assert await some_rounds(doubt), "the others are heard all the same"
    assert nodes.asked.count(1) == 4


async def test_more_than_one_page_is_heard_to_the_end(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hearing, "MAX_SIGNED", 1)
    nodes.see(revoke_grant("g", UNTIL), 8)
    nodes.see(revoke_grant("h", UNTIL), 8)
    doubt = nodes.doubt()
    await told(doubt, SAFE)
    assert await some_rounds(doubt)
    assert len(nodes.all[0].revoked) == 2


async def test_who_forgot_one_because_a_block_holds_it_is_heard_when_this_node_has_the_block(nodes: Nodes) -> None:
    revocation = revoke_grant("g", UNTIL)
    for node in nodes.all[1:]:
        node.chain.add([revocation])
        node.revoked.forget([grant_name("g")])
    doubt = nodes.doubt()
    await told(doubt, SAFE)
    assert not await some_rounds(doubt)
    nodes.all[0].chain.add([revocation])
    assert await some_rounds(doubt)


async def test_a_revocation_that_is_final_here_already_is_settled(nodes: Nodes) -> None:
    revocation = revoke_grant("g", UNTIL)
    nodes.see(revocation, *range(1, NODES))
    nodes.all[0].chain.add([revocation])
    doubt = nodes.doubt()
    await told(doubt, SAFE)
    assert await some_rounds(doubt)


def test_a_revocation_is_kept_with_its_signed_bytes_whatever_way_it_came(nodes: Nodes) -> None:
    by_block, at_the_door, told = nodes.all[:3]
    revocation = revoke_grant("g", UNTIL)
    by_block.chain.add([revocation])
    at_the_door.chain.ledger.check_tx(revocation)
    told.chain.ledger.revoke_seen(revocation)
    for node in (by_block, at_the_door, told):
        assert node.revoked.page(b"", 10) == [(grant_name("g"), revocation)]
        assert node.revoked.page(grant_name("g"), 10) == []


async def test_a_node_that_never_lost_its_list_asks_nobody(nodes: Nodes) -> None:
    doubt = nodes.doubt(1)
    assert not doubt.is_open
    await doubt.run()
    assert nodes.asked == []


@pytest.mark.parametrize(
    "left", ["ledger", "placements", "mailbox", "packs", "blocks.log.damaged-1", "ledger.damaged-2", "restored.json"]
)
def test_a_node_whose_block_log_is_lost_is_not_taken_for_new(left: str, tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "sign").mkdir(parents=True)
    (data / "sign" / "sign-state").touch()
    assert not has_begun(data, 4), "a network that was just made"
    (data / left).mkdir()
    assert has_begun(data, 4)
    shutil.rmtree(data / left)
    shutil.rmtree(data / "sign")
    assert has_begun(data, 4), "the sign state is made with the network"
    assert not has_begun(data, 1)
    shutil.rmtree(data)
    assert has_begun(data, 4), "a new disk"
    assert not has_begun(data, 1)
