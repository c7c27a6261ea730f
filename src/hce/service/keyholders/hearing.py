"""A node whose list of seen revocations is not whole asks the others for theirs before it releases again.

Which revocations must it know? With n nodes, t of which make a release, a revocation holds once n - t + 1 honest nodes have seen it: too
few are left. This node may have been one of them. Then at least n - t of its n - 1 peers hold it, so any t peers include one that does:
whoever has heard everything from t peers knows every revocation that held. If fewer than t peers have whole lists, nobody can know, and the
node waits until whatever was under way is final or has ended (`app/doubt.py`).

One peer's word is enough for each revocation, because its owner signed it: it is judged as one that comes in at the door. Nobody can make
a node refuse a grant its owner did not revoke, and who names one that is refused is as good as silent. A peer that dropped one from its
list because a block holds it may be ahead: it is heard when this node has that block too.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any

from msgspec import Meta, Struct

from hce.foundation.codec.dagcbor import decode_as, encode
from hce.foundation.types.errors import HceError
from hce.foundation.types.scalars import Height
from hce.network.channel import Channel
from hce.service.keyholders.revoked import RevokedSet

SEEN = "keyholders.revoked"
"""The method."""
MAX_SIGNED = 500
"""Revocations of one answer."""
MAX_SIGNED_BYTES = 2_048
"""Of one revocation: a body and one signature are some 400 bytes."""
MAX_ANSWER_BYTES = 2 << 20
MAX_REQUEST_BYTES = 128
MAX_PAGES = 1_000
"""Of one peer: half a million revocations that no block holds."""
REQUEST_TIMEOUT_S = 10.0
PEER_S = 60.0
"""For everything one peer says in a round."""

Worker = Callable[..., Awaitable[Any]]
Take = Callable[[bytes], bool]
"""Judges a signed revocation and keeps it; whether it is settled: kept, or its grant is revoked on chain. Runs in a worker."""

log = logging.getLogger("hce.keyholders")


class SeenAfter(Struct, frozen=True, array_like=True):
    """The question. `after` continues an answer: the last grant of it."""

    after: Annotated[bytes, Meta(max_length=32)]


class Seen(Struct, frozen=True, array_like=True):
    """The answer, by ascending grant."""

    signed: Annotated[list[Annotated[bytes, Meta(max_length=MAX_SIGNED_BYTES)]], Meta(max_length=MAX_SIGNED)]
    next: Annotated[bytes, Meta(max_length=32)]
    """The last grant of a full page; empty at the end."""
    whole: bool
    """Whether the list holds everything this node has seen; one that was lost does not."""
    height: Height
    """Last final block of who answers: its list lacks what blocks up to there hold."""


def answer(revoked: RevokedSet, height: Callable[[], Height], question: SeenAfter) -> Seen:
    """One page of this node's list."""
    page = revoked.page(question.after, MAX_SIGNED)
    following = page[-1][0] if len(page) == MAX_SIGNED else b""
    return Seen([signed for _, signed in page], following, revoked.lost_ms is None, height())


def serve(revoked: RevokedSet, height: Callable[[], Height], channel: Channel, worker: Worker) -> None:
    """Answer peers."""

    async def handle(peer: int, payload: bytes) -> bytes:
        question = decode_as(SeenAfter, payload, max_bytes=MAX_REQUEST_BYTES)
        return await worker(lambda: encode(answer(revoked, height, question)))  # type: ignore[no-any-return]  # a worker gives Any

    channel.serve(SEEN, handle, max_request_bytes=MAX_REQUEST_BYTES)


class Hearing:
    """Asks the peers, as often as `round` is called. A peer that was heard once is not asked again."""

    def __init__(
        self,
        *,
        peers: Sequence[int],
        enough: int,
        channel: Channel,
        worker: Worker,
        take: Take,
        height: Callable[[], Height],
        peer_s: float = PEER_S,
    ) -> None:
        """`enough`: parts a release needs. `height`: of this node's last final block."""
        self._peers, self._enough, self._channel = tuple(peers), enough, channel
        self._worker, self._take, self._height = worker, take, height
        self._peer_s = peer_s
        self._heard: set[int] = set()

    async def round(self) -> bool:
        """Asks those who were not heard yet, all at once; whether enough have been."""
        asked = [peer for peer in self._peers if peer not in self._heard]
        told = await asyncio.gather(*(self._told_in_time(peer) for peer in asked))
        self._heard |= {peer for peer, all_of_it in zip(asked, told, strict=True) if all_of_it}
        return len(self._heard) >= self._enough

    async def _told_in_time(self, peer: int) -> bool:
        try:
            async with asyncio.timeout(self._peer_s):
                return await self._told(peer)
        except (HceError, TimeoutError):
            return False

    async def _told(self, peer: int) -> bool:
        """Takes everything a peer has seen revoked; whether that was all of it, and all of it was settled."""
        after = b""
        for _ in range(MAX_PAGES):
            raw = await self._channel.request(peer, SEEN, encode(SeenAfter(after)), REQUEST_TIMEOUT_S)
            page = decode_as(Seen, raw, max_bytes=MAX_ANSWER_BYTES)
            for signed in page.signed:
                if not await self._worker(self._take, signed):
                    return False
            if len(page.signed) < MAX_SIGNED or page.next <= after:
                return page.whole and page.height <= self._height()
            after = page.next
        return False
