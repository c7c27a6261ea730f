"""A node that was away asks its peers for the mail it missed.

Three questions, asked of every peer at once (what is believed and why stands in `replica.py`):

    erasures    since the node was last up to date: one signed copy is enough
    names       of feed, quarantine and inbox items since then: an item is fetched when enough peers name it
    records     that final blocks name and this node lacks: envelope by its digest, feed and lane by enough peers

Enough is n - quorum(n) + 1: more than may be faulty, so one of them is honest. A round is whole when quorum(n) nodes, this one
included, told everything, nothing of it was left out for a reason that passes, and this node's chain is not known to be old. Until then
the next round asks from the same time on. That time never passes the newest final block: whoever owns a place now is read from the chain.

No peer keeps a round from ending: its pages are counted, a page that leads nowhere is its last, and all it says in one part of a round
has PEER_S.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from hce.foundation.codec.dagcbor import decode_as, encode
from hce.foundation.types.clock import Clock
from hce.foundation.types.errors import HceError, Unavailable
from hce.foundation.types.quorum import quorum
from hce.network.channel import Channel, Handler
from hce.service.mailbox import replica as words
from hce.service.mailbox import streams
from hce.service.mailbox.replica import SHARED_KINDS, Erasures, Name, Names, PeerRecord, Replica, SharedKind

REQUEST_TIMEOUT_S = 10.0
MAX_ANSWER_BYTES = 8 << 20
OVERLAP_MS = 300_000
"""Clocks differ and answers take time: a round asks again for the last five minutes before the one before it."""
MAX_ROUND_NAMES = 100_000
"""Missed items of one kind one peer may name in a round; the rest comes with the next."""
MAX_PAGES = 1_000
"""Of one question, from one peer in one round."""
MAX_REQUEST_BYTES = 20 << 10
"""Of the longest question: the names of items."""
PEER_S = 60.0
"""For all answers of one peer in one part of a round."""
ROUND_S = 30.0
"""Between rounds."""
AGAIN_S = 5.0
"""After a round that was not whole: a node that just started has no links yet."""
SCRUB_STEP = 100
"""Rows looked at in one go."""
SCRUB_PAUSE_S = 0.05
"""Between two steps of a walk: 2,000 rows a second at most."""
SCRUB_REST_S = 60.0
"""Between two walks over all rows."""
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

    def answer_from(method: str, type_: Any, answer: Callable[[Any], Any]) -> None:
        channel.serve(method, handler(type_, answer), max_request_bytes=MAX_REQUEST_BYTES)

    def handler(type_: Any, answer: Callable[[Any], Any]) -> Handler:
        async def handle(peer: int, payload: bytes) -> bytes:
            return await worker(lambda: encode(answer(decode_as(type_, payload, max_bytes=MAX_REQUEST_BYTES))))  # type: ignore[no-any-return]  # a worker gives Any

        return handle

    answer_from(ERASURES, words.ErasedSince, replica.erasures)
    answer_from(NAMES, words.Since, replica.names)
    answer_from(ITEMS, words.Wanted, replica.items)
    answer_from(RECORDS, words.RecordIds, replica.records)


class MailCatchUp:
    """`run` until cancelled. `since_ms` is when a node that remembers no whole round was up to date: the time of its last final block."""

    def __init__(
        self,
        *,
        replica: Replica,
        channel: Channel,
        node: int,
        nodes: int,
        worker: Worker,
        clock: Clock,
        since_ms: int,
        peer_s: float = PEER_S,
    ) -> None:
        self._replica = replica
        self._channel = channel
        self._peers = [peer for peer in range(nodes) if peer != node]
        self._enough = witnesses_needed(nodes)
        self._quorum = quorum(nodes)
        self._worker = worker
        self._clock = clock
        marked_ms = replica.since_ms()
        self._since_ms = max(0, since_ms - OVERLAP_MS) if marked_ms is None else marked_ms
        self._peer_s = peer_s
        self._turn = 0

    async def run(self) -> None:
        if self._peers:
            await asyncio.gather(
                self._for_ever(self.round, ROUND_S, AGAIN_S),
                self._for_ever(self.fetch_records, RECORDS_S),
                self._for_ever(self.scrub, SCRUB_REST_S),
            )

    async def scrub(self) -> int:
        """One walk over all rows; how many did not open and are wanted again where they are final."""
        unreadable = 0
        position: bytes = b""
        while True:
            position, found = await self._worker(self._replica.renew_unreadable, position, SCRUB_STEP)
            unreadable += int(found)
            if not position:
                break
            await asyncio.sleep(SCRUB_PAUSE_S)
        if unreadable:
            log.error("%d envelopes did not open under their keys and are fetched again", unreadable)
        return unreadable

    async def round(self) -> bool:
        """Erasures and items; whether it was whole, so that the next round begins later."""
        began_ms, final_ms = self._clock.now_ms(), await self._worker(self._replica.up_to_date_ms)
        self._turn += 1
        await self._worker(self._replica.mark, self._since_ms)  # or a kill before the first whole round would leave a gap
        whole = sum(await self._of_each_in_time(self._erasures_of, self._peers)) + 1 >= self._quorum
        for kind in SHARED_KINDS:
            whole = await self._items(kind) and whole
        if not whole or final_ms is None:
            return False
        self._since_ms = max(self._since_ms, min(began_ms, final_ms) - OVERLAP_MS)
        await self._worker(self._replica.mark, self._since_ms)
        return True

    async def fetch_records(self) -> None:
        """Every wanted record that enough peers hold for one feed. Who fails once is not asked again this time."""
        position, nobody_has, peers = b"", [], self._peers
        while len(peers) >= self._enough and (wanted := await self._worker(self._replica.wanted, position, words.MAX_ASKED)):
            answers = await self._ask_all(peers, RECORDS, list(wanted), list[PeerRecord | None])
            peers = list(answers)
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

    async def _erasures_of(self, peer: int) -> bool:
        """Whether the peer told all its erasures and none waits for something that passes."""
        settled, after = True, b""
        for _ in range(MAX_PAGES):
            page = await self._ask(peer, ERASURES, words.ErasedSince(self._since_ms, after), Erasures)
            for signed in page.acts:
                settled = await self._take(self._replica.take_erasure, signed, self._clock.now_ms()) and settled
            if not page.goes_on(after):
                return settled
            after = page.next
        return False

    async def _items(self, kind: SharedKind) -> bool:
        """Take over every item of a kind that enough peers name; whether enough nodes named all they have and everything was settled."""
        named: dict[int, set[Name]] = {peer: set() for peer in self._peers}
        told = await self._of_each_in_time(lambda peer: self._names_of(peer, kind, named[peer]), self._peers)
        witnesses: dict[Name, list[int]] = defaultdict(list)
        for peer, names in named.items():
            for name in names:
                witnesses[name].append(peer)
        missed = {name: peers for name, peers in witnesses.items() if len(peers) >= self._enough}
        return await self._fetch_items(kind, missed) and sum(told) + 1 >= self._quorum

    async def _names_of(self, peer: int, kind: SharedKind, missing: set[Name]) -> bool:
        """Collect what a peer has and this node has not; whether that is all of it."""
        after = b""
        for _ in range(MAX_PAGES):
            page = await self._ask(peer, NAMES, words.Since(kind, self._since_ms, after), Names)
            missing.update(await self._worker(self._replica.missing, kind, page.names))
            if not page.goes_on(after):
                return True
            if len(missing) >= MAX_ROUND_NAMES:
                return False
            after = page.next
        return False

    async def _fetch_items(self, kind: SharedKind, missed: dict[Name, list[int]]) -> bool:
        """Ask witnesses for what they named, each for a share and all at once; what one does not give goes to the next of its own.

        Whether all came and was settled. Who fails once is not asked again in this round.
        """
        waiting = {name: _rotated(peers, self._turn + number) for number, (name, peers) in enumerate(missed.items())}
        silent: set[int] = set()
        settled = True

        async def fetch(peer: int, names: list[Name]) -> bool:
            nonlocal settled
            while names:
                asked = names[: words.MAX_ASKED]
                given = await self._ask(peer, ITEMS, words.Wanted(kind, asked), list[bytes | None])
                for name, data in zip(asked, given, strict=False):
                    if data is not None and streams.item_id(data) == name.item_id:
                        settled = (
                            await self._take(self._replica.take_item, kind, name.address, data, self._clock.now_ms()) and settled
                        )
                        waiting.pop(name, None)
                if not given:
                    return False
                names = names[len(given) :]
            return True

        async def ask_witnesses(turn: int) -> None:
            shares: dict[int, list[Name]] = defaultdict(list)
            for name, peers in waiting.items():
                if turn < len(peers) and peers[turn] not in silent:
                    shares[peers[turn]].append(name)
            answered = await self._of_each_in_time(lambda peer: fetch(peer, shares[peer]), list(shares))
            silent.update(peer for peer, did in zip(shares, answered, strict=True) if not did)

        for turn in range(len(self._peers)):
            await ask_witnesses(turn)
        return settled and not waiting

    async def _take(self, take: Callable[..., None], *what: Any) -> bool:
        """Whether that is settled: taken in, or refused for good. False when the same may be taken another time."""
        try:
            await self._worker(take, *what)
        except HceError as error:
            log.warning("missed mail is not taken in: %s", error.code)
            return not isinstance(error, Unavailable)
        return True

    async def _ask_all(self, peers: Sequence[int], method: str, question: Any, type_: type[T]) -> dict[int, T]:
        """Answers by peer; who cannot answer is left out."""
        answers: dict[int, T] = {}

        async def ask(peer: int) -> bool:
            answers[peer] = await self._ask(peer, method, question, type_)
            return True

        await self._of_each_in_time(ask, peers)
        return answers

    async def _of_each_in_time(self, ask: Callable[[int], Awaitable[bool]], peers: Sequence[int]) -> list[bool]:
        """What came of each of these peers; False for one that failed or took longer than a peer may."""

        async def one(peer: int) -> bool:
            try:
                async with asyncio.timeout(self._peer_s):
                    return await ask(peer)
            except (HceError, TimeoutError):
                return False

        return list(await asyncio.gather(*(one(peer) for peer in peers)))

    async def _ask(self, peer: int, method: str, question: Any, type_: type[T]) -> T:
        answer = await self._channel.request(peer, method, encode(question), REQUEST_TIMEOUT_S)
        return decode_as(type_, answer, max_bytes=MAX_ANSWER_BYTES)

    async def _for_ever(self, step: Callable[[], Awaitable[Any]], pause_s: float, again_s: float | None = None) -> None:
        """`again_s`: the pause after a step that answered False or failed, when it is another one."""
        while True:
            done: Any = False
            try:
                done = await step()
            except HceError as error:
                log.warning("missed mail cannot be fetched now: %s", error.code)
            await asyncio.sleep(again_s if again_s is not None and done is False else pause_s)


def _rotated(peers: list[int], by: int) -> list[int]:
    at = by % len(peers)
    return peers[at:] + peers[:at]


def _witnessed(offered: dict[int, PeerRecord | None], envelope_digest: bytes, enough: int) -> PeerRecord | None:
    """The record that enough peers hold for one feed in one lane, with the envelope the chain names."""
    votes: dict[tuple[bytes, bool], list[PeerRecord]] = defaultdict(list)
    for record in offered.values():
        if record is not None and words.fits(record, envelope_digest):
            votes[record.feed, record.quarantined].append(record)
    return next((records[0] for records in votes.values() if len(records) >= enough), None)
