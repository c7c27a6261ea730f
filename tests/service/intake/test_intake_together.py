"""Batches stored together: one set of flushes, each with its own receipt, and one that is refused takes none of the others with it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from hce.foundation.codec.dagcbor import encode
from hce.foundation.types.errors import Malformed
from hce.network.hcefs.manifest import disperse, make_manifest
from hce.service.api import taking
from hce.service.api.services import NodeServices
from hce.service.api.taking import Taking
from hce.service.api.workers import Busy
from hce.service.intake.errors import UnadmittedFull
from hce.service.mailbox.errors import AddressFull
from hce.service.mailbox.quotas import Bounds, Quotas
from hce.service.terms.intake import record_ids

TWO_ITEMS = Bounds(1 << 20, 2, 1 << 20, 1 << 20, None)


def batch_of(scene: Any, number: int) -> Any:
    """One record of its own, for the first feed."""
    one = disperse(bytes([number]) * 400, scene.nodes)
    record = scene.record(number, scene.feeds[0])
    return scene.batch(
        placement=encode(make_manifest(scene.chain, [one.placed], scene.nodes)),
        blobs=scene.shards_of_node_0([one]),
        records=[record],
        posts=[scene.post(0, [record], scene.token(0))],
    )


def held(node: Any, scene: Any, batches: list[Any]) -> int:
    names = [name for batch in batches for name in record_ids(batch)]
    return len(node.mailbox.read(scene.read("envelopes", 0, scene.readers[0], names)).found)


class Counting:
    """Flushes of one process."""

    def __init__(self) -> None:
        self.flushes = 0

    def sync(self, descriptor: int) -> None:
        self.flushes += 1

    def commit(self, transaction: Any) -> None:
        self.flushes += 1
        transaction.commit()


def test_many_batches_take_as_many_flushes_as_one(scene: Any, tmp_path: Path) -> None:
    counting = Counting()
    with scene.node(tmp_path / "node", counting) as node:
        node.intake.accept(batch_of(scene, 1))  # the first pack file is made
        before = counting.flushes
        node.intake.accept(batch_of(scene, 2))
        of_one, before = counting.flushes - before, counting.flushes
        batches = [batch_of(scene, number) for number in range(3, 10)]
        receipts = node.intake.keep([node.intake.check(batch) for batch in batches])
        assert counting.flushes - before == of_one
        assert held(node, scene, batches) == 7
        assert receipts == [node.intake.accept(batch) for batch in batches]


def test_a_full_address_refuses_what_does_not_fit_and_nothing_else(scene: Any, tmp_path: Path) -> None:
    with scene.node(tmp_path / "node", quotas=Quotas(feed=TWO_ITEMS)) as node:
        batches = [batch_of(scene, number) for number in range(3)]
        *taken, refused = node.intake.keep([node.intake.check(batch) for batch in batches])
        assert isinstance(refused, AddressFull)
        assert held(node, scene, batches) == 2
        assert taken == [node.intake.accept(batch) for batch in batches[:2]]


def test_unadmitted_bytes_of_batches_stored_together_are_counted_together(scene: Any, tmp_path: Path) -> None:
    scene.max_unadmitted_bytes = 40_000
    with scene.node(tmp_path / "node") as node:
        batches = [batch_of(scene, number) for number in range(4)]
        receipts = node.intake.keep([node.intake.check(batch) for batch in batches])
        assert [isinstance(receipt, UnadmittedFull) for receipt in receipts] == [False, False, True, True]
        assert held(node, scene, batches) == 2


def test_the_same_batch_twice_in_one_turn_is_stored_once(scene: Any, node: Any) -> None:
    batch = batch_of(scene, 1)
    first, second = node.intake.keep([node.intake.check(batch), node.intake.check(batch)])
    assert first == second
    assert held(node, scene, [batch]) == 1


class Turns:
    """Workers that hold everything until they are let go."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.kept: list[int] = []

    async def __call__(self, function: Callable[..., Any], *arguments: Any) -> Any:
        if arguments:
            await self.go.wait()
            self.kept.append(len(arguments[0]))
        return function(*arguments)


def taking_with(node: Any, turns: Turns) -> Taking:
    return Taking(cast(NodeServices, SimpleNamespace(intake=node.intake, worker=turns)))


async def begun(turns: Awaitable[Any] | Any) -> Any:
    task = asyncio.ensure_future(turns)
    await asyncio.sleep(0)
    return task


async def test_what_comes_while_others_are_stored_is_stored_together(scene: Any, node: Any) -> None:
    turns = Turns()
    taking_in = taking_with(node, turns)
    batches = [batch_of(scene, number) for number in range(5)]
    tasks = [await begun(taking_in.take(encode(batch))) for batch in batches]
    turns.go.set()
    receipts = await asyncio.gather(*tasks)
    assert turns.kept == [1, 4]
    assert receipts == [node.intake.accept(batch) for batch in batches]


async def test_a_batch_that_does_not_check_is_refused_before_it_waits(scene: Any, node: Any) -> None:
    turns = Turns()
    turns.go.set()
    taking_in = taking_with(node, turns)
    with pytest.raises(Malformed):
        await taking_in.take(b"\x80")
    good = batch_of(scene, 1)
    assert await taking_in.take(encode(good)) == node.intake.accept(good)
    assert turns.kept == [1]


async def test_who_went_away_and_who_is_refused_hold_up_nobody(scene: Any, tmp_path: Path) -> None:
    with scene.node(tmp_path / "node", quotas=Quotas(feed=TWO_ITEMS)) as node:
        turns = Turns()
        taking_in = taking_with(node, turns)
        tasks = [await begun(taking_in.take(encode(batch_of(scene, number)))) for number in range(3)]
        tasks[1].cancel()
        turns.go.set()
        first, gone, refused = await asyncio.gather(*tasks, return_exceptions=True)
        assert first.node == 0
        assert isinstance(gone, asyncio.CancelledError)
        assert isinstance(refused, AddressFull)
        assert held(node, scene, [batch_of(scene, 1)]) == 1  # it had been handed over


async def test_the_line_is_bounded(scene: Any, node: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(taking, "MAX_WAITING", 2)
    turns = Turns()
    taking_in = taking_with(node, turns)
    tasks = [await begun(taking_in.take(encode(batch_of(scene, number)))) for number in range(3)]
    with pytest.raises(Busy):
        await taking_in.take(encode(batch_of(scene, 4)))
    turns.go.set()
    assert len(await asyncio.gather(*tasks)) == 3
