"""Numbers out of readings: percentiles, and what the system says about a process or the machine."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from msgspec import Struct

PERCENTS = (50, 95, 99)
PROC = Path("/proc")


def percentile(ordered: Sequence[float], percent: int) -> float:
    """Nearest rank of ascending values: the smallest that at least `percent` of them do not exceed. ValueError for none."""
    if not ordered:
        raise ValueError("no values")
    rank = -(-len(ordered) * percent // 100)
    return ordered[max(rank, 1) - 1]


def spread(values: Iterable[float], percents: Sequence[int] = PERCENTS, *, with_max: bool = True) -> dict[str, int | None]:
    """{"p50": ..., "max": ...} in whole units; None of nothing."""
    ordered = sorted(values)
    found: dict[str, int | None] = {f"p{percent}": round(percentile(ordered, percent)) if ordered else None for percent in percents}
    if with_max:
        found["max"] = round(ordered[-1]) if ordered else None
    return found


def per_second(count: int, seconds: float) -> float:
    """Rounded to what a measurement can mean; 0 in no time."""
    return round(count / seconds, 1) if seconds > 0 else 0.0


def differences(values: Sequence[int]) -> list[int]:
    """Between neighbours."""
    return [after - before for before, after in pairwise(values)]


class Usage(Struct, frozen=True):
    """Of one process at one moment."""

    cpu_us: int
    """Processor time since it began, user and system."""
    rss_anon_mb: float
    """Memory that is its own: no mapped files, no shared libraries."""


def usage_of(pid: int, proc: Path = PROC) -> Usage:
    """FileNotFoundError when there is no such process."""
    after_name = (proc / str(pid) / "stat").read_text().rpartition(")")[2].split()
    ticks = int(after_name[11]) + int(after_name[12])  # utime and stime: fields 14 and 15 of proc(5)
    status = (proc / str(pid) / "status").read_text()
    kib = next((int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon:")), 0)
    return Usage(ticks * 1_000_000 // os.sysconf("SC_CLK_TCK"), round(kib / 1024, 1))


def machine(proc: Path = PROC) -> dict[str, Any]:
    """What a figure is worth nothing without."""
    lines = (proc / "cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
    return {"cpu": model, "cores": os.cpu_count(), "python": platform.python_version()}
