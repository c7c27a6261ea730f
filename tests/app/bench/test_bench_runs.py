"""Each measurement once, short and slow, on real processes: figures come out and everything that was offered became final."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hce.app.bench.ledger import measure_ledger
from hce.app.bench.opening import measure_opening
from hce.app.bench.records import measure_records
from hce.app.bench.soak import measure_soak
from hce.service.terms.genesis import Params

ROOT = Path(__file__).parents[3]
QUICK = Params(block_interval_ms=150)
SECONDS = 3.0


def quiet(key: str, **fields: Any) -> None:
    """Nobody watches."""


@pytest.mark.slow
async def test_the_ledger_makes_a_small_load_final() -> None:
    figures = await measure_ledger(1, SECONDS, 120.0, 5, QUICK, quiet)
    assert figures["refused"] == figures["failed"] == {}
    assert figures["not_final"] == 0
    assert 300 <= figures["final"] == figures["offered"] <= 360
    assert 0 < figures["latency_ms"]["p50"] <= figures["latency_ms"]["max"]
    assert figures["cpu_us_per_tx_per_node"] > 0
    assert len(figures["rss_anon_mb"]) == 1


@pytest.mark.slow
async def test_a_given_number_of_transactions_becomes_final_and_memory_is_told() -> None:
    figures = await measure_soak(1, 150, 200.0, 5, QUICK, quiet)
    assert figures["refused"] == {}
    assert figures["final"] == figures["transactions"] == 150
    assert [row["final"] for row in figures["memory"]] == [0, 150]


@pytest.mark.slow
async def test_records_become_final(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HCE_SHARED", "/nonexistent")
    figures = await measure_records(1, SECONDS, 20.0, 5, QUICK, ROOT, quiet)
    assert figures["refused"] == {}
    assert figures["records_per_s"] > 5
    assert figures["resources_per_s"] >= figures["records_per_s"]


@pytest.mark.slow
async def test_a_granted_record_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HCE_SHARED", "/nonexistent")
    figures = await measure_opening(1, SECONDS, None, 5, QUICK, 12, ROOT, quiet)
    assert figures["refused"] == {}
    assert figures["many"]["records"] == 12
    assert figures["singles"] >= 1
    assert figures["opened_per_s"] > 0
