"""How a long-lived process of HCE runs: uvloop, and a garbage collector that is asked less often.

A node keeps tens of thousands of live objects (pool, remembered transactions, tables of peers), and every full collection walks them all
to find next to nothing, since little of ours makes cycles. What is alive at the start is never looked at again.
"""

from __future__ import annotations

import gc
from collections.abc import Coroutine
from typing import Any

import uvloop

from hce.app.lifeline import with_lifeline

GC_THRESHOLDS = (20_000, 20, 50)
"""Objects made before the youngest are looked at, and how many such rounds before older ones are (Python: 700, 10, 10)."""


def run_process(work: Coroutine[Any, Any, None]) -> None:
    """Runs a server to its end, or to that of the supervisor that started it."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    uvloop.run(with_lifeline(work))
