"""What the node's rooms see of the ledger: the newest final block, read in one piece."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import NamedTuple

from hce.service.terms.states import HealthReader


class FinalState(NamedTuple):
    """The health map as of one final block. `health` answers only while the view it came from is open."""

    health: HealthReader
    height: int
    time_ms: int
    """Block time."""
    syncing: bool
    """A peer showed a commit above this height."""


FinalView = Callable[[], AbstractContextManager[FinalState]]
"""Opens a snapshot of the final state; close it soon."""
