"""Nodes of HCE-FS with real packs and tables on disk, and requests between them that go through memory."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from hce.foundation.codec.cid import cid_of_dag_cbor
from hce.foundation.codec.dagcbor import encode
from hce.foundation.store.packs import PackStore
from hce.foundation.types.errors import Unavailable
from hce.network.hcefs.fs import HceFs
from hce.network.hcefs.manifest import Placed, disperse, make_manifest, read_manifest
from hce.network.hcefs.placements import Placements

CHAIN = bytes(range(16))
MAP_BYTES = 4 << 20


class Wire:
    """Requests between nodes of one process. Whoever is in `away` neither asks nor answers, whoever is `silent` never answers;
    `lies` changes answers of a node."""

    def __init__(self) -> None:
        self.handlers: dict[tuple[int, str], Callable[[int, bytes], Awaitable[bytes]]] = {}
        self.away: set[int] = set()
        self.silent: set[int] = set()
        self.lies: dict[int, Callable[[bytes], bytes]] = {}
        self.requests: list[tuple[int, int]] = []

    def channel(self, node: int) -> Channel:
        return Channel(self, node)


class Channel:
    def __init__(self, wire: Wire, node: int) -> None:
        self._wire = wire
        self._node = node

    async def request(self, peer: int, method: str, payload: bytes, timeout_s: float) -> bytes:
        self._wire.requests.append((self._node, peer))
        if {self._node, peer} & self._wire.away:
            raise Unavailable(peer=peer)
        if peer in self._wire.silent:
            await asyncio.Event().wait()
        answer = await self._wire.handlers[peer, method](self._node, payload)
        return self._wire.lies.get(peer, bytes)(answer)

    def serve(self, method: str, handler: Callable[[int, bytes], Awaitable[bytes]], *, max_request_bytes: int) -> None:
        self._wire.handlers[self._node, method] = handler


class Member:
    """One node: its folder, its stores, its file system."""

    def __init__(self, path: Path, node: int, nodes: int, wire: Wire, stack: ExitStack) -> None:
        self.node, self.path = node, path / str(node)
        self.packs = stack.enter_context(PackStore.open(self.path / "packs", map_size=MAP_BYTES))
        self.placements = stack.enter_context(Placements.open(self.path / "placements", chain=CHAIN, node=node, map_size=MAP_BYTES))
        self.fs = HceFs(
            chain=CHAIN,
            node=node,
            nodes=nodes,
            packs=self.packs,
            placements=self.placements,
            channel=wire.channel(node),
            worker=at_once,
        )

    def take(self, manifest: bytes, shards: list[list[bytes]]) -> None:
        """As the intake does."""
        placed = read_manifest(manifest, CHAIN)
        own = [(one, one.shard_at(self.node)) for one in placed]
        mine = [(one.shards[at], shards[index][at]) for index, (one, at) in enumerate(own) if at is not None]
        self.packs.put_many([(cid_of_dag_cbor(manifest), manifest), *mine])
        self.placements.enter(cid_of_dag_cbor(manifest), placed)

    def pack_files(self) -> list[Path]:
        return sorted((self.path / "packs").glob("pack-*"))


class Nodes:
    """A network of n members and what was written to it."""

    def __init__(self, path: Path, n: int, stack: ExitStack) -> None:
        self.n, self.wire = n, Wire()
        self.members = [Member(path, node, n, self.wire, stack) for node in range(n)]
        self.contents: dict[bytes, bytes] = {}
        self.placed: list[Placed] = []
        self.manifest = b""

    def write(self, count: int = 3, size: int = 700, without: tuple[int, ...] = ()) -> list[Placed]:
        """One batch of ciphertexts, taken in by all members but those in `without`."""
        contents = [hashlib.shake_256(b"content %d of %d" % (number, size)).digest(size) for number in range(count)]
        dispersed = [disperse(content, self.n) for content in contents]
        self.manifest = encode(make_manifest(CHAIN, [one.placed for one in dispersed], self.n))
        self.placed = read_manifest(self.manifest, CHAIN)
        self.contents |= {one.ciphertext: content for one, content in zip(self.placed, contents, strict=True)}
        for member in self.members:
            if member.node not in without:
                member.take(self.manifest, [one.shards for one in dispersed])
        return self.placed

    def shard(self, placed: Placed, node: int) -> tuple[bytes, bytes]:
        """Name and true bytes of a node's shard."""
        number = placed.nodes.index(node)
        return placed.shards[number], disperse(self.contents[placed.ciphertext], self.n).shards[number]


async def at_once(function: Callable[..., Any], *arguments: Any) -> Any:
    return function(*arguments)


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Callable[[int], Nodes]]:
    with ExitStack() as stack:
        yield lambda n: Nodes(tmp_path, n, stack)
