"""How a node that was away learns that it misses blocks, and gets them.

Nodes tell their height when they meet and when nothing moves (`Status`). Who is one block ahead answers with that block; who is
further ahead answers with its `Head`: the newest final header and its commit, which is proof enough, since the node list is the same at
every height. Until we have that height we are syncing.

Of the peers that showed one we ask a single partner (`Fetch`). It keeps a window of blocks on their way, and each block we made final
asks for more, so the chain arrives as fast as we execute it, from one peer only. What is asked of us is bounded the same way, by
blocks and bytes under way to each peer.

A partner must keep up a rate: a full window for every few seconds that we spend waiting for it (our own work does not count). One that
stops or stays below, say a block now and then to keep its place, is replaced by the next peer that shows its head, and is not chosen
again for a while unless nobody else is there. So that others can show theirs, all are asked now and then, however well things go.
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
WAITS_PER_WINDOW = 5
"""Times the patience that we wait for one window, in blocks or in bytes: 12 blocks or 1.6 MiB a second at a patience of 1 s."""
REST = 60
"""Times the patience for which a partner that was too slow is not chosen again."""


class Serving(Struct):
    """What is on its way to one peer that catches up."""

    upto: Height
    """Highest block sent."""
    asked: Height
    """Highest height it asked from."""
    asked_ms: TimeMs
    under_way: deque[tuple[Height, int]]
    """(height, bytes) sent and not yet known to have arrived."""


class Pull(Struct):
    """What one partner has given, and what we waited for it, since its last full window."""

    since_ms: TimeMs
    waited_ms: int = 0
    blocks: int = 0
    bytes: int = 0

    def is_full(self) -> bool:
        return self.blocks >= WINDOW_BLOCKS or self.bytes >= WINDOW_BYTES


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
        self._pulls: dict[int, Pull] = {}
        self._resting: dict[int, TimeMs] = {}
        self._moved_ms = self._waiting_ms = self._alone_ms = self._asked_all_ms = clock.now_ms()
        self._next_bytes = 0
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
        if self._partner is not None:
            self._wait(self._partner, now_ms)
            if now_ms - self._moved_ms >= self._patience_ms:
                self._dismiss(now_ms)
        if self._partner is None and not self._rests(peer, now_ms):
            self._partner, self._moved_ms, self._waiting_ms = peer, now_ms, now_ms
            if now_ms - self._pull(peer, now_ms).since_ms > REST * self._patience_ms:
                self._pulls[peer] = Pull(now_ms)
            self._tell(peer, Fetch(self._blocklog.height + 1))

    def arrived(self, peer: int, height: Height, raw: bytes) -> bool:
        """A `FinalBlock` came. Whether it was kept: one of the window that overtook the blocks before it.

        Nothing in it was checked yet, so only the partner's is kept, as it came.
        """
        if peer != self._partner:
            return False
        ahead = height - self._blocklog.height - 1
        if ahead == 0:
            self._next_bytes = len(raw)
            self._wait(peer, self._clock.now_ms())
        size = len(raw) + sum(map(len, self._kept.values()))
        if not 0 < ahead < WINDOW_BLOCKS or size > 2 * WINDOW_BYTES or height in self._kept:
            return False
        self._kept[height] = raw
        return True

    def take(self, peer: int, height: Height) -> bytes | None:
        """The kept message of this height, if it came from this peer. Lower ones are not needed any more."""
        if peer != self._partner:
            return None
        raw = self._kept.get(height)
        self._kept = {one: kept for one, kept in self._kept.items() if one > height}
        self._next_bytes = len(raw or b"")
        return raw

    def on_final(self, peer: int) -> None:
        """A block of this peer became final here: ask it for more, or whether there is more."""
        now_ms, wanted = self._clock.now_ms(), self._blocklog.height + 1
        if peer == self._partner:
            self._count(peer, now_ms)
        if not self.syncing:
            self._leave(now_ms)
        asks_all = now_ms - self._asked_all_ms >= self._patience_ms
        if asks_all:
            self._asked_all_ms = now_ms
            self._network.broadcast(encode_message(Status(wanted)))
        if peer == self._partner:
            self._tell(peer, Fetch(wanted))
        elif not asks_all:
            self._tell(peer, Status(wanted))

    # Measuring

    def _pull(self, peer: int, now_ms: TimeMs) -> Pull:
        return self._pulls.setdefault(peer, Pull(now_ms))

    def _wait(self, partner: int, now_ms: TimeMs) -> None:
        """Nothing was to be done here until now but to wait for the partner."""
        pull = self._pull(partner, now_ms)
        pull.waited_ms += now_ms - self._waiting_ms
        self._waiting_ms = now_ms
        if pull.waited_ms >= WAITS_PER_WINDOW * self._patience_ms:
            self._dismiss(now_ms)

    def _count(self, partner: int, now_ms: TimeMs) -> None:
        pull = self._pull(partner, now_ms)
        pull.blocks += 1
        pull.bytes += self._next_bytes
        if pull.is_full():
            self._pulls[partner] = Pull(now_ms)
        self._moved_ms = self._waiting_ms = now_ms

    def _dismiss(self, now_ms: TimeMs) -> None:
        """The partner was too slow: others are asked, and it rests."""
        if self._partner is not None:
            self._resting[self._partner] = now_ms + REST * self._patience_ms
            self._pulls.pop(self._partner, None)
        self._asked_all_ms = now_ms - self._patience_ms
        self._leave(now_ms)

    def _leave(self, now_ms: TimeMs) -> None:
        if self._partner is not None:
            self._alone_ms = now_ms
        self._partner, self._kept = None, {}

    def _rests(self, peer: int, now_ms: TimeMs) -> bool:
        """A slow peer is better than none: it rests only until nobody else has come for a while."""
        return now_ms < self._resting.get(peer, now_ms) and now_ms - self._alone_ms < self._patience_ms

    def _tell(self, peer: int, message: Message) -> None:
        self._network.send(peer, encode_message(message))
