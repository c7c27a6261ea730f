"""Contents by name, from whichever nodes give them: every shard and every content is compared with its name.

A ciphertext is gathered from the shards its placement names. Many are gathered together: each node is asked once for all its shards, and
only for what is missing then the nodes are asked one content at a time (`gather.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping, Sequence

from hce.foundation.codec.cid import is_named
from hce.foundation.types.errors import HceError, PeerFault, Unavailable
from hce.network.hcefs.errors import PlacementInvalid
from hce.network.hcefs.gather import HEDGE_S, content_of, gather, gather_first
from hce.network.hcefs.manifest import Placed, read_manifest
from hce.network.hcefs.together import Together
from hce.service.sdk.asking import Nodes
from hce.service.sdk.errors import NodeUnreachable, Remote, RemoteUnavailable
from hce.service.sdk.node import NodeClient

MAX_MANIFESTS = 64
"""Placement manifests remembered."""
MANIFESTS_BESIDE = 16
"""Placement manifests that are fetched at the same time."""
HEDGE_EACH_S = 0.01
"""How much longer a node may take for each ciphertext that is gathered at the same time, a large one counted as several."""
MAX_SHARDS_ASKED = 128
"""Shards in one request."""
GATHERED_TOGETHER, GATHERED_BYTES = 250, 32 << 20
"""Ciphertexts on their way at one time, and about their size: what they take in memory."""
LARGE_BYTES = 64 << 10
"""Larger contents are put together in a thread."""

Wanted = tuple[bytes, bytes]
"""Names of a ciphertext and of its placement."""


class BlobForged(PeerFault):
    """A node served bytes that are not what their name says."""

    code = "blob.forged"


class _Manifest:
    """A placement manifest, once it was read."""

    def __init__(self) -> None:
        self.reading = asyncio.Lock()
        self.placed: dict[bytes, Placed] = {}


class Contents:
    """Of one network of `n` nodes; `addresses` gives the clients that have proven to speak with a node. Used from one event loop."""

    def __init__(self, chain: bytes, n: int, asking: Nodes, addresses: Callable[[int], Awaitable[Sequence[NodeClient]]]) -> None:
        self._chain = chain
        self._n = n
        self._asking = asking
        self._addresses = addresses
        self._shards = Together(self._ask_shards, MAX_SHARDS_ASKED)
        self._manifests: dict[bytes, _Manifest] = {}
        self._gathering = 0

    async def one(self, cid: bytes, placement: bytes | None) -> bytes:
        """Bytes of that name: gathered where its placement says, else assembled by any node.

        Raises `BlobUnrecoverable` (or what the nodes say) when no node and no k shards give it.
        """
        placed = None if placement is None else (await self._placed([(cid, placement)]))[0]
        content = await self._content(cid, placed, {}, ())
        if isinstance(content, HceError):
            raise content
        return content

    async def many(self, wanted: Sequence[Wanted]) -> AsyncIterator[list[bytes | HceError]]:
        """`one` of many, in order and in lists of some that fit into memory together; what it would raise stands in its place."""
        for start in range(0, len(wanted), GATHERED_TOGETHER):
            window = wanted[start : start + GATHERED_TOGETHER]
            placed = await self._placed(window)
            for part in _by_size(placed):
                yield await self._some([cid for cid, _ in window[part]], placed[part])

    async def _some(self, cids: Sequence[bytes], placed: Sequence[Placed | HceError | None]) -> list[bytes | HceError]:
        spread = [one for one in placed if isinstance(one, Placed) and one.k > 1]
        wait_s = HEDGE_S + HEDGE_EACH_S * sum(map(_load_of, spread))
        first, silent = await gather_first(spread, self._shards.asked, wait_s)
        have = {one.ciphertext: shards for one, shards in zip(spread, first, strict=True)}
        return list(
            await asyncio.gather(
                *(self._content(cid, one, have.get(cid, {}), silent) for cid, one in zip(cids, placed, strict=True))
            )
        )

    async def _content(
        self, cid: bytes, placed: Placed | HceError | None, have: Mapping[int, bytes], silent: Collection[int]
    ) -> bytes | HceError:
        failure = placed if isinstance(placed, HceError) else None
        try:
            if isinstance(placed, Placed) and placed.k > 1:
                try:
                    return await self._assembled(placed, have, silent)
                except HceError as error:
                    failure = error
            return await self._whole(cid)
        except Unavailable as error:
            return failure or error
        except HceError as error:
            return error

    async def _assembled(self, placed: Placed, have: Mapping[int, bytes], silent: Collection[int]) -> bytes:
        """Whoever gathers many asks a node for many shards at once: it may take as much longer before another one is asked too."""
        self._gathering += _load_of(placed)
        try:
            hedge_s = HEDGE_S + HEDGE_EACH_S * self._gathering
            shards = await gather(placed, self._shards.ask, have, hedge_s=hedge_s, silent=silent)
        finally:
            self._gathering -= _load_of(placed)
        if placed.size_bytes > LARGE_BYTES:
            return await asyncio.to_thread(content_of, placed, shards)
        return content_of(placed, shards)

    async def _placed(self, wanted: Sequence[Wanted]) -> list[Placed | HceError | None]:
        """Where each lies, or why nobody knows; None where everything lies on one node."""
        if self._n == 1:
            return [None] * len(wanted)
        turn = asyncio.Semaphore(MANIFESTS_BESIDE)

        async def read(placement: bytes) -> Mapping[bytes, Placed] | HceError:
            async with turn:
                try:
                    return await self._manifest(placement)
                except HceError as error:
                    return error

        placements = list(dict.fromkeys(placement for _, placement in wanted))
        found = dict(zip(placements, await asyncio.gather(*map(read, placements)), strict=True))
        return [_in_manifest(found[placement], cid) for cid, placement in wanted]

    async def _manifest(self, placement: bytes) -> Mapping[bytes, Placed]:
        """By ciphertext, as any node may give it; whoever wants the same one at the same time waits for it."""
        manifest = self._manifests.get(placement)
        if manifest is None:
            while len(self._manifests) >= MAX_MANIFESTS:
                del self._manifests[next(iter(self._manifests))]
            manifest = self._manifests[placement] = _Manifest()
        async with manifest.reading:
            if not manifest.placed:
                read = read_manifest(await self._whole(placement), self._chain)
                manifest.placed = {one.ciphertext: one for one in read}
        return manifest.placed

    async def _whole(self, cid: bytes) -> bytes:
        """From the first node that gives bytes of that name; a node that lacks them is not the last word."""

        async def ask(node: NodeClient) -> bytes:
            try:
                content = await node.blob(cid)
            except Remote as error:
                raise RemoteUnavailable(error.code, node.url) from error
            if not is_named(cid, content):
                raise BlobForged(cid=cid.hex(), url=node.url)
            return content

        return await self._asking.first(ask)

    async def _ask_shards(self, index: int, cids: list[bytes]) -> list[bytes | None]:
        """The best answer of that node's addresses."""
        found: list[list[bytes | None]] = []
        failure: HceError = NodeUnreachable(node=index)
        for node in await self._addresses(index):
            try:
                found.append(await node.shards(cids))
            except HceError as error:
                failure = error
            else:
                if _count_named(cids, found[-1]) == len(cids):
                    break
        if not found:
            raise failure
        return max(found, key=lambda answers: _count_named(cids, answers))


def _load_of(placed: Placed) -> int:
    """As how many small ciphertexts one counts where time is allowed for it."""
    return 1 + placed.size_bytes // LARGE_BYTES


def _in_manifest(manifest: Mapping[bytes, Placed] | HceError, cid: bytes) -> Placed | HceError:
    if isinstance(manifest, HceError):
        return manifest
    return manifest.get(cid) or PlacementInvalid("names another ciphertext", expected=cid.hex())


def _by_size(placed: Sequence[Placed | HceError | None]) -> Iterator[slice]:
    """Neighbours that have at most GATHERED_BYTES together, at least one."""
    start = size = 0
    for place, one in enumerate(placed):
        more = one.size_bytes if isinstance(one, Placed) else 0
        if place > start and size + more > GATHERED_BYTES:
            yield slice(start, place)
            start, size = place, 0
        size += more
    if start < len(placed):
        yield slice(start, len(placed))


def _count_named(cids: Sequence[bytes], answers: Sequence[bytes | None]) -> int:
    """How many of the answers are what they were asked for by name."""
    return sum(one is not None and is_named(cid, one) for cid, one in zip(cids, answers, strict=False))
