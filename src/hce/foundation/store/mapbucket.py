"""One stored bucket of the authenticated map: its leaves and the tree above them, so that a change hashes one path and not all.

    bucket  count u32 || rows || tree; an empty bucket is not stored
    rows    `count` leaves (path || value hash, 64 bytes) ascending by path
    tree    the leaf hashes, then each level above them (pairs hashed, an odd last hash lifted), the tree head at the end

The tree costs as much space as the rows and saves more than half of the hashes of a block's batch.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from hce.foundation.proofs.authmap import EMPTY_BUCKET, Leaf
from hce.foundation.proofs.listhash import sealed_root
from hce.foundation.types.scalars import Digest

HASH_BYTES = 32
LEAF_BYTES = 2 * HASH_BYTES
COUNT_BYTES = 4

_sha256 = hashlib.sha256


class _Level(NamedTuple):
    """One level of the tree: where it begins in the tree, in bytes, and its hashes."""

    start: int
    width: int


class StoredBucket:
    """A bucket while it is changed: `put` and `remove` leaves, `seal` once, `encode`."""

    def __init__(self, raw: bytes) -> None:
        """From stored bytes; empty bytes are the empty bucket."""
        self._count = int.from_bytes(raw[:COUNT_BYTES], "big")
        end_of_rows = COUNT_BYTES + self._count * LEAF_BYTES
        self._rows = bytearray(raw[COUNT_BYTES:end_of_rows])
        self._tree = bytearray(raw[end_of_rows:])
        """Leaf hashes of now, above them the levels as they were sealed."""
        self._sealed_count = self._count
        self._first = self._count
        """First leaf whose hash changed since the tree was sealed."""
        self._last = -1
        """Last leaf whose hash or place changed since then."""

    def leaves(self) -> list[Leaf]:
        """All leaves, ascending by path."""
        halves = [bytes(self._rows[at : at + HASH_BYTES]) for at in range(0, len(self._rows), HASH_BYTES)]
        return [Leaf(path, value_hash) for path, value_hash in zip(halves[::2], halves[1::2], strict=True)]

    def put(self, path: Digest, value_hash: Digest) -> None:
        """Set the leaf of `path`."""
        index, there = self._find(path)
        row = path + value_hash
        self._splice(index, index + there, row, _sha256(b"\x00" + row).digest())

    def remove(self, path: Digest) -> None:
        """Take the leaf of `path` out; nothing happens when there is none."""
        index, there = self._find(path)
        if there:
            self._splice(index, index + 1, b"", b"")

    def seal(self) -> Digest:
        """Bring the tree up to date, hashing only above changed leaves: the bucket's hash."""
        if not self._count:
            return EMPTY_BUCKET
        levels = _levels(self._count)
        if self._count != self._sealed_count:
            self._lay_out(levels)
        tree, first, last = self._tree, self._first, self._last
        for (below, _), (above, width) in pairwise(levels):
            first, last = first >> 1, min(last >> 1, width - 1)
            for index in range(first, last + 1):
                child, place = below + index * 2 * HASH_BYTES, above + index * HASH_BYTES
                if child + HASH_BYTES < above:
                    tree[place : place + HASH_BYTES] = _sha256(b"\x01" + tree[child : child + 2 * HASH_BYTES]).digest()
                else:  # the next place belongs to the level above: this hash is alone and lifted
                    tree[place : place + HASH_BYTES] = tree[child : child + HASH_BYTES]
        self._sealed_count, self._first, self._last = self._count, self._count, -1
        return sealed_root(self._count, bytes(tree[-HASH_BYTES:]))

    def encode(self) -> bytes:
        """Bytes to store, after `seal`; empty when the bucket is."""
        return b"".join((self._count.to_bytes(COUNT_BYTES, "big"), self._rows, self._tree)) if self._count else b""

    def _find(self, path: Digest) -> tuple[int, bool]:
        """Where the path's leaf is or would be, and whether it is there."""
        rows = bytes(self._rows)
        index = bisect_left(range(self._count), path, key=lambda row: rows[row * LEAF_BYTES : row * LEAF_BYTES + HASH_BYTES])
        return index, rows.startswith(path, index * LEAF_BYTES)

    def _splice(self, start: int, end: int, row: bytes, leaf: bytes) -> None:
        """Put one leaf or none where leaves start..end were, and note what `seal` must hash again."""
        self._rows[start * LEAF_BYTES : end * LEAF_BYTES] = row
        self._tree[start * HASH_BYTES : end * HASH_BYTES] = leaf
        count = len(self._rows) // LEAF_BYTES
        self._first = min(self._first, start)
        # A leaf more or less moves all behind it; `_last` may lie beyond the end, but never before a leaf that moved.
        self._last = max(self._last, start, 0 if count == self._count else count + self._count)
        self._count = count

    def _lay_out(self, levels: tuple[_Level, ...]) -> None:
        """Make room for another number of leaves, keeping of each level what stands before the first change."""
        sealed = _levels(self._sealed_count)
        moved = (self._count - self._sealed_count) * HASH_BYTES
        parts = [self._tree[: self._count * HASH_BYTES]]
        for height, level in enumerate(levels[1:], start=1):
            kept = b""
            if height < len(sealed):
                start = sealed[height].start + moved
                kept = bytes(self._tree[start : start + min(self._first >> height, sealed[height].width) * HASH_BYTES])
            parts.append(bytearray(kept.ljust(level.width * HASH_BYTES, b"\x00")))
        self._tree = bytearray().join(parts)


@lru_cache(maxsize=4096)
def _levels(count: int) -> tuple[_Level, ...]:
    """Levels of a tree over `count` leaves, leaf hashes first; none for none."""
    levels: list[_Level] = []
    start, width = 0, count
    while width:
        levels.append(_Level(start, width))
        start += width * HASH_BYTES
        width = (width + 1) // 2 if width > 1 else 0
    return tuple(levels)
