"""Roots of Ethereum's transaction and receipt tries: RLP(index) -> item, in a Merkle-Patricia trie.

The trie is thrown away when its root is known, so it is built once from all its leaves instead of being grown leaf by leaf: PyPI
`trie` takes 141 us an item that way, 0.4 s for a full block of transfers, more than the block may cost. The tests hold this against
that library and against ethereumjs.
"""

from __future__ import annotations

from collections.abc import Sequence

from hce.foundation.codec.rlp import RlpItem, rlp_encode, rlp_integer
from hce.foundation.crypto.hashing import keccak256
from hce.foundation.types.scalars import Digest

EMPTY_TRIE_ROOT = keccak256(rlp_encode(b""))

_Leaf = tuple[bytes, bytes]
"""Key in nibbles (one a byte), item."""


def ordered_root(items: Sequence[bytes]) -> Digest:
    """Root over the items in order; EMPTY_TRIE_ROOT for none."""
    if not items:
        return EMPTY_TRIE_ROOT
    leaves = sorted((_nibbles(rlp_encode(rlp_integer(index))), item) for index, item in enumerate(items))
    return keccak256(rlp_encode(_node(leaves, 0)))


def _node(leaves: list[_Leaf], depth: int) -> RlpItem:
    """The node over sorted leaves that agree in the first `depth` nibbles. No key is a prefix of another: RLP is prefix-free."""
    first, last = leaves[0], leaves[-1]
    if len(leaves) == 1:
        return [_compact(first[0][depth:], leaf=True), first[1]]
    shared = depth
    while first[0][shared] == last[0][shared]:
        shared += 1
    branch = _branch(leaves, shared)
    return branch if shared == depth else [_compact(first[0][depth:shared], leaf=False), _reference(branch)]


def _branch(leaves: list[_Leaf], depth: int) -> RlpItem:
    children: list[RlpItem] = [b""] * 17
    start = 0
    for end in range(1, len(leaves) + 1):
        if end == len(leaves) or leaves[end][0][depth] != leaves[start][0][depth]:
            children[leaves[start][0][depth]] = _reference(_node(leaves[start:end], depth + 1))
            start = end
    return children


def _reference(node: RlpItem) -> RlpItem:
    """A node inside of its parent: itself below 32 bytes, else its hash."""
    encoded = rlp_encode(node)
    return node if len(encoded) < 32 else keccak256(encoded)


def _compact(nibbles: bytes, *, leaf: bool) -> bytes:
    """Hex-prefix encoding (yellow paper, appendix C)."""
    flag = 2 if leaf else 0
    padded = bytes([flag + 1]) + nibbles if len(nibbles) % 2 else bytes([flag, 0]) + nibbles
    return bytes(high << 4 | low for high, low in zip(padded[::2], padded[1::2], strict=True))


def _nibbles(key: bytes) -> bytes:
    return bytes(half for byte in key for half in (byte >> 4, byte & 15))
