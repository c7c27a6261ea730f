"""k good shards of one content, wherever they lie. The same for a node that asks its peers and for a client that asks nodes.

The content's own shards are asked for first: they need no arithmetic. A holder that fails, lies or is slow is replaced by the next;
what has not answered when k are together is cancelled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

from hce.foundation.codec.cid import cid_of_raw
from hce.foundation.erasure.code import decode, shard_size
from hce.foundation.types.errors import HceError
from hce.network.hcefs.errors import BlobMiscoded, BlobUnrecoverable
from hce.network.hcefs.manifest import Placed

HEDGE_S = 0.25
"""A holder that has not answered for so long gets company: one more is asked."""

Fetch = Callable[[int, bytes], Awaitable[bytes | None]]
"""(node, shard CID) -> the bytes it sent, believed by nobody; None or an `HceError` when it has none."""
AskTogether = Callable[[int, Sequence[bytes]], Sequence[asyncio.Future[bytes | None]]]
"""The same for many CIDs of one node; the answers are to come."""


async def gather(
    placed: Placed,
    fetch: Fetch,
    have: Mapping[int, bytes],
    without: int | None = None,
    hedge_s: float = HEDGE_S,
    silent: Collection[int] = (),
) -> dict[int, bytes]:
    """At least k shards by number, each the one the placement names; shard `without` is not asked for. `BlobUnrecoverable`.

    `silent` nodes, known not to have answered lately, come last.
    """
    good = dict(have)
    waiting = [number for number in range(len(placed.shards)) if number not in good and number != without]
    waiting.sort(key=lambda number: placed.nodes[number] in silent)
    asked: dict[asyncio.Task[bytes | None], int] = {}
    try:
        while len(good) < placed.k:
            while waiting and len(good) + len(asked) < placed.k:
                _ask_next(placed, fetch, waiting, asked)
            if not asked:
                raise BlobUnrecoverable(cid=placed.ciphertext.hex(), needed=placed.k, good=len(good), shards=len(placed.shards))
            done, _ = await asyncio.wait(asked, timeout=hedge_s, return_when=asyncio.FIRST_COMPLETED)
            if not done and waiting:
                _ask_next(placed, fetch, waiting, asked)
            for task in done:
                number, shard = asked.pop(task), task.result()
                if shard is not None and is_shard(placed, number, shard):
                    good[number] = shard
    finally:
        for task in asked:
            task.cancel()
        await asyncio.gather(*asked, return_exceptions=True)
    return good


async def gather_first(many: Sequence[Placed], ask: AskTogether, wait_s: float) -> tuple[list[dict[int, bytes]], set[int]]:
    """Of each content its own shards (the first k) that came, and the nodes of which none came.

    Every node is asked once for all it should have, and nobody is replaced. For contents that lie on the nodes undamaged this is all
    there is to do; the others go on from here with `gather`.
    """
    by_node: dict[int, list[tuple[int, int]]] = {}
    for place, placed in enumerate(many):
        for number in range(placed.k):
            by_node.setdefault(placed.nodes[number], []).append((place, number))
    coming: dict[asyncio.Future[bytes | None], tuple[int, int]] = {}
    for node, wanted in by_node.items():
        answers = ask(node, [many[place].shards[number] for place, number in wanted])
        coming |= dict(zip(answers, wanted, strict=True))
    try:
        deadline, waiting = asyncio.get_running_loop().time() + wait_s, set(coming)
        while waiting and (left_s := deadline - asyncio.get_running_loop().time()) > 0:
            late = {many[place].nodes[number] for place, number in map(coming.__getitem__, waiting)}
            enough = len(late) <= min(placed.m for placed in many)  # the others hold k of each
            done, waiting = await asyncio.wait(
                waiting, timeout=min(left_s, HEDGE_S) if enough else left_s, return_when=asyncio.FIRST_COMPLETED
            )
            if not done:
                break
    finally:
        for answer in coming:
            answer.cancel()
    good: list[dict[int, bytes]] = [{} for _ in many]
    for answer, (place, number) in coming.items():
        shard = None if answer.cancelled() or answer.exception() is not None else answer.result()
        if shard is not None and is_shard(many[place], number, shard):
            good[place][number] = shard
    gave = {many[place].nodes[number] for place, shards in enumerate(good) for number in shards}
    return good, set(by_node) - gave


def is_shard(placed: Placed, number: int, shard: bytes) -> bool:
    """Whether these bytes are that shard."""
    return len(shard) == shard_size(placed.size_bytes, placed.k) and cid_of_raw(shard) == placed.shards[number]


def content_of(placed: Placed, shards: Mapping[int, bytes]) -> bytes:
    """The ciphertext, verified against its name; `BlobMiscoded` when good shards give another."""
    content = decode(shards, placed.k, placed.m, placed.size_bytes)
    if cid_of_raw(content) != placed.ciphertext:
        raise BlobMiscoded(cid=placed.ciphertext.hex())
    return content


def _ask_next(placed: Placed, fetch: Fetch, waiting: list[int], asked: dict[asyncio.Task[bytes | None], int]) -> None:
    number = waiting.pop(0)
    asked[asyncio.create_task(_fetched(fetch, placed.nodes[number], placed.shards[number]))] = number


async def _fetched(fetch: Fetch, node: int, shard: bytes) -> bytes | None:
    try:
        return await fetch(node, shard)
    except HceError:
        return None
