"""Authenticated map: one root over many keys, short proofs that a key has a value or has none.

    root                SHA-256("hce/map/1" || top)
      complete binary tree over 65,536 bucket hashes: inner = SHA-256(0x01 || left || right)
        bucket          list hash of its leaves sorted by path; an empty bucket is 32 zero bytes
          leaf          path || SHA-256(value), path = SHA-256(key); the first 16 bits of the path choose the bucket

The two refused alternatives: a trie by nibble or bit touches one stored node for each level and key, which costs Python several
times as much; one sorted list of all keys moves every leaf when a key comes in the middle. Buckets hold both costs down: a change
rewrites one small bucket and 16 hashes, and a batch shares the upper hashes.

Invariant: leaves of a bucket are strictly ascending by path. Every root comes out of execution by a quorum, so a proof may lean
on it: two adjacent leaves around a path show that the path is absent.

Cost: a bucket grows with the map (15 leaves at a million keys); a new key hashes about half of its bucket, a new value one path.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta, Struct

from hce.foundation.proofs.listhash import (
    MAX_PATH_HASHES,
    ListProof,
    head_from_path,
    leaf_hash,
    proof_of_hashes,
    sealed_root,
)
from hce.foundation.types.scalars import MAX_SAFE_INT, Digest

MAP_DOMAIN = b"hce/map/1"
BUCKET_BITS = 16
"""Levels of the upper tree; 2^16 buckets."""
EMPTY_BUCKET = bytes(32)

_sha256 = hashlib.sha256


def inner_hash(left: Digest, right: Digest) -> Digest:
    """Node of the upper tree."""
    return _sha256(b"\x01" + left + right).digest()


def _empty_hashes() -> tuple[Digest, ...]:
    hashes = [EMPTY_BUCKET]
    for _ in range(BUCKET_BITS):
        hashes.append(inner_hash(hashes[-1], hashes[-1]))
    return tuple(hashes)


EMPTY_HASHES = _empty_hashes()
"""EMPTY_HASHES[h] = top of a subtree of 2^h empty buckets."""


def root_of_top(top: Digest) -> Digest:
    """The map's root over the top of its upper tree."""
    return _sha256(MAP_DOMAIN + top).digest()


EMPTY_ROOT = root_of_top(EMPTY_HASHES[BUCKET_BITS])


class Leaf(Struct, frozen=True, array_like=True):
    """One key and its value, as hashes."""

    path: Digest
    value_hash: Digest

    def item(self) -> bytes:
        """What the bucket's list hash takes in."""
        return self.path + self.value_hash


class Member(Struct, frozen=True, array_like=True):
    """A leaf and where it stands in its bucket."""

    leaf: Leaf
    index: Annotated[int, Meta(ge=0, le=MAX_SAFE_INT)]
    path: Annotated[tuple[Digest, ...], Meta(max_length=MAX_PATH_HASHES)]
    """Audit path inside the bucket, from the leaf upwards."""


class MapProof(Struct, frozen=True, array_like=True):
    """One shape for both answers.

    Presence: one member, the key's own. Absence: no member (empty bucket), the first leaf (path below it), the last leaf (path
    above it), or two adjacent leaves around the path.
    """

    count: Annotated[int, Meta(ge=0, le=MAX_SAFE_INT)]
    """Leaves in the bucket."""
    members: Annotated[tuple[Member, ...], Meta(max_length=2)]
    siblings: Annotated[tuple[Digest, ...], Meta(min_length=BUCKET_BITS, max_length=BUCKET_BITS)]
    """The 16 sibling hashes of the upper tree, from the bucket upwards."""


def path_of(key: bytes) -> Digest:
    """Where a key lives in the map."""
    return _sha256(key).digest()


def bucket_of(path: Digest) -> int:
    """Number of the bucket, 0..65535."""
    return path[0] << 8 | path[1]


def leaf_of(key: bytes, value: bytes) -> Leaf:
    return Leaf(path_of(key), _sha256(value).digest())


def map_proof(path: Digest, leaves: Sequence[Leaf], siblings: Sequence[Digest]) -> MapProof:
    """Proof for `path` out of its bucket's sorted leaves and the 16 siblings of the bucket; of presence or absence as it is."""
    hashes = [leaf_hash(leaf.item()) for leaf in leaves]
    after = sum(leaf.path < path for leaf in leaves)
    if after < len(leaves) and leaves[after].path == path:
        shown = [after]
    else:
        shown = [index for index in (after - 1, after) if 0 <= index < len(leaves)]
    members = [Member(leaves[index], index, proof_of_hashes(hashes, index).path) for index in shown]
    return MapProof(count=len(leaves), members=tuple(members), siblings=tuple(siblings))


def verify_map_proof(root: Digest, key: bytes, value: bytes | None, proof: MapProof) -> bool:
    """Whether `key` has exactly this value under `root`; value None asks whether the key is absent."""
    path = path_of(key)
    if len(proof.siblings) != BUCKET_BITS or any(len(sibling) != 32 for sibling in proof.siblings):
        return False
    claim = _absence_holds(path, proof) if value is None else _presence_holds(leaf_of(key, value), proof)
    if not claim:
        return False
    bucket = _bucket_from_members(proof)
    return bucket is not None and root_of_top(_top_from_bucket(bucket_of(path), bucket, proof.siblings)) == root


def _presence_holds(leaf: Leaf, proof: MapProof) -> bool:
    return len(proof.members) == 1 and proof.members[0].leaf == leaf


def _absence_holds(path: Digest, proof: MapProof) -> bool:
    """Whether the shown leaves leave no room for the path. Their own places are checked by the hashes."""
    match proof.members:
        case ():
            return proof.count == 0
        case (only,):
            below_first = only.index == 0 and path < only.leaf.path
            above_last = only.index == proof.count - 1 and only.leaf.path < path
            return below_first or above_last
        case (left, right):
            return left.index + 1 == right.index and left.leaf.path < path < right.leaf.path
    return False


def _bucket_from_members(proof: MapProof) -> Digest | None:
    """The bucket hash all members lead to; None when one does not fit or two disagree."""
    if not proof.members:
        return EMPTY_BUCKET
    heads = {_head_from_member(member, proof.count) for member in proof.members}
    head = heads.pop()
    return None if heads or head is None else sealed_root(proof.count, head)


def _head_from_member(member: Member, count: int) -> Digest | None:
    if len(member.leaf.path) != 32 or len(member.leaf.value_hash) != 32:
        return None
    return head_from_path(leaf_hash(member.leaf.item()), ListProof(member.index, count, member.path))


def _top_from_bucket(bucket: int, node: Digest, siblings: Sequence[Digest]) -> Digest:
    for sibling in siblings:
        node = inner_hash(sibling, node) if bucket & 1 else inner_hash(node, sibling)
        bucket >>= 1
    return node
