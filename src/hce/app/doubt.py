"""Whether a node may have forgotten revocations it had seen, and how it comes to know them again. Until then it releases nothing.

A list that was damaged, lost, or set back with the rest of the disk (a restore, an old sign state) lacks revocations that were seen and
that no block held yet. Two ways lead out:

    by hearing    enough peers told all they have seen (`service/keyholders/hearing.py` says how many are enough, and why). They are asked
                  when a block was made a safe time after the loss and two more: what was on its way to them at the loss has arrived
    by waiting    a block is final that stands the whole replay window above the first one made a safe time after the loss. No block can
                  hold any more what was signed before: whatever was under way is final, or its owner was told that it is not

A lone node, or one with too few peers whose lists are whole, has only the second way.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Any

from hce.app.rejoin import Watch
from hce.foundation.types.errors import HceError
from hce.foundation.types.scalars import Height, TimeMs
from hce.service.contracts.health.errors import GrantRevoked
from hce.service.keyholders.hearing import Hearing, Take
from hce.service.keyholders.revoked import RevokedSet
from hce.service.ledger.ledger import Ledger

AGAIN_S = 2.0
"""Between two rounds of asking."""

log = logging.getLogger("hce.node")


def taking(ledger: Ledger) -> Take:
    """Judges a revocation as one that comes in at the door, whatever has become of its replay window."""

    def take(signed: bytes) -> bool:
        try:
            ledger.revoke_seen(signed)
        except GrantRevoked:
            return True
        except HceError as error:
            log.warning("a revocation a peer told is not taken: %s", error.code)
            return False
        with suppress(HceError):
            ledger.check_tx(signed)  # perhaps it waits in nobody's pool any more
        return True

    return take


class Doubt:
    """Of one list. `is_open` until everything that held is known."""

    def __init__(
        self,
        revoked: RevokedSet,
        hearing: Hearing,
        replay_window: int,
        worker: Callable[..., Awaitable[Any]],
        again_s: float = AGAIN_S,
    ) -> None:
        self._revoked, self._hearing, self._worker, self._again_s = revoked, hearing, worker, again_s
        self._may_ask = asyncio.Event()
        lost_ms = revoked.lost_ms
        self._known = asyncio.Event()
        if lost_ms is None:
            self._known.set()
        self._arriving = Watch(lost_ms or 0)
        self._window = Watch(lost_ms or 0, replay_window)

    @property
    def is_open(self) -> bool:
        return not self._known.is_set()

    async def block_is_final(self, height: Height, time_ms: TimeMs) -> None:
        """Told of each final block in order."""
        if not self.is_open:
            return
        if self._arriving.may_sign(height, time_ms):
            self._may_ask.set()
        if self._window.may_sign(height, time_ms):
            await self._end("what was under way when this node lost its list of revocations is final or has ended")

    def has_seen(self, blocks: Iterable[tuple[Height, TimeMs]]) -> None:
        """Final blocks of the life before this one, in order: what was waited for already is not waited for again."""
        for height, time_ms in blocks:
            self._window.may_sign(height, time_ms)
            if self._arriving.may_sign(height, time_ms):
                self._may_ask.set()

    async def run(self) -> None:
        """Asks until enough was heard; then, as at once without a doubt, nothing more."""
        if not self.is_open:
            return
        await self._may_ask.wait()
        while not (self._known.is_set() or await self._hearing.round()):
            with suppress(TimeoutError):
                await asyncio.wait_for(self._known.wait(), self._again_s)
        if not self._known.is_set():
            await self._end("enough nodes have told which revocations they have seen")

    async def _end(self, why: str) -> None:
        await self._worker(self._revoked.known_again)
        self._known.set()
        log.info("%s: this node releases again", why)
