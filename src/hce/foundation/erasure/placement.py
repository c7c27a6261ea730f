"""Which node keeps which shard: rendezvous hashing, so that everybody computes the same and no table is needed.

Each node has a score for a content; the nodes in falling order of their scores get shards 0, 1, 2, ... one each. With as many shards as
nodes this deals one shard to every node, in an order of its own for each content: reads of data shards spread over all nodes.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

from hce.foundation.codec.dagcbor import encode
from hce.foundation.erasure.code import MAX_SHARDS
from hce.foundation.erasure.errors import ShardsUnfit


def place(chain: bytes, ciphertext: bytes, k: int, m: int, n: int) -> list[int]:
    """Node of each of the k + m shards of the ciphertext of that CID, among nodes 0 to n - 1. `ShardsUnfit` when they do not fit."""
    if k < 1 or m < 0 or k + m > n:
        raise ShardsUnfit("more shards than nodes", k=k, m=m, n=n)
    before_node = encode(["hce/place/1", chain, ciphertext, 0])[:-1]  # of digest("hce/place/1", chain, ciphertext, node)
    scores = [hashlib.sha256(before_node + node).digest() for node in _encoded_up_to(n)]
    return sorted(range(n), key=scores.__getitem__, reverse=True)[: k + m]


@lru_cache(maxsize=MAX_SHARDS)
def _encoded_up_to(n: int) -> list[bytes]:
    return [encode(node) for node in range(n)]
