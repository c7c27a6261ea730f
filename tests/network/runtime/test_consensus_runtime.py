"""One node on a real event loop with real files: it makes blocks, stops, and goes on with the same chain."""

from __future__ import annotations

import asyncio
import os

import pytest
from tests.simulate.world import CHAIN, CounterApp, CounterDisk, genesis_block, make_nodes, signing_key

from hce.foundation.store.appendlog import AppendLog
from hce.foundation.types.clock import SystemClock
from hce.foundation.types.errors import Refused
from hce.network.consensus.commit import verify_commit
from hce.network.runtime.blocklog import BlockLog
from hce.network.runtime.errors import BlocksMissing, ExecutionDiffers, SignStateCorrupt
from hce.network.runtime.node import ConsensusRuntime, NoNetwork
from hce.network.runtime.pace import Pace
from hce.network.runtime.signstate import SignState

NODES = make_nodes(1)
KEY = signing_key(0)
FAST = Pace(block_interval_ms=10, propose_timeout_ms=200, vote_timeout_ms=100, timeout_step_ms=50, rebroadcast_ms=200)
LIMIT_S = 20


class OneNode:
    """The files of a lone node in a folder, and a runtime over them."""

    def __init__(
        self, folder, disk: CounterDisk, *, sign_folder: str = "sign", app: CounterApp | None = None, pace=FAST, sync=os.fsync
    ) -> None:
        self.records = AppendLog.open(folder / "blocks", sync=sync)
        self.blocklog = BlockLog(self.records, genesis_block(NODES))
        self.signstate = SignState.open(folder / sign_folder, CHAIN, KEY.public, sync)
        self.app = app or CounterApp(NODES, disk)
        self.runtime = ConsensusRuntime(
            chain=CHAIN,
            nodes=NODES,
            my_index=0,
            key=KEY,
            app=self.app,
            blocklog=self.blocklog,
            signstate=self.signstate,
            clock=SystemClock(),
            network=NoNetwork(),
            pace=pace,
        )
        self.heard = []
        self.runtime.on_commit(self.hear)

    async def hear(self, block, commit) -> None:
        verify_commit(CHAIN, NODES, block.header, commit)
        self.heard.append(block)

    async def run_to(self, height: int) -> None:
        """Runs until this height is final, then stops cleanly."""

        async def stop_there(block, commit) -> None:
            if block.header.height >= height:
                self.runtime.stop()

        self.runtime.on_commit(stop_there)
        await asyncio.wait_for(self.runtime.run(), LIMIT_S)
        self.close()

    def close(self) -> None:
        self.records.close()
        self.signstate.close()


async def test_a_lone_node_makes_blocks_and_tells_of_each_in_order(tmp_path):
    node = OneNode(tmp_path, CounterDisk())
    await node.run_to(5)
    assert [block.header.height for block in node.heard] == list(range(1, node.blocklog.height + 1))
    assert node.blocklog.height >= 5


async def test_a_restart_goes_on_with_the_same_chain(tmp_path):
    disk = CounterDisk()
    first = OneNode(tmp_path, disk)
    await first.run_to(3)
    head = first.blocklog.head
    second = OneNode(tmp_path, disk)
    assert second.blocklog.head == head
    await second.run_to(head.block.header.height + 3)
    assert second.heard[0].header.height == head.block.header.height + 1
    assert second.app.height == second.blocklog.height


async def test_an_application_that_missed_the_last_blocks_hears_them_again(tmp_path):
    first = OneNode(tmp_path, CounterDisk())
    await first.run_to(4)
    total = first.app._disk.total
    behind = OneNode(tmp_path, CounterDisk())
    behind.runtime.driver.start()
    behind.runtime.stop()
    assert (behind.app.height, behind.app._disk.total) == (first.blocklog.height, total)
    behind.close()


async def test_a_lone_node_whose_log_lacks_what_was_executed_is_refused(tmp_path):
    node = OneNode(tmp_path, CounterDisk(height=9))
    with pytest.raises(BlocksMissing):
        await asyncio.wait_for(node.runtime.run(), LIMIT_S)
    node.close()


async def test_a_node_that_lost_its_sign_state_does_not_sign(tmp_path):
    disk = CounterDisk()
    await OneNode(tmp_path, disk).run_to(2)
    node = OneNode(tmp_path, disk, sign_folder="new-sign")
    with pytest.raises(SignStateCorrupt):
        await asyncio.wait_for(node.runtime.run(), LIMIT_S)
    node.close()


async def test_execution_that_gives_another_header_stops_the_node(tmp_path):
    class Diverging(CounterApp):
        def finalize(self, context, block):
            super().finalize(context, block)
            return self._header(context, [*block.health_txs, b"more"])

    node = OneNode(tmp_path, CounterDisk(), app=Diverging(NODES, CounterDisk()))
    with pytest.raises(ExecutionDiffers):
        await asyncio.wait_for(node.runtime.run(), LIMIT_S)
    node.close()


async def test_a_final_block_that_cannot_be_executed_stops_the_node_by_name(tmp_path):
    class Refusing(CounterApp):
        def finalize(self, context, block):
            raise Refused("its state is another one")

    node = OneNode(tmp_path, CounterDisk(), app=Refusing(NODES, CounterDisk()))
    with pytest.raises(ExecutionDiffers) as stopped:
        await asyncio.wait_for(node.runtime.run(), LIMIT_S)
    assert isinstance(stopped.value.__cause__, Refused)
    node.close()


async def test_an_application_that_knows_another_block_than_the_log_is_named_before_anything_is_executed(tmp_path):
    first = OneNode(tmp_path / "one", CounterDisk())
    await first.run_to(4)
    other = OneNode(tmp_path / "other", CounterDisk())
    await other.run_to(2)
    with pytest.raises(ExecutionDiffers):
        OneNode(tmp_path / "one", other.app._disk)


async def test_a_listener_that_fails_stops_the_node_by_name(tmp_path):
    node = OneNode(tmp_path, CounterDisk())

    async def fail(block, commit) -> None:
        raise LookupError("listener")

    node.runtime.on_commit(fail)
    with pytest.raises(LookupError):
        await asyncio.wait_for(node.runtime.run(), LIMIT_S)
    node.close()


async def test_a_runtime_stopped_before_it_ran_does_nothing(tmp_path):
    node = OneNode(tmp_path, CounterDisk())
    node.runtime.stop()
    await asyncio.wait_for(node.runtime.run(), LIMIT_S)
    assert node.blocklog.height == 0
    node.close()


async def test_transactions_that_wait_are_in_the_next_block(tmp_path):
    node = OneNode(tmp_path, CounterDisk())
    node.app.pool = [b"a transaction"]
    await node.run_to(1)
    assert b"a transaction" in node.heard[0].ledger.health_txs


async def test_a_listener_slower_than_the_chain_hears_all_of_it_and_stops_nothing(tmp_path):
    """As when a node comes back and takes in blocks by the thousand."""
    node = OneNode(tmp_path, CounterDisk(), pace=Pace(block_interval_ms=0), sync=lambda descriptor: None)
    may_go_on = asyncio.Event()

    async def slow(block, commit) -> None:
        await may_go_on.wait()

    node.runtime.on_commit(slow)
    running = asyncio.create_task(node.runtime.run())
    async with asyncio.timeout(LIMIT_S):
        while node.blocklog.height < 1_100:
            assert not running.done()
            await asyncio.sleep(0.01)
        node.runtime.stop()
        may_go_on.set()
        await running
    assert [block.header.height for block in node.heard] == list(range(1, node.blocklog.height + 1))
    node.close()
