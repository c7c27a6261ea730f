"""The damage matrix on real processes: a sample in every test run, two thousand cases in `make soak` (docs/reliability.md, Damage)."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tests.soak.crash_checks import Found, check_signatures, witnessed
from tests.soak.damage_matrix import measure
from tests.soak.damage_rounds import Rounds
from tests.soak.damage_scene import LIMIT_S, damage_scene

SOAK = os.environ.get("HCE_SOAK") == "1"
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
"""A connection that is made while its request is given up (anyio's `connect_tcp`) is closed by the garbage collector; among hundreds of
killed processes that happens."""


def tell(line: str) -> None:
    print(line, file=sys.stderr)


@pytest.mark.slow
async def test_damage_on_nine_nodes_is_restored_or_named_and_never_a_wrong_byte(tmp_path: Path) -> None:
    async with damage_scene(tmp_path, 11) as scene:
        await scene.prepare(1, 15)
        rounds = Rounds(scene, 11, tell)
        await rounds.blobs(15, "writing", compare=False)
        await rounds.manifests("quiet", compare=False)
        plan = {
            "pack index": "flip",
            "placements": "swap files",
            "mailbox tables": "truncate",
            "envelope keys": "flip",
            "ledger": "zero",
        }
        await rounds.stopped(plan, 2, "quiet")
    outcomes = {one.outcome for one in rounds.cases}
    assert len(rounds.cases) >= 23
    assert outcomes <= {"restored", "named"}, [one for one in rounds.cases if one.outcome not in ("restored", "named")]
    assert all(one.nodes == 4 for one in rounds.cases if one.outcome == "named"), "within the bound nothing is refused"
    found = Found()
    check_signatures(witnessed(scene.signed), found)
    assert found.signatures > 0
    assert found.double_signatures == 0


@pytest.mark.skipif(not SOAK, reason="HCE_SOAK=1: a minute")
async def test_three_of_nine_nodes_that_lost_their_lists_of_revocations_know_them_again_from_the_others(tmp_path: Path) -> None:
    lost = (1, 4, 8)
    async with damage_scene(tmp_path, 12) as scene:
        await scene.prepare(1, 5)
        sizes = {node: scene.log_size(node) for node in lost}
        for node in lost:
            await scene.kill(node)
            (scene.data(node) / "revoked" / "data.mdb").unlink()
            (scene.data(node) / "blocks.log").unlink()
        for node in lost:
            assert await scene.start(node) is None
        waiting, deadline = set(lost), time.monotonic() + LIMIT_S
        while waiting and time.monotonic() < deadline:
            assert all("may have forgotten" in scene.log_since(node, sizes[node]) for node in waiting)
            waiting -= {node for node in waiting if "enough nodes have told" in scene.log_since(node, sizes[node])}
            await asyncio.sleep(1)
        assert not waiting
        assert len(await scene.read_patiently(scene.held)) == len(scene.held)


@pytest.mark.skipif(not SOAK, reason="HCE_SOAK=1: a quarter of an hour or more")
async def test_two_thousand_cases_of_damage_lose_nothing(tmp_path: Path) -> None:
    figures: dict[str, Any] = await measure(tmp_path, 2_000, seed=1, tell=tell)
    assert figures["bad"] == []
    assert figures["double_signatures"] == 0
