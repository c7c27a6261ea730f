"""The harness of the damage matrix leaves nothing behind, however it ends."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.soak import damage_matrix
from tests.soak.damage_mounts import going_on_afterwards, mounts_under, unmount_left
from tests.soak.damage_rounds import NO_ANSWER, Rounds

ROOT = Path(__file__).parents[2]
MOUNTS = """
import sys, pathlib
from hce.app.devnet.home import Home
from tests.soak.damage_mounts import SMALL_NODES, Mounts, mounts_under
folder = pathlib.Path(sys.argv[1])
home = Home(folder / "run")
for node in SMALL_NODES:
    (home.node(node) / "data").mkdir(parents=True)
    (home.node(node) / "data" / "kept").write_text("as before")
small = Mounts(folder, True)
small.mount(home)
assert all((home.node(node) / "data" / "kept").read_text() == "as before" for node in SMALL_NODES)
print(len(mounts_under(folder)), *small.left_out, flush=True)
sys.stdin.read()
"""


def test_a_run_that_is_killed_leaves_no_disks_mounted(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", MOUNTS, str(tmp_path)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout is not None
        said = run.stdout.readline().split(maxsplit=1)
        seen_outside = mounts_under(tmp_path)
        run.kill()
    if len(said) > 1:
        pytest.skip(said[1])
    assert said == ["4"]
    assert seen_outside == [] == mounts_under(tmp_path)


def test_what_an_earlier_run_left_in_a_folder_is_unmounted(tmp_path: Path) -> None:
    place = tmp_path / "with a space" / "data"
    place.mkdir(parents=True)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], capture_output=True, check=False).returncode:
        pytest.skip("this user may not mount")
    assert mounts_under(tmp_path) == [place]
    unmount_left(tmp_path)
    assert mounts_under(tmp_path) == []


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[0]


def test_stopped_processes_go_on_also_when_whoever_stopped_them_is_killed() -> None:
    stops = (
        "import os, signal, sys, time\n"
        "from tests.soak.damage_mounts import going_on_afterwards\n"
        "with going_on_afterwards([int(sys.argv[1])]):\n"
        "    os.kill(int(sys.argv[1]), signal.SIGSTOP)\n"
        "    print(flush=True)\n"
        "    time.sleep(1_000)\n"
    )
    with subprocess.Popen(["sleep", "1000"]) as node:
        with going_on_afterwards([node.pid]):
            os.kill(node.pid, signal.SIGSTOP)
        assert state_of(node.pid) != "T"
        with subprocess.Popen([sys.executable, "-c", stops, str(node.pid)], cwd=ROOT, stdout=subprocess.PIPE) as run:
            assert run.stdout is not None
            run.stdout.readline()
            run.kill()
        deadline = time.monotonic() + 60
        while state_of(node.pid) == "T" and time.monotonic() < deadline:
            time.sleep(0.01)
        assert state_of(node.pid) != "T"
        node.kill()


class Silent:
    """A scene of which nobody answers."""

    async def content(self, one: object) -> bytes:
        await asyncio.Event().wait()
        raise AssertionError

    patients = (None,)

    async def write(self, patient: int, records: int) -> None:
        await asyncio.Event().wait()


async def test_a_read_without_an_answer_ends_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.soak.damage_rounds.READ_S", 0.01)
    rounds = Rounds(Silent(), 1, print)  # type: ignore[arg-type]  # no node is needed
    assert await rounds._read(None) == NO_ANSWER  # type: ignore[arg-type]  # the same


async def test_a_round_that_hangs_is_a_failed_case(monkeypatch: pytest.MonkeyPatch) -> None:
    rounds = Rounds(Silent(), 1, print)  # type: ignore[arg-type]  # no node is needed

    async def hangs() -> None:
        async with rounds._meanwhile("writing", []):
            await asyncio.Event().wait()

    monkeypatch.setattr(damage_matrix, "ROUND_S", 0.01)
    assert not await damage_matrix.ended(rounds, 7, hangs())
    assert [(one.way, one.outcome, one.said) for one in rounds.cases] == [("round 7", "lost", "TimeoutError ")]
