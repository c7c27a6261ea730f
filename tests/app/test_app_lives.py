"""Lives of a node: what contradicts its block log is made anew from it, without anybody's help."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lmdb
import msgspec
import pytest

from hce.app.devnet.home import Home
from hce.app.devnet.run import create, port_count
from hce.app.lives import run_node
from hce.app.mending import forget_ledger
from hce.app.preflight import free_ports
from hce.app.rejoin import ledger_identity
from hce.foundation.store.kv import KeyValueStore
from hce.network.consensus.application import BlockContext
from hce.network.consensus.messages import block_id_of
from hce.network.runtime.errors import ExecutionDiffers
from hce.service.ledger.genesis import genesis_block
from hce.service.ledger.headers import execution_env
from hce.service.ledger.ledger import Ledger
from hce.service.terms.genesis import Params

LIMIT_S = 60


def home_of_one(folder: Path) -> tuple[Home, int]:
    home = Home(folder / "home")
    ports = free_ports(port_count(1))
    create(home, ports, 1, Params(block_interval_ms=50))
    return home, ports[0]


async def run_until(home: Home, port: int, enough: Callable[[Ledger], bool]) -> Ledger:
    """Lives of the node, until a ledger of it satisfies."""
    made: list[Ledger] = []

    def make(*arguments: Any, **named: Any) -> Ledger:
        made.append(Ledger(*arguments, **named))
        return made[-1]

    running = asyncio.create_task(run_node(home, 0, port, make))
    async with asyncio.timeout(LIMIT_S):
        while not (running.done() or (made and enough(made[-1]))):
            await asyncio.wait([running], timeout=0.02)
    if not running.done():
        os.kill(os.getpid(), signal.SIGTERM)
    await running
    return made[-1]


def height_of(ledger: Ledger) -> int:
    try:
        return ledger.height
    except lmdb.Error:  # its files are closed between two lives
        return 0


def given_up_block(home: Home, folder: Path, blocks: int) -> None:
    """A ledger as one of a fork that was given up leaves it: other blocks of the same chain."""
    genesis = home.genesis()
    with KeyValueStore.open(folder, tables=Ledger.tables(), identity=ledger_identity(genesis, 0), map_size=1 << 24) as store:
        Ledger.create(store, genesis)
        ledger = Ledger(store, genesis, on_revokes=lambda _: None, monotonic_ns=lambda: 0)
        parent = block_id_of(genesis_block(genesis).header)
        for height in range(1, blocks + 1):
            context = BlockContext(height, 0, genesis.time_ms + height, genesis.node_list[0].operator, parent)
            ledger.finalize(context, ledger.prepare_proposal(context))
            ledger.commit(height)


async def test_a_ledger_of_other_blocks_than_the_logs_is_made_anew_from_the_log(tmp_path: Path) -> None:
    home, port = home_of_one(tmp_path)
    data = home.node(0) / "data"
    await run_until(home, port, lambda ledger: height_of(ledger) >= 4)
    shutil.rmtree(data / "ledger")
    given_up_block(home, data / "ledger", 2)
    await run_until(home, port, lambda ledger: height_of(ledger) >= 6)
    assert (data / "ledger.damaged-1").exists(), "what contradicted is kept for whoever wants to look"
    shutil.rmtree(data / "ledger")
    given_up_block(home, data / "ledger", 3)
    await run_until(home, port, lambda ledger: height_of(ledger) >= 8)
    assert not (data / "ledger.damaged-2").exists(), "once: copies would fill the disk"


async def test_a_node_whose_code_comes_to_other_results_ends_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, port = home_of_one(tmp_path)
    await run_until(home, port, lambda ledger: height_of(ledger) >= 3)
    forget_ledger(home.node(0) / "data")
    monkeypatch.setattr("hce.service.ledger.ledger.execution_env", other_env)
    with pytest.raises(ExecutionDiffers):
        await run_until(home, port, lambda ledger: False)


def other_env(*arguments: Any) -> Any:
    env = execution_env(*arguments)
    return msgspec.structs.replace(env, base_fee=env.base_fee + 1)
