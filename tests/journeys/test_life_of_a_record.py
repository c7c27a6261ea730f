"""The product itself, as real processes: the tour on a network of its own, and `hce up` stopped and continued."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from hce.app.preflight import free_ports

ROOT = Path(__file__).parents[2]
BUNDLES = ROOT / "src" / "hce" / "app" / "devnet" / "bundles"
PATIENCE_S = 240
"""Only a hang reaches this."""


def hce(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "hce.app.cli", *arguments]


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT / "src"), "HCE_LANG": "en", "PYTHONUNBUFFERED": "1"}


def call(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        hce(*arguments), cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )


@pytest.mark.slow
def test_the_tour_keeps_every_promise_on_a_network_of_its_own() -> None:
    told = call("tour", "--ephemeral", "--json", "--nodes", "1")
    assert told.returncode == 0, told.stderr[-3_000:]
    result = json.loads(told.stdout)
    assert result["nodes"] == 1
    assert result["records_written"] >= 10
    assert result["log_entries_on_chain"] == result["log_entries_opened"] == 3
    assert result["plaintext_found_on_nodes"] == 0
    assert set(result["finality_ms"]) == {"p50", "p95"}


@pytest.mark.slow
def test_nine_nodes_keep_every_promise_through_damage_and_deaths() -> None:
    told = call("tour", "--ephemeral", "--json")
    assert told.returncode == 0, told.stderr[-3_000:]
    result = json.loads(told.stdout)
    assert result["nodes"] == 9
    assert result["nodes_killed"] == 2
    assert result["shards_damaged"] == result["shards_restored"] > 0
    assert result["opened_while_halted"] is True
    assert result["anchored"] is True


@pytest.mark.slow
def test_four_nodes_write_grant_and_read_with_one_killed() -> None:
    told = call("tour", "--ephemeral", "--json", "--nodes", "4")
    assert told.returncode == 0, told.stderr[-3_000:]
    result = json.loads(told.stdout)
    assert (result["nodes"], result["nodes_killed"]) == (4, 1)
    assert result["written_with_two_down"] is True
    assert result["opened_while_halted"] == "release.too_few", "two of four keyholders are fewer than two thirds"


@pytest.mark.slow
@pytest.mark.skipif("HCE_SOAK" not in os.environ, reason="the other sizes of a network take minutes: make soak")
@pytest.mark.parametrize("nodes", [2, 3, 5, 6, 7, 8])
def test_a_network_of_any_size_keeps_every_promise(nodes: int) -> None:
    told = call("tour", "--ephemeral", "--json", "--nodes", str(nodes))
    assert told.returncode == 0, told.stderr[-3_000:]
    assert json.loads(told.stdout)["nodes"] == nodes


@pytest.mark.slow
def test_up_stops_cleanly_and_continues_the_same_chain(tmp_path: Path) -> None:
    home = tmp_path / "run"
    base = _free_base()
    with running_up(home, base) as process:
        first = status(home)
        for _ in range(2):
            again = call("import", "--home", str(home), "--json", str(BUNDLES / "zhen-shifan.json"))
            assert again.returncode == 0, again.stderr
        outcome = json.loads(again.stdout)
        assert (outcome["records"], outcome["resources"]) == (0, 0), "the demo people are in already: nothing is written twice"
        stop(process)
    assert call("status", "--home", str(home), "--json").returncode == 1, "nothing answers any more"
    with running_up(home, base) as process:
        second = status(home)
        stop(process)
    assert second["node-0"]["genesis"] == first["node-0"]["genesis"]
    assert second["node-0"]["height"] >= first["node-0"]["height"]


@pytest.mark.slow
def test_children_end_when_their_supervisor_is_killed(tmp_path: Path) -> None:
    home = tmp_path / "run"
    with running_up(home, _free_base()) as process:
        process.kill()
        process.wait(PATIENCE_S)
    deadline = time.monotonic() + PATIENCE_S
    while any(json.loads(call("status", "--home", str(home), "--json").stdout).values()):
        assert time.monotonic() < deadline, "a child outlived its supervisor"


def test_a_taken_port_is_said_before_anything_is_made(tmp_path: Path) -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        refused = call("up", "--home", str(tmp_path / "run"), "--port-base", str(listening.getsockname()[1]))
    assert refused.returncode == 1
    assert "--port-base" in refused.stdout
    assert not (tmp_path / "run").exists()


def test_commands_without_a_network_say_how_to_get_one(tmp_path: Path) -> None:
    for command in (["status"], ["tour"], ["import", str(BUNDLES / "zhen-shifan.json")]):
        missing = call(*command, "--home", str(tmp_path / "none"))
        assert missing.returncode == 1
        assert "home.missing" in missing.stderr
        assert "Traceback" not in missing.stderr


@contextmanager
def running_up(home: Path, base: int) -> Iterator[subprocess.Popen[str]]:
    arguments = hce("up", "--home", str(home), "--port-base", str(base), "--nodes", "1")
    process = subprocess.Popen(
        arguments, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    told: list[str] = []
    try:
        assert process.stdout is not None
        for line in process.stdout:
            told.append(line)
            if "./hce tour" in line:
                break
        else:
            raise AssertionError("hce up ended: " + "".join(told))
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=PATIENCE_S)


def stop(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, rest
    assert "Traceback" not in rest


def status(home: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(call("status", "--home", str(home), "--json").stdout)
    return found


def _free_base() -> int:
    return min(free_ports(1)[0], 64_000)
