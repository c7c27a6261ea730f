"""Signed mailbox questions, asked of any node; what comes back is checked by whoever uses it."""

from __future__ import annotations

import os
from collections.abc import Sequence

from hce.foundation.codec.dagcbor import decode_as
from hce.foundation.crypto.sign import SigningKey
from hce.foundation.types.clock import Clock
from hce.service.sdk.network import Network
from hce.service.sdk.node import NodeClient
from hce.service.terms.mailbox import (
    MAX_PAGE_ITEMS,
    MailboxRead,
    MailItem,
    MailPage,
    ReadKind,
    RecordsPage,
    SignedRead,
    read_message,
)

MAX_PAGES = 10_000
"""Bound of one walk through a stream."""


class Mail:
    """One place in the mailbox as its reader sees it: a feed, a log or an inbox, and the key that may read it."""

    def __init__(self, network: Network, clock: Clock, place: list[bytes], key: SigningKey) -> None:
        self._network = network
        self._clock = clock
        self._place = place
        self._key = key

    async def items(self, what: ReadKind, after: int = 0) -> list[MailItem]:
        """Every item after that number, in order. Nodes number on their own, so one node answers a whole walk."""

        async def walk(node: NodeClient) -> list[MailItem]:
            found: list[MailItem] = []
            position = after
            for _ in range(MAX_PAGES):
                page = decode_as(MailPage, await node.mailbox("read", self._signed(what, position, [])))
                found += page.items
                if not page.more or not page.items:
                    break
                position = page.items[-1].seq
            return found

        return await self._network.any_node(walk)

    async def records(self, what: ReadKind, record_ids: Sequence[bytes]) -> RecordsPage:
        """Envelopes (and, for the owner, wraps) of records of a feed."""
        found = RecordsPage([], [])
        for start in range(0, len(record_ids), MAX_PAGE_ITEMS):
            asked = self._signed(what, 0, list(record_ids[start : start + MAX_PAGE_ITEMS]))

            async def ask(node: NodeClient, asked: SignedRead = asked) -> RecordsPage:
                return decode_as(RecordsPage, await node.mailbox("read", asked))

            page = await self._network.any_node(ask)
            found = RecordsPage(found.found + page.found, found.erased + page.erased)
        return found

    def _signed(self, what: ReadKind, after: int, records: list[bytes]) -> SignedRead:
        read = MailboxRead(
            self._network.chain, what, self._place, after, MAX_PAGE_ITEMS, records, self._clock.now_ms(), os.urandom(32)
        )
        return SignedRead(read, self._key.sign(read_message(read)))
