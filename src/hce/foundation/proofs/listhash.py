"""List hash: the RFC 6962 Merkle tree with the number of items inside the root.

RFC 6962 alone leaves the size to the signed tree head. We sign roots, not tree heads, so the count is hashed in: without it a
short list and a proof of another depth could meet in one root, and nobody could ask "how many are there" of a root.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta, Struct

from hce.foundation.types.scalars import MAX_SAFE_INT, Digest

LIST_DOMAIN = b"hce/list/1"
MAX_PATH_HASHES = 64
"""Longest audit path that is looked at: enough for 2^64 items."""
EMPTY_TREE_HEAD = hashlib.sha256(b"").digest()

_sha256 = hashlib.sha256


class ListProof(Struct, frozen=True, array_like=True):
    """Audit path of one item, from the leaf upwards (RFC 6962, 2.1.1)."""

    index: Annotated[int, Meta(ge=0, le=MAX_SAFE_INT)]
    count: Annotated[int, Meta(ge=1, le=MAX_SAFE_INT)]
    """Items in the whole list."""
    path: Annotated[tuple[Digest, ...], Meta(max_length=MAX_PATH_HASHES)]


def list_root(items: Sequence[bytes]) -> Digest:
    """Root of the list: SHA-256("hce/list/1" || count, 8 bytes big-endian || RFC 6962 tree head)."""
    return sealed_root(len(items), tree_head([leaf_hash(item) for item in items]))


def list_proof(items: Sequence[bytes], index: int) -> ListProof:
    """Proof that items[index] is there; IndexError outside of the list. Cost: one pass over all items."""
    return proof_of_hashes([leaf_hash(item) for item in items], index)


def verify_list_proof(root: Digest, item: bytes, proof: ListProof) -> bool:
    """Whether `item` stands at proof.index of the list of proof.count items under `root`."""
    head = head_from_path(leaf_hash(item), proof)
    return head is not None and sealed_root(proof.count, head) == root


def leaf_hash(item: bytes) -> Digest:
    return _sha256(b"\x00" + item).digest()


def tree_head(hashes: Sequence[Digest]) -> Digest:
    """RFC 6962 MTH of leaf hashes. Pairing level by level and lifting an odd last one builds the recursive definition's tree."""
    if not hashes:
        return EMPTY_TREE_HEAD
    level = list(hashes)
    while len(level) > 1:
        level = _level_above(level)
    return level[0]


def sealed_root(count: int, head: Digest) -> Digest:
    """Tree head and count in one root."""
    return _sha256(LIST_DOMAIN + count.to_bytes(8, "big") + head).digest()


def proof_of_hashes(hashes: Sequence[Digest], index: int) -> ListProof:
    """Proof for the leaf hash at `index`; IndexError outside of the list."""
    return proof_from_levels(tree_levels(hashes), index)


def tree_levels(hashes: Sequence[Digest]) -> list[list[Digest]]:
    """The whole tree over leaf hashes, leaves first: for many proofs of one list."""
    levels = [list(hashes)]
    while len(levels[-1]) > 1:
        levels.append(_level_above(levels[-1]))
    return levels


def proof_from_levels(levels: list[list[Digest]], index: int) -> ListProof:
    """Proof for the leaf hash at `index` of `tree_levels`; IndexError outside of the list."""
    if not 0 <= index < len(levels[0]):
        raise IndexError("no such item in the list")
    path: list[Digest] = []
    position = index
    for level in levels[:-1]:
        sibling = position ^ 1
        if sibling < len(level):
            path.append(level[sibling])
        position >>= 1
    return ListProof(index=index, count=len(levels[0]), path=tuple(path))


def head_from_path(leaf: Digest, proof: ListProof) -> Digest | None:
    """The tree head this path leads to (RFC 9162, 2.1.3.2); None when the path does not fit index and count."""
    if not 0 <= proof.index < proof.count <= MAX_SAFE_INT or len(proof.path) > MAX_PATH_HASHES:
        return None
    node, position, last = leaf, proof.index, proof.count - 1
    for sibling in proof.path:
        if last == 0 or len(sibling) != 32:
            return None
        if position & 1 or position == last:
            node = _sha256(b"\x01" + sibling + node).digest()
            while position and not position & 1:
                position >>= 1
                last >>= 1
        else:
            node = _sha256(b"\x01" + node + sibling).digest()
        position >>= 1
        last >>= 1
    return node if last == 0 else None


def _level_above(level: list[Digest]) -> list[Digest]:
    above = [_sha256(b"\x01" + level[i] + level[i + 1]).digest() for i in range(0, len(level) - 1, 2)]
    if len(level) & 1:
        above.append(level[-1])
    return above
