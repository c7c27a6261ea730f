"""How many pieces n nodes keep of one content: the ladder of the dispersal (white paper 7; protocol, section 6)."""

from __future__ import annotations

from typing import NamedTuple

from hce.foundation.types.quorum import quorum

MAX_NODES = 9
"""Super nodes of the network (white paper 6.1); the ladder knows no more."""


class Dispersal(NamedTuple):
    """Any k of the k + m shards restore the content: m may be lost."""

    k: int
    m: int


def ladder(n: int) -> Dispersal:
    """Shards for n nodes: the content itself for 1, replicas for 2 and 3, then one shard on every node with k = quorum(n) - 1.

    That is 2+2, 3+2, 4+2, 4+3, 5+3 and 6+3 for 4 to 9 nodes. A quorum then always holds one shard more than is needed, so whatever can
    become final can also be admitted (docs/adr/0012). ValueError outside of 1..9.
    """
    if not 1 <= n <= MAX_NODES:
        raise ValueError(f"the ladder knows 1 to {MAX_NODES} nodes")
    k = 1 if n <= 3 else quorum(n) - 1
    return Dispersal(k, n - k)


def shards_to_admit(n: int) -> int:
    """Shards that must be on disk before a record is admitted: one more than restores it, where there is a second node."""
    k = ladder(n).k
    return k if n == 1 else k + 1
