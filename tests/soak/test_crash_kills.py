"""kill -9 on real processes under load: a sample in every test run, hundreds in `make soak` (docs/reliability.md, section Crash)."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path

import httpx
import pytest
from tests.soak.crash_checks import Found, check_signatures, witnessed
from tests.soak.crash_kills import Crash, crashing_network, measure

from hce.app.devnet.home import Home
from hce.app.rejoin import SAFE_MS, give_up_watch
from hce.foundation.store.appendlog import HEADER_BYTES
from hce.service.terms.genesis import Params

QUICK = Params(block_interval_ms=300)
SOAK = os.environ.get("HCE_SOAK") == "1"
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
"""A connection that is made while its request is given up (anyio's `connect_tcp`) is closed by the garbage collector; among hundreds of
killed processes that happens."""


def require_nothing_lost(figures: dict[str, dict[str, int]]) -> None:
    found = figures["found"]
    assert found["signatures"] > found["heights"] > 0, "the witnesses and the logs were there"
    promised = figures["promised"]
    assert min(promised["transactions"], promised["records"], promised["imported"]) > 0, "and so was the load"
    faults = ("lost_blocks", "lost_transactions", "twice", "lost_records", "wrong_bytes", "double_signatures")
    assert {name: found[name] for name in faults} == dict.fromkeys(faults, 0), figures


@pytest.mark.slow
async def test_some_kills_lose_nothing_and_nobody_signs_twice(tmp_path: Path) -> None:
    require_nothing_lost(await measure(tmp_path, 4, kills=3, seed=7, params=QUICK))


@pytest.mark.skipif(not SOAK, reason="HCE_SOAK=1: twenty minutes")
@pytest.mark.parametrize(("nodes", "kills", "seed"), [(4, 300, 1), (9, 200, 2)])
async def test_hundreds_of_kills_lose_nothing_and_nobody_signs_twice(tmp_path: Path, nodes: int, kills: int, seed: int) -> None:
    figures = await measure(tmp_path, nodes, kills, seed, Params())
    print(figures)
    require_nothing_lost(figures)


def test_the_check_of_signatures_finds_a_second_vote() -> None:
    found = Found()
    lines = [
        ("node-0", '[5, 0, 1, "aa"]'),
        ("node-0", '[5, 0, 1, "aa"]'),
        ("node-0", '[5, 1, 1, "bb"]'),
        ("node-1", "[5, 0, 1, null]"),
    ]
    check_signatures(lines, found)
    assert (found.signatures, found.double_signatures) == (4, 0), "the same again, another round, another node"
    check_signatures([*lines, ("node-1", '[5, 0, 1, "aa"]')], found)
    assert found.double_signatures == 1


def flip_in_the_middle(path: Path) -> None:
    """Of a record that was durable long ago."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut_below_the_ledger(path: Path) -> None:
    os.truncate(path, path.stat().st_size - HEADER_BYTES)


@pytest.mark.slow
async def test_lost_blocks_and_ledgers_come_back_and_a_damaged_sign_state_watches(tmp_path: Path) -> None:
    ways = {
        1: (flip_in_the_middle, "blocks.log"),
        2: (cut_below_the_ledger, "blocks.log"),
        3: (Path.unlink, "blocks.log"),
        0: (shutil.rmtree, "ledger"),
    }
    async with crashing_network(tmp_path, 4, QUICK) as (stage, _):
        crash = Crash(stage, 1)
        async with crash.watched(), httpx.AsyncClient(trust_env=False) as http:
            for index, (damage, name) in ways.items():
                await stage.supervisor.kill(f"node-{index}")
                damage(data(stage.home, index) / name)
                await stage.supervisor.restart(f"node-{index}")
                await crash.settled()
            assert (data(stage.home, 1) / "blocks.log.damaged-1").exists(), "the damaged log is kept"
            await stage.supervisor.kill("node-1")
            os.truncate(data(stage.home, 1) / "sign" / "sign-state", 70_000)
            await stage.supervisor.restart("node-1")
            status = (await http.get(stage.home.network()["nodes"][1] + "/v1/status")).json()
            assert status["voting"] is False
            assert (data(stage.home, 1) / "sign.damaged-1" / "sign-state").stat().st_size == 70_000
            await crash.settled()


@pytest.mark.skipif(not SOAK, reason="HCE_SOAK=1: a minute")
async def test_a_network_of_watchers_stands_until_people_give_up_what_nobody_knows(tmp_path: Path) -> None:
    async with crashing_network(tmp_path, 4, QUICK) as (stage, signed):
        crash, lost = Crash(stage, 1), (1, 2)
        async with crash.watched():
            for index in lost:
                await stage.supervisor.kill(f"node-{index}")
                shutil.rmtree(data(stage.home, index) / "sign")
            for index in lost:
                await stage.supervisor.restart(f"node-{index}")
            await crash.settled()
            height = crash.head
            await asyncio.sleep((SAFE_MS + 5_000) / 1_000)
            assert crash.head - height <= 1, "two of four cannot make a block"
            for index in lost:
                await stage.supervisor.kill(f"node-{index}")
                give_up_watch(data(stage.home, index), stage.home.genesis(), index)
                await stage.supervisor.restart(f"node-{index}")
            await crash.reaches(height + 5)
    found = Found()
    check_signatures(witnessed(signed), found)
    assert (found.double_signatures, found.signatures > 20) == (0, True)


def data(home: Home, index: int) -> Path:
    return home.node(index) / "data"
