"""How many pieces n nodes keep of one content: the ladder of the dispersal (white paper 7; protocol, section 6)."""

from __future__ import annotations

from typing import NamedTuple

MAX_NODES = 9
"""Super nodes of the network (white paper 6.1); the ladder knows no more."""


class Dispersal(NamedTuple):
    """Any k of the k + m shards restore the content: m may be lost."""

    k: int
    m: int


def ladder(n: int) -> Dispersal:
    """Shards for n nodes: the content itself for 1, replicas for 2 and 3, then 2+2, 4+2 and 6+3. ValueError outside of 1..9."""
    if not 1 <= n <= MAX_NODES:
        raise ValueError(f"the ladder knows 1 to {MAX_NODES} nodes")
    if n <= 3:
        return Dispersal(1, n - 1)
    if n <= 5:
        return Dispersal(2, 2)
    return Dispersal(4, 2) if n <= 8 else Dispersal(6, 3)


def shards_to_admit(n: int) -> int:
    """Shards that must be on disk before a record is admitted: one more than restores it, where there is a second node."""
    k = ladder(n).k
    return k if n == 1 else k + 1
