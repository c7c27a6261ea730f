"""A node that was away asks its peers for the mail it missed.

Three questions, asked of every peer at once (what is believed and why stands in `replica.py`):

    erasures    since the node was last up to date: one signed copy is enough
    names       of feed, quarantine and inbox items since then: an item is fetched when enough peers name it
    records     that final blocks name and this node lacks: envelope by its digest, feed and lane by enough peers

Enough is n - quorum(n) + 1: more than may be faulty, so one of them is honest. A round counts as complete when quorum(n) nodes, this
one included, took part; until then the next one asks from the same time on.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

from hce.foundation.codec.dagcbor import decode_as, encode
from hce.foundation.types.clock import Clock
from hce.foundation.types.errors import HceError
from hce.foundation.types.quorum import quorum
from hce.network.channel import Channel, Handler
from hce.service.mailbox import replica as words
from hce.service.mailbox import streams
from hce.service.mailbox.errors import Behind
from hce.service.mailbox.replica import SHARED_KINDS, Erasures, Name, Names, PeerRecord, Replica, SharedKind

REQUEST_TIMEOUT_S = 10.0
MAX_ANSWER_BYTES = 8 << 20
OVERLAP_MS = 300_000
"""Clocks differ and answers take time: a round asks again for the last five minutes before the one before it."""
MAX_ROUND_NAMES = 100_000
"""Items of one kind one peer may name in a round; the rest comes with the next."""
ROUND_S = 30.0
"""Between rounds."""
RECORDS_S = 3.0
"""Between looks at whether a final block named a record that is not here."""

ERASURES, NAMES, ITEMS, RECORDS = "mailbox.erasures", "mailbox.names", "mailbox.items", "mailbox.records"

T = TypeVar("T")
Worker = Callable[..., Awaitable[Any]]

log = logging.getLogger("hce.mailbox")


def witnesses_needed(n: int) -> int:
    """Nodes that cannot all be faulty."""
    return n - quorum(n) + 1


def serve(replica: Replica, channel: Channel, worker: Worker) -> None:
    """Answer peers."""

    def handler(type_: Any, answer: Callable[[Any], Any]) -> Handler:
        async def handle(peer: int, payload: bytes) -> bytes:
            return await worker(lambda: encode(answer(decode_as(type_, payload))))  # type: ignore[no-any-return]  # a worker gives Any

        return handle

    channel.serve(ERASURES, handler(words.ErasedSince, replica.erasures))
    channel.serve(NAMES, handler(words.Since, replica.names))
    channel.serve(ITEMS, handler(words.Wanted, replica.items))
    channel.serve(RECORDS, handler(words.RecordIds, replica.records))


class MailCatchUp:
    """`run` until cancelled. `since_ms` is when this node last was up to date: the time of its last final block."""

    def __init__(
        self, *, replica: Replica, channel: Channel, node: int, nodes: int, worker: Worker, clock: Clock, since_ms: int
    ) -> None:
        self._replica = replica
        self._channel = channel
        self._peers = [peer for peer in range(nodes) if peer != node]
        self._enough = witnesses_needed(nodes)
        self._quorum = quorum(nodes)
        self._worker = worker
        self._clock = clock
        self._since_ms = max(0, since_ms - OVERLAP_MS)

    async def run(self) -> None:
        if self._peers:
            await asyncio.gather(self._for_ever(self.round, ROUND_S), self._for_ever(self.fetch_records, RECORDS_S))

    async def round(self) -> bool:
        """Erasures and items; whether enough nodes took part, so that the next round begins later."""
        began_ms = self._clock.now_ms()
        whole = len(await self._erasures()) + 1 >= self._quorum
        for kind in SHARED_KINDS:
            whole = await self._items(kind) and whole
        if whole:
            self._since_ms = max(self._since_ms, began_ms - OVERLAP_MS)
        return whole

    async def fetch_records(self) -> None:
        """Every wanted record that enough peers hold for one feed."""
        position, nobody_has = b"", []
        while wanted := await self._worker(self._replica.wanted, position, words.MAX_ASKED):
            answers = await self._ask_all(RECORDS, list(wanted), list[PeerRecord | None])
            for at, (record_id, envelope_digest) in enumerate(wanted.items()):
                offered = {peer: answer[at] for peer, answer in answers.items() if len(answer) == len(wanted)}
                if len(offered) + 1 >= self._quorum and not any(offered.values()):
                    nobody_has.append(record_id)
                record = _witnessed(offered, envelope_digest, self._enough)
                if record is not None:
                    await self._take(self._replica.take_record, record_id, record)
            position = next(reversed(wanted))
        if position:
            await self._worker(self._replica.strike, nobody_has)

    async def _erasures(self) -> list[int]:
        """Peers whose erasures were all taken over."""
        return [peer for peer in await self._of_each(self._erasures_of) if peer is not None]

    async def _erasures_of(self, peer: int) -> int:
        after = b""
        while True:
            page = await self._ask(peer, ERASURES, words.ErasedSince(self._since_ms, after), Erasures)
            for signed in page.acts:
                await self._take(self._replica.take_erasure, signed, self._clock.now_ms())
            if page.next <= after:
                return peer
            after = page.next

    async def _items(self, kind: SharedKind) -> bool:
        """Take over every item of a kind that enough peers name; whether enough nodes answered and all came."""
        named = [found for found in await self._of_each(lambda peer: self._names_of(peer, kind)) if found is not None]
        witnesses: dict[Name, list[int]] = defaultdict(list)
        for peer, names in named:
            for name in names:
                witnesses[name].append(peer)
        missed = [name for name, peers in witnesses.items() if len(peers) >= self._enough]
        came = [await self._fetch_item(kind, name, witnesses[name]) for name in missed]
        return all(came) and len(named) + 1 >= self._quorum

    async def _names_of(self, peer: int, kind: SharedKind) -> tuple[int, set[Name]]:
        """What a peer has and this node has not."""
        missing: set[Name] = set()
        after = b""
        while True:
            page = await self._ask(peer, NAMES, words.Since(kind, self._since_ms, after), Names)
            missing.update(await self._worker(self._replica.missing, kind, page.names))
            if page.next <= after or len(missing) >= MAX_ROUND_NAMES:
                return peer, missing
            after = page.next

    async def _fetch_item(self, kind: SharedKind, name: Name, witnesses: Iterable[int]) -> bool:
        for peer in witnesses:
            try:
                (data,) = await self._ask(peer, ITEMS, words.Wanted(kind, [name]), list[bytes | None])
            except (HceError, ValueError):
                continue
            if data is not None and streams.item_id(data) == name.item_id:
                return await self._take(self._replica.take_item, kind, name.address, data, self._clock.now_ms())
        return False

    async def _take(self, take: Callable[..., None], *what: Any) -> bool:
        """False when this node refuses it: a full mailbox, an erased record, nonsense."""
        try:
            await self._worker(take, *what)
        except Behind:
            raise  # the peer may be right: what it said counts as not heard, and is asked for again
        except HceError as error:
            log.warning("missed mail is not taken in: %s", error.code)
            return False
        return True

    async def _ask_all(self, method: str, question: Any, type_: type[T]) -> dict[int, T]:
        """Answers by peer; who cannot answer is left out."""

        async def one(peer: int) -> tuple[int, T]:
            return peer, await self._ask(peer, method, question, type_)

        return dict(answer for answer in await self._of_each(one) if answer is not None)

    async def _of_each(self, ask: Callable[[int], Awaitable[T]]) -> list[T | None]:
        async def one(peer: int) -> T | None:
            try:
                return await ask(peer)
            except HceError:
                return None

        return list(await asyncio.gather(*(one(peer) for peer in self._peers)))

    async def _ask(self, peer: int, method: str, question: Any, type_: type[T]) -> T:
        answer = await self._channel.request(peer, method, encode(question), REQUEST_TIMEOUT_S)
        return decode_as(type_, answer, max_bytes=MAX_ANSWER_BYTES)

    async def _for_ever(self, step: Callable[[], Awaitable[Any]], pause_s: float) -> None:
        while True:
            try:
                await step()
            except HceError as error:
                log.warning("missed mail cannot be fetched now: %s", error.code)
            await asyncio.sleep(pause_s)


def _witnessed(offered: dict[int, PeerRecord | None], envelope_digest: bytes, enough: int) -> PeerRecord | None:
    """The record that enough peers hold for one feed in one lane, with the envelope the chain names."""
    votes: dict[tuple[bytes, bool], list[PeerRecord]] = defaultdict(list)
    for record in offered.values():
        if record is not None and words.fits(record, envelope_digest):
            votes[record.feed, record.quarantined].append(record)
    return next((records[0] for records in votes.values() if len(records) >= enough), None)
