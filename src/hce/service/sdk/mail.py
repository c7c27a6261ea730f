"""Signed mailbox questions; what comes back is checked by whoever uses it."""

from __future__ import annotations

import os
from collections.abc import Sequence

from hce.foundation.crypto.sign import SigningKey
from hce.foundation.types.clock import Clock
from hce.foundation.types.errors import HceError
from hce.service.sdk.errors import BadAnswer
from hce.service.sdk.network import Network
from hce.service.sdk.node import NodeClient, decoded
from hce.service.terms.mailbox import (
    MAX_PAGE_ITEMS,
    ActKind,
    MailboxAct,
    MailboxRead,
    MailItem,
    MailPage,
    Ownership,
    ReadKind,
    RecordsPage,
    SignedAct,
    SignedRead,
    act_message,
    read_message,
)

MAX_PAGES = 1_000
"""Bound of one walk through a stream: five times what a node keeps at one address."""
SLOW_S = 5.0
"""How long a walk waits for nodes that have not answered when most have."""


class Mail:
    """One place in the mailbox as its reader sees it: a feed, a log or an inbox, and the key that may read it.

    `owner` is given where the compartment's owner asks as such; `key` is then the owner key it names. Every request is signed for one
    node: at another it is worth nothing.
    """

    def __init__(self, network: Network, clock: Clock, place: list[bytes], key: SigningKey, owner: Ownership | None = None) -> None:
        self._network = network
        self._clock = clock
        self._place = place
        self._key = key
        self._owner = owner

    async def items(self, what: ReadKind) -> list[bytes]:
        """Every item any node holds, each once. One node alone may lack some or keep them back; at least one must answer."""
        walks = await self._network.every_node(lambda node: self.walk(node, what), SLOW_S)
        found = [walk for walk in walks if isinstance(walk, list)]
        if not found:
            raise next(answer for answer in walks if isinstance(answer, HceError))
        return list(dict.fromkeys(item.data for walk in found for item in walk))

    async def walk(self, node: NodeClient, what: ReadKind) -> list[MailItem]:
        """Every item of one node, in its order: nodes number on their own."""
        index = await self._network.index_of(node)
        found: list[MailItem] = []
        position = 0
        for _ in range(MAX_PAGES):
            page = decoded(MailPage, await node.mailbox("read", self._signed(index, what, position, [])), node.url)
            if any(item.seq <= position for item in page.items):
                raise BadAnswer("items out of order", url=node.url)
            found += page.items
            if not page.more or not page.items:
                break
            position = page.items[-1].seq
        return found

    async def act(self, node: NodeClient, what: ActKind, number: int) -> None:
        """One change at one node."""
        act = MailboxAct(
            chain=self._network.chain,
            node=await self._network.index_of(node),
            what=what,
            place=self._place,
            owner=self._owner,
            number=number,
            records=[],
            time_ms=self._clock.now_ms(),
            nonce=os.urandom(32),
        )
        await node.mailbox("act", SignedAct(act, self._key.sign(act_message(act))))

    async def records(self, node: NodeClient, what: ReadKind, record_ids: Sequence[bytes]) -> RecordsPage:
        """What one node holds of these records: envelopes (and, for the owner, wraps)."""
        index = await self._network.index_of(node)
        found = RecordsPage([], [])
        for start in range(0, len(record_ids), MAX_PAGE_ITEMS):
            asked = self._signed(index, what, 0, list(record_ids[start : start + MAX_PAGE_ITEMS]))
            page = decoded(RecordsPage, await node.mailbox("read", asked), node.url)
            found = RecordsPage(found.found + page.found, found.erased + page.erased)
        return found

    def _signed(self, node: int, what: ReadKind, after: int, records: list[bytes]) -> SignedRead:
        read = MailboxRead(
            chain=self._network.chain,
            node=node,
            what=what,
            place=self._place,
            owner=self._owner,
            after=after,
            limit=MAX_PAGE_ITEMS,
            records=records,
            time_ms=self._clock.now_ms(),
            nonce=os.urandom(32),
        )
        return SignedRead(read, self._key.sign(read_message(read)))
