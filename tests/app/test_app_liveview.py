"""The live view: what a person sees of a network that is well, ill, or silent."""

from __future__ import annotations

from typing import Any

import pytest
from rich.console import Console

from hce.app.liveview import view

NOW_MS = 1_760_000_001_500


def status(node: int, **changed: Any) -> dict[str, Any]:
    peers = [{"index": other, "connected": True} for other in range(4) if other != node]
    return {
        "node": node,
        "nodes": 4,
        "height": 128,
        "turn": 21,
        "slot": 1,
        "producer": 2,
        "time_ms": NOW_MS - 1_500,
        "finality_ms": 40,
        "waiting": 3,
        "syncing": False,
        "peers": peers,
        "shards": {"verified": 9, "damaged": 2, "restored": 2},
    } | changed


@pytest.fixture(autouse=True)
def english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HCE_LANG", "en")


def shown(statuses: list[dict[str, Any]], width: int = 100) -> list[str]:
    console = Console(width=width, record=True, file=None, markup=False, force_terminal=False)
    with console.capture() as captured:
        console.print(view(statuses, 6, width, NOW_MS))
    return captured.get().splitlines()


def test_the_turn_and_its_producer_are_seen_at_a_glance() -> None:
    headline, _, *rows = shown([status(node) for node in range(4)])
    assert "●●○○○○" in headline
    assert "height 128" in headline
    assert "1.5 s ago" in headline
    assert [row.split()[0] for row in rows] == ["0", "1", "▶", "3"]
    assert all("3/3" in row and "0.04 s" in row and "whole" in row for row in rows)


def test_a_silent_and_a_mending_node_stand_out() -> None:
    ill = status(1, shards={"verified": 9, "damaged": 5, "restored": 2}, peers=[])
    rows = shown([status(0), ill, status(2), {}])[2:]
    assert "mending 3" in rows[1]
    assert "0/3" in rows[1]
    assert "no answer" in rows[3]


def test_a_network_that_is_not_there_is_said_in_words() -> None:
    assert shown([{}, {}]) == ["no answer"]


def test_a_narrow_terminal_cuts_no_column_in_half() -> None:
    rows = shown([status(node) for node in range(4)], width=40)[2:]
    assert all("…" not in row for row in rows[1:])
