"""How a long-lived process of HCE runs: uvloop, a garbage collector that is asked less often, and room for many open files.

A node keeps tens of thousands of live objects (pool, remembered transactions, tables of peers), and every full collection walks them all
to find next to nothing, since little of ours makes cycles. What is alive at the start is never looked at again.
"""

from __future__ import annotations

import gc
import resource
from collections.abc import Coroutine
from typing import Any

import uvloop

from hce.app.lifeline import with_lifeline

GC_THRESHOLDS = (20_000, 20, 50)
"""Objects made before the youngest are looked at, and how many such rounds before older ones are (Python: 700, 10, 10)."""

OPEN_FILES = 16_384
"""Connections and files open at one time. Shells often allow 1,024, and strangers who connect and say nothing would take them all: a
connection over TLS counts among the bounds of HTTP only when its handshake is done."""


def run_process(work: Coroutine[Any, Any, None]) -> None:
    """Runs a server to its end, or to that of the supervisor that started it."""
    _allow_files(OPEN_FILES)
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    uvloop.run(with_lifeline(work))


def _allow_files(wanted: int) -> None:
    """As many as wanted, or as the machine's administrator allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
