"""A disk without room: batches are refused before the chain suffers, and a node that has none says so and goes on when there is."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from hce.app import room
from hce.app.preflight import free_ports
from hce.foundation.store.errors import DiskFull


class Usage(NamedTuple):
    free: int


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Room on the disk, as the test says."""
    left = {"bytes": 1 << 40}

    def disk_usage(path: Path) -> Usage:
        return Usage(left["bytes"])

    monkeypatch.setattr("hce.app.room.shutil.disk_usage", disk_usage)
    return left


def test_a_batch_that_would_touch_the_reserve_is_refused(tmp_path: Path, free: dict[str, int]) -> None:
    room.require_room(tmp_path, 1 << 20)
    free["bytes"] = room.RESERVE_BYTES + 1_000
    room.require_room(tmp_path, 1_000)
    with pytest.raises(DiskFull):
        room.require_room(tmp_path, 1_001)


async def test_a_node_without_room_names_it_on_every_path_until_there_is_some(
    tmp_path: Path, free: dict[str, int], caplog: Any
) -> None:
    free["bytes"] = 0
    (port,) = free_ports(1)
    waiting = asyncio.create_task(room.wait_for_room(tmp_path, port, asyncio.Event(), DiskFull()))
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http:
        http.headers["origin"] = "https://portal.example"
        while True:
            try:
                answers = [await http.get("/v1/status"), await http.post("/v1/intake", content=b"x")]
                break
            except httpx.ConnectError:
                await asyncio.sleep(0.01)
        assert [(one.status_code, one.json()["code"]) for one in answers] == [(507, "disk.full")] * 2
        assert [one.headers["access-control-allow-origin"] for one in answers] == ["*"] * 2
    assert not waiting.done()
    free["bytes"] = room.RESUME_BYTES
    await waiting
    assert "disk.full: this node has stopped voting" in caplog.text


async def test_a_node_that_is_asked_to_stop_waits_for_no_room(tmp_path: Path, free: dict[str, int]) -> None:
    free["bytes"] = 0
    stopping = asyncio.Event()
    (port,) = free_ports(1)
    waiting = asyncio.create_task(room.wait_for_room(tmp_path, port, stopping, DiskFull()))
    stopping.set()
    await waiting
