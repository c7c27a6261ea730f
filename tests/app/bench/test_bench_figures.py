"""Percentiles, rates and readings: computed from what is handed in."""

from __future__ import annotations

import os
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hce.app.bench.figures import Usage, differences, machine, per_second, percentile, spread, usage_of
from hce.app.bench.ledger import Ran, Reading, ledger_figures
from hce.app.bench.load import Load
from hce.app.bench.plan import plan
from hce.app.bench.soak import PART, growth_per_100k, part_sizes
from hce.app.bench.watch import SeenBlock
from hce.service.sdk.node import NodeClient

NOWHERE = NodeClient("http://nowhere.invalid", httpx.AsyncClient())
"""Never asked: these tests only count."""


def test_percentiles_are_nearest_ranks() -> None:
    values = list(range(1, 101))
    assert [percentile(values, percent) for percent in (0, 1, 50, 95, 99, 100)] == [1, 1, 50, 95, 99, 100]
    assert percentile([7], 95) == 7
    with pytest.raises(ValueError, match="no values"):
        percentile([], 50)


@given(st.lists(st.integers(0, 1_000), min_size=1), st.integers(1, 100))
def test_at_least_that_share_lies_at_or_below_a_percentile(values: list[int], percent: int) -> None:
    found = percentile(sorted(values), percent)
    assert found in values
    assert sum(value <= found for value in values) * 100 >= percent * len(values)
    assert sum(value < found for value in values) * 100 < percent * len(values)


def test_a_spread_of_nothing_says_so() -> None:
    assert spread([]) == {"p50": None, "p95": None, "p99": None, "max": None}
    assert spread([3.6, 1.2], (50,), with_max=False) == {"p50": 1}


def test_no_time_gives_no_rate() -> None:
    assert per_second(5, 0.0) == 0.0
    assert per_second(5, 2.0) == 2.5
    assert differences([3, 5, 9]) == [2, 4]


def test_a_process_is_read_whatever_its_name(tmp_path: Path) -> None:
    folder = tmp_path / "42"
    folder.mkdir()
    fields = ["S", *["0"] * 10, "300", "100", *["0"] * 20]
    (folder / "stat").write_text(f"42 (a ) name) {' '.join(fields)}\n")
    (folder / "status").write_text("Name:\tx\nRssAnon:\t   51200 kB\nRssFile:\t 1 kB\n")
    usage = usage_of(42, tmp_path)
    assert usage.cpu_us == 400 * 1_000_000 // os.sysconf("SC_CLK_TCK")
    assert usage.rss_anon_mb == 50.0


def test_this_machine_and_this_process_can_be_read() -> None:
    assert usage_of(os.getpid()).rss_anon_mb > 1
    assert set(machine()) == {"cpu", "cores", "python"}


def test_only_blocks_after_the_first_that_arrived_while_sending_count() -> None:
    items = plan(6)
    raws = [bytes([place]) for place in range(6)]
    load = Load([NOWHERE], items, raws, 2.0)
    load.offered = 6
    blocks = [SeenBlock(height, height * 1_000, float(height), [raws[height]], [], {}) for height in range(6)]
    for block in blocks:
        load.take(block)
    readings = [Reading([Usage(place * 30_000, 1.0)], place * 10_000) for place in range(6)]
    figures = ledger_figures(1, 9, 2.0, Ran(load, blocks, readings, 0.5, 4.5))
    assert figures["blocks"] == 3, "heights 2, 3 and 4; the first interval began before the load"
    assert figures["tx_per_s"] == figures["health_tx_per_s"] == 1.0
    assert figures["block_interval_ms"] == {"p50": 1_000, "p95": 1_000}
    assert figures["not_final"] == 0
    assert figures["cpu_us_per_tx_per_node"] == 30_000
    assert (figures["nodes_cpu_s"], figures["load_cpu_s"]) == (0.09, 0.03)


def test_latency_counts_from_the_moment_it_was_due() -> None:
    raws = [b"a", b"b"]
    load = Load([NOWHERE], plan(2), raws, 1.0)
    load.since = [10.0, 11.0]
    load.offered = 2
    load.take(SeenBlock(1, 0, 12.0, [b"a", b"of somebody else"], [], {"grant.unknown": 1}))
    assert load.latencies_ms == [2_000.0]
    assert (load.final, load.waiting) == (1, 1)


def test_memory_growth_counts_the_second_half_only() -> None:
    rows = [{"final": final, "rss_anon_mb": [70.0, memory]} for final, memory in ((0, 70.0), (50_000, 90.0), (100_000, 92.0))]
    assert growth_per_100k(rows) == 4.0
    assert growth_per_100k(rows[:1]) is None


def test_a_given_number_is_sent_in_whole_parts_and_what_is_left() -> None:
    assert part_sizes(2 * PART + 7) == [PART, PART, 7]
    assert part_sizes(PART) == [PART]
