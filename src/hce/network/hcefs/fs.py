"""One node of HCE-FS: reads verify, damage found on the way is repaired before the answer leaves.

A read of a ciphertext takes the own shard, asks peers for as many as are missing, decodes, and compares with the name. A read of an
own shard takes it from disk, or computes it anew from k others. Either way an own shard that is missing or damaged is written again,
read back and verified. Beyond what the code bears there is an error with a name, never other bytes.

What a peer finds damaged here is not repaired in its request (see `peers.py`): it is noted, and `repair_noted` does it afterwards.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

from hce.foundation.codec.cid import DAG_CBOR, cid_of_dag_cbor
from hce.foundation.erasure.code import reconstruct
from hce.foundation.store.errors import BlobCorrupt, BlobNotFound
from hce.foundation.store.packs import PackStore
from hce.foundation.types.errors import HceError, Unavailable
from hce.network.channel import Channel
from hce.network.hcefs.errors import BlobMiscoded, BlobUnrecoverable
from hce.network.hcefs.gather import HEDGE_S, content_of, gather, is_shard
from hce.network.hcefs.manifest import Placed, read_manifest
from hce.network.hcefs.peers import MAX_ANSWER_BYTES, asking, serve
from hce.network.hcefs.placements import OwnShard, Placements

AT_ONCE = 4
"""Repairs under way at one time: one that waits for a silent peer does not hold up the others."""
MAX_NOTED = 100_000
"""Damaged shards remembered; more are found again by the scrubber."""

Worker = Callable[..., Awaitable[Any]]
"""`await worker(function, *arguments)`: runs it off the event loop."""

log = logging.getLogger("hce.hcefs")


class Counters(NamedTuple):
    """Own shards, since the process began."""

    verified: int
    """Read from disk and found whole."""
    damaged: int
    """Found missing or damaged, whether restored by now or not."""
    restored: int
    """Written again, read back and verified."""


class HceFs:
    """Used from one event loop; the disk is touched in the worker."""

    def __init__(
        self, *, chain: bytes, node: int, nodes: int, packs: PackStore, placements: Placements, channel: Channel, worker: Worker
    ) -> None:
        self._chain = chain
        self._node = node
        self._nodes = nodes
        self._packs = packs
        self.placements = placements
        self._peers = asking(channel)
        self._worker = worker
        self._writing = threading.Lock()
        self._noted: dict[bytes, None] = {}
        """To be repaired soon."""
        self._broken: set[bytes] = set()
        """Counted as damaged and not restored yet."""
        self._damaged = 0
        self._verified = 0
        self._restored = 0
        serve(channel, self._own_many)

    @property
    def counters(self) -> Counters:
        """A shard that two readers find damaged at one time counts once."""
        return Counters(self._verified, self._damaged, self._restored)

    async def blob(self, cid: bytes) -> bytes:
        """A ciphertext assembled from shards, or a manifest of this node. `BlobNotFound`, `BlobUnrecoverable`, `BlobMiscoded`."""
        found = await self._worker(self.placements.find, cid)
        if not found:
            return await self._manifest(cid)
        failure: HceError = BlobNotFound(cid=cid)
        for placed in found:
            try:
                return await self._assemble(placed)
            except (BlobUnrecoverable, BlobMiscoded) as error:
                failure = error
        raise failure

    async def shard(self, cid: bytes) -> bytes:
        """An own shard, repaired when it must be. `BlobNotFound` for one that is not this node's, else as `blob`."""
        shard = await self._own(cid)
        return await self._lost(cid) if shard is None else shard

    async def shards(self, cids: list[bytes]) -> list[bytes | None]:
        """Own shards as `shard`, None for those that cannot be given; ends early when they are MAX_ANSWER_BYTES together."""
        answer: list[bytes | None] = []
        size = 0
        for cid, shard in zip(cids, await self._own_many(cids), strict=False):
            answer.append(await self._lost_or_none(cid) if shard is None else shard)
            size += len(answer[-1] or b"")
            if size > MAX_ANSWER_BYTES:
                break
        return answer

    async def _lost_or_none(self, cid: bytes) -> bytes | None:
        try:
            return await self._lost(cid)
        except HceError:
            return None

    async def _lost(self, cid: bytes) -> bytes:
        """An own shard that the disk does not give, repaired."""
        failure: HceError = BlobNotFound(cid=cid)
        for placed in await self._worker(self.placements.find_own, cid):
            try:
                return await self._repaired(placed)
            except (BlobUnrecoverable, BlobMiscoded) as error:
                failure = error
        raise failure

    async def check(self, placed: Placed, number: int) -> int:
        """Verify one own shard and repair it when it must be; bytes read. `BlobUnrecoverable`, `BlobMiscoded`."""
        shard = await self._own(placed.shards[number])
        return len(await self._repaired(placed) if shard is None else shard)

    async def check_manifest(self, cid: bytes) -> None:
        """Verify one entered placement manifest, or get it again from a peer. `BlobUnrecoverable`."""
        await self._manifest(cid)

    async def find_again(self) -> int:
        """Looks through the packs for shards and manifests that are not where they should be; how many were found. Reads every pack."""
        found: int = await self._worker(self._packs.find_again)
        return found

    async def fetch_awaited(self, cid: bytes) -> None:
        """Bring in a manifest that a final block names, and this node's shards of it. `BlobUnrecoverable` while nobody can help."""
        placed = read_manifest(await self._manifest(cid), self._chain)
        await self._worker(self.placements.enter, cid, placed)
        await asyncio.gather(*(self._try_check(own) for own in self.placements.own_shards_of(cid, placed)))

    async def _try_check(self, own: OwnShard) -> None:
        try:
            await self.check(own.placed, own.number)
        except (BlobUnrecoverable, BlobMiscoded) as error:
            log.warning("a shard this node missed cannot be restored yet: %s", error.code)

    async def repair_noted(self) -> None:
        """Repair what peers and reads found damaged since the last time; what cannot be repaired is left to the scrubber."""
        await each_of(list(self._noted), self._repair)

    async def _repair(self, cid: bytes) -> None:
        try:
            await self.shard(cid)
        except HceError as error:
            log.warning("a damaged shard is not repaired: %s", error.code)
        self._noted.pop(cid, None)

    async def _assemble(self, placed: Placed) -> bytes:
        number = placed.shard_at(self._node)
        own = None if number is None else await self._own(placed.shards[number])
        have = {} if number is None or own is None else {number: own}
        shards = await gather(placed, self._fetch, have, without=number)
        content = content_of(placed, shards)
        if number is not None and own is None:
            await self._restore(placed, number, shards)
        return content

    async def _repaired(self, placed: Placed) -> bytes:
        """This node's shard of a content, computed from others and written."""
        number = placed.shard_at(self._node)
        if number is None:
            raise BlobNotFound(cid=placed.ciphertext)
        return await self._restore(placed, number, await gather(placed, self._fetch, {}, without=number))

    async def _restore(self, placed: Placed, number: int, shards: dict[int, bytes]) -> bytes:
        """The lost shard; a disk that takes no writes does not keep it from whoever asks."""
        shard = reconstruct(shards, placed.k, placed.m, number)
        if not is_shard(placed, number, shard):
            raise BlobMiscoded(cid=placed.ciphertext.hex(), shard=number)
        try:
            written: bool = await self._worker(self._write_again, placed.shards[number], shard)
        except Unavailable as error:
            log.warning("a restored shard is not written: %s", error.code)
        else:
            self._restored += written
            self._noted.pop(placed.shards[number], None)
            self._broken.discard(placed.shards[number])
        return shard

    async def _own(self, cid: bytes) -> bytes | None:
        """`_own_many` of one."""
        return (await self._own_many([cid]))[0]

    async def _own_many(self, cids: Sequence[bytes]) -> list[bytes | None]:
        """Own shards from disk, verified, read in one go; None for one that is damaged or missing, which is noted when it should be
        here. Ends early when they are MAX_ANSWER_BYTES together.
        """
        found: list[bytes | None] = await self._worker(self._read, cids)
        for cid, shard in zip(cids, found, strict=False):
            if shard is not None:
                self._verified += 1
            elif cid not in self._broken and await self._worker(self.placements.find_own, cid):
                self._note(cid)
        return found

    def _read(self, cids: Sequence[bytes]) -> list[bytes | None]:
        found: list[bytes | None] = []
        size = 0
        for cid in cids:
            try:
                found.append(self._packs.get(cid))
            except (BlobNotFound, BlobCorrupt):
                found.append(None)
            size += len(found[-1] or b"")
            if size > MAX_ANSWER_BYTES:
                break
        return found

    def _note(self, cid: bytes) -> None:
        if cid not in self._broken and len(self._broken) < MAX_NOTED:
            self._broken.add(cid)
            self._noted[cid] = None
            self._damaged += 1

    async def _manifest(self, cid: bytes) -> bytes:
        """A placement manifest from disk, or from a peer that has it."""
        try:
            found: bytes = await self._worker(self._packs.get, cid)
            return found
        except (BlobNotFound, BlobCorrupt):
            if cid[: len(DAG_CBOR)] != DAG_CBOR or not await self._worker(self.placements.wants, cid):
                raise
        manifest = await self._manifest_of_peers(cid)
        await self._worker(self._write_again, cid, manifest)
        return manifest

    async def _manifest_of_peers(self, cid: bytes) -> bytes:
        """Each name begins with another peer; one that is slow gets company. `BlobUnrecoverable` when nobody has it."""
        first = cid[-1] % self._nodes
        waiting = [peer for number in range(self._nodes) if (peer := (first + number) % self._nodes) != self._node]
        asked: set[asyncio.Task[bytes | None]] = set()
        try:
            while waiting or asked:
                if waiting:
                    asked.add(asyncio.create_task(self._asked(waiting.pop(0), cid)))
                done, asked = await asyncio.wait(asked, timeout=HEDGE_S if waiting else None, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    manifest = task.result()
                    if manifest is not None and cid_of_dag_cbor(manifest) == cid:
                        return manifest
        finally:
            for task in asked:
                task.cancel()
            await asyncio.gather(*asked, return_exceptions=True)
        raise BlobUnrecoverable("no node has this placement", cid=cid.hex())

    async def _fetch(self, node: int, cid: bytes) -> bytes | None:
        return await self._peers.ask(node, cid)

    async def _asked(self, peer: int, cid: bytes) -> bytes | None:
        try:
            return await self._fetch(peer, cid)
        except HceError:
            return None

    def _write_again(self, cid: bytes, blob: bytes) -> bool:
        """In place of what the disk gives under that name; durable, read back and verified on return. False when it was whole."""
        with self._writing:
            if self._packs.has(cid):
                try:
                    self._packs.get(cid)
                    return False
                except BlobCorrupt:
                    self._packs.delete(cid)
            self._packs.put(cid, blob)
            self._packs.get(cid)
            return True


async def each_of(names: Sequence[bytes], step: Callable[[bytes], Awaitable[None]]) -> None:
    """Every name's step, AT_ONCE of them at one time; a step raises nothing."""
    waiting = iter(names)

    async def walk() -> None:
        for name in waiting:
            await step(name)

    await asyncio.gather(*(walk() for _ in range(AT_ONCE)))
