"""How a node that was away learns that it misses blocks, and gets them.

Nodes tell their height when they meet and when nothing moves (`Status`). Who is one block ahead answers with that block; who is
further ahead answers with its `Head`: the newest final header and its commit, which is proof enough, since the node list is the same at
every height. Until we have that height we are syncing.

Of the peers that showed one we ask a single partner (`Fetch`). It keeps a window of blocks on their way, and each block we made final
asks for more, so the chain arrives as fast as we execute it, from one peer only. A partner that stops is replaced by the next peer
that shows its head. What is asked of us is bounded the same way, by blocks and bytes under way to each peer.
"""

from __future__ import annotations

from collections import deque

from msgspec import Struct

from hce.foundation.types.clock import Clock
from hce.foundation.types.scalars import Height, TimeMs
from hce.network.consensus.messages import Fetch, FinalBlock, Head, Message, Status, encode_message
from hce.network.runtime.blocklog import BlockLog
from hce.network.runtime.world import Network

WINDOW_BLOCKS = 64
"""Blocks on their way to one peer."""
WINDOW_BYTES = 8 * 1024 * 1024
"""Bytes on their way to one peer; one block may exceed it."""


class Serving(Struct):
    """What is on its way to one peer that catches up."""

    upto: Height
    """Highest block sent."""
    asked: Height
    """Highest height it asked from."""
    asked_ms: TimeMs
    under_way: deque[tuple[Height, int]]
    """(height, bytes) sent and not yet known to have arrived."""


class CatchUp:
    """Both sides of it, for one node. The caller checks what a head proves before it comes here."""

    def __init__(self, blocklog: BlockLog, network: Network, clock: Clock, patience_ms: int) -> None:
        """`patience_ms`: a partner silent for so long has stopped; the same is not answered twice within half of it."""
        self._blocklog = blocklog
        self._network = network
        self._clock = clock
        self._patience_ms = patience_ms
        self._answered: dict[int, tuple[Height, TimeMs]] = {}
        self._serving: dict[int, Serving] = {}
        self._partner: int | None = None
        self._kept: dict[Height, bytes] = {}
        self._moved_ms: TimeMs = 0
        self._shown: Height = blocklog.base_height

    @property
    def syncing(self) -> bool:
        """A peer proved a height final that we do not have."""
        return self._shown > self._blocklog.height

    # Giving

    def on_status(self, peer: int, height: Height) -> None:
        """A peer works on this height: the block if that is all it misses, our head if it misses more."""
        ours = self._blocklog.height
        if not self._blocklog.base_height < height <= ours or self._just_answered(peer, height):
            return
        stored = self._blocklog.head
        if stored.commit is None:
            return
        whole = FinalBlock(stored.block, stored.commit)
        self._tell(peer, whole if height == ours else Head(stored.block.header, stored.commit))

    def _just_answered(self, peer: int, height: Height) -> bool:
        now_ms = self._clock.now_ms()
        last = self._answered.get(peer)
        if last is not None and last[0] == height and now_ms - last[1] < self._patience_ms // 2:
            return True
        self._answered[peer] = (height, now_ms)
        return False

    def on_fetch(self, peer: int, height: Height) -> None:
        """A peer has everything below this height and wants what follows: fill its window.

        Asking from higher up says what arrived, however long it took. Asking from the same height again, or from beyond what was
        sent, says that something was lost: then the window begins anew, but not at once.
        """
        if not self._blocklog.base_height < height <= self._blocklog.height:
            return
        now_ms = self._clock.now_ms()
        serving = self._serving.get(peer)
        if serving is None or not serving.asked < height <= serving.upto + 1:
            if serving is not None and now_ms - serving.asked_ms < self._patience_ms // 2:
                return
            serving = self._serving[peer] = Serving(height - 1, height, now_ms, deque())
        serving.asked, serving.asked_ms = height, now_ms
        while serving.under_way and serving.under_way[0][0] < height:
            serving.under_way.popleft()
        self._fill(peer, serving)

    def _fill(self, peer: int, serving: Serving) -> None:
        size = sum(sent for _, sent in serving.under_way)
        while serving.upto < self._blocklog.height and len(serving.under_way) < WINDOW_BLOCKS and size < WINDOW_BYTES:
            stored = self._blocklog.read(serving.upto + 1)
            assert stored.commit is not None
            raw = encode_message(FinalBlock(stored.block, stored.commit))
            self._network.send(peer, raw)
            serving.upto += 1
            serving.under_way.append((serving.upto, len(raw)))
            size += len(raw)

    # Getting

    def is_news(self, head: Head) -> bool:
        """Whether its proof is worth checking."""
        return head.header.height > self._blocklog.height

    def on_head(self, peer: int, head: Head) -> None:
        """A peer proved that this header is final."""
        self._shown = max(self._shown, head.header.height)
        now_ms = self._clock.now_ms()
        if self._partner is None or now_ms - self._moved_ms >= self._patience_ms:
            self._partner, self._moved_ms, self._kept = peer, now_ms, {}
            self._tell(peer, Fetch(self._blocklog.height + 1))

    def keep(self, peer: int, height: Height, raw: bytes) -> bool:
        """Whether it was kept: a `FinalBlock` of the window that overtook the ones before it.

        Nothing in it was checked yet, so only the partner's is kept, as it came.
        """
        ahead = height - self._blocklog.height - 1
        size = len(raw) + sum(map(len, self._kept.values()))
        if peer != self._partner or not 0 < ahead < WINDOW_BLOCKS or size > 2 * WINDOW_BYTES or height in self._kept:
            return False
        self._kept[height] = raw
        return True

    def take(self, peer: int, height: Height) -> bytes | None:
        """The kept message of this height, if it came from this peer."""
        return self._kept.pop(height, None) if peer == self._partner else None

    def on_final(self, peer: int) -> None:
        """A block of this peer became final here: ask it for more, or whether there is more."""
        wanted = self._blocklog.height + 1
        if self.syncing and peer == self._partner:
            self._moved_ms = self._clock.now_ms()
            self._tell(peer, Fetch(wanted))
            return
        if not self.syncing:
            self._partner, self._kept = None, {}
        self._tell(peer, Status(wanted))

    def _tell(self, peer: int, message: Message) -> None:
        self._network.send(peer, encode_message(message))
