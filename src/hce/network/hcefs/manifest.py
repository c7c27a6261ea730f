"""The placement manifest: which shards carry which ciphertext (`docs/formats.md`, Shards). Nodes read it; it names no person."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final, Literal, NamedTuple

from msgspec import Meta, Struct

from hce.foundation.codec.cid import cid_of_raw
from hce.foundation.codec.dagcbor import decode_as
from hce.foundation.erasure.code import MAX_SHARDS, encode
from hce.foundation.erasure.errors import ShardsUnfit
from hce.foundation.erasure.placement import place
from hce.foundation.types.ladder import MAX_NODES, Dispersal, ladder
from hce.foundation.types.scalars import ChainId, Cid
from hce.network.hcefs.errors import PlacementInvalid

PLACEMENT_DOMAIN: Final = "hce/placement/1"
MAX_PLACEMENT_BYTES = 1 << 20


class PlacedBlob(Struct, frozen=True, array_like=True):
    ciphertext: Cid
    size_bytes: Annotated[int, Meta(ge=1, le=1 << 32)]
    shards: Annotated[list[Cid], Meta(min_length=1, max_length=MAX_SHARDS)]


class PlacementManifest(Struct, frozen=True, array_like=True):
    """Where the ciphertexts of a batch lie, in record order. Readable by nodes."""

    domain: Literal["hce/placement/1"]
    chain: ChainId
    blobs: list[PlacedBlob]
    k: Annotated[int, Meta(ge=1, le=MAX_NODES)]
    """Shards that give a ciphertext back."""
    n: Annotated[int, Meta(ge=1, le=MAX_NODES)]
    """Nodes it was placed on; each shard's node follows by `place`."""


class Placed(NamedTuple):
    """One ciphertext, ready to be gathered."""

    ciphertext: bytes
    size_bytes: int
    k: int
    n: int
    """Nodes of the network when it was placed."""
    shards: list[bytes]
    nodes: list[int]
    """Node of each shard."""

    @property
    def m(self) -> int:
        return len(self.shards) - self.k

    def shard_at(self, node: int) -> int | None:
        """Number of the shard that node keeps."""
        return self.nodes.index(node) if node in self.nodes else None


class Dispersed(NamedTuple):
    """A ciphertext's shards by number, as its author makes them."""

    placed: PlacedBlob
    shards: list[bytes]


def disperse(ciphertext: bytes, n: int) -> Dispersed:
    """Shards of a ciphertext for a network of n nodes."""
    k, m = ladder(n)
    shards = encode(ciphertext, k, m)
    names = [cid_of_raw(ciphertext)] * (1 + m) if k == 1 else [cid_of_raw(shard) for shard in shards]
    return Dispersed(PlacedBlob(cid_of_raw(ciphertext), len(ciphertext), names), shards)


def make_manifest(chain: bytes, blobs: Sequence[PlacedBlob], n: int) -> PlacementManifest:
    return PlacementManifest(PLACEMENT_DOMAIN, chain, list(blobs), ladder(n).k, n)


def read_manifest(raw: bytes, chain: bytes) -> list[Placed]:
    """Every ciphertext of the manifest with the nodes of its shards, in record order. `Malformed`, `PlacementInvalid`."""
    manifest = decode_as(PlacementManifest, raw, max_bytes=MAX_PLACEMENT_BYTES)
    if manifest.chain != chain:
        raise PlacementInvalid("of another chain", expected=chain.hex(), actual=manifest.chain.hex())
    return [_placed(manifest, blob) for blob in manifest.blobs]


def require_ladder(placed: Placed, n: int) -> None:
    """A new content is dispersed as the ladder of the network's n nodes says; `PlacementInvalid`."""
    if placed.n != n or Dispersal(placed.k, placed.m) != ladder(n):
        raise PlacementInvalid("not the dispersal of this network", k=placed.k, m=placed.m, n=placed.n, nodes=n)


def _placed(manifest: PlacementManifest, blob: PlacedBlob) -> Placed:
    k, m = manifest.k, len(blob.shards) - manifest.k
    if m < 0 or (k > 1 and m == 0):
        raise PlacementInvalid("too few shards", k=k, shards=len(blob.shards))
    if k == 1 and any(shard != blob.ciphertext for shard in blob.shards):
        raise PlacementInvalid("a replica is the ciphertext itself")
    try:
        nodes = place(manifest.chain, blob.ciphertext, k, m, manifest.n)
    except ShardsUnfit as error:
        raise PlacementInvalid("more shards than nodes", k=k, m=m, n=manifest.n) from error
    return Placed(blob.ciphertext, blob.size_bytes, k, manifest.n, blob.shards, nodes)
