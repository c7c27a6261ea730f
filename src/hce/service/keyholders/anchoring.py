"""Anchors of this node's release receipts: which periods are over, and the transactions that say their lists on chain.

After a block is final the node closes the periods before it, then posts a list hash for each closed period with receipts, until the
chain shows it. All of that follows from two things on disk, the lists in the mailbox and the final state, so nothing is lost by a kill
at any point: what is not on chain is posted, and the same list has the same root.
"""

from __future__ import annotations

import logging
from typing import Protocol

from hce.foundation.crypto.sign import SigningKey
from hce.service.mailbox.final import FinalState, FinalView
from hce.service.terms.genesis import Params
from hce.service.terms.payloads import ANCHOR_LATE_PERIODS, AnchorPost
from hce.service.terms.transactions import make_body, sign_tx

KIND = "anchor.post"
MAX_AT_A_TIME = 16
"""Periods looked at after one block: a node that comes back has few, and the next block brings the rest."""

log = logging.getLogger("hce.anchors")


class ReceiptPeriods(Protocol):
    """Lists of receipts by period; the mailbox's."""

    first_open: int

    def close_before(self, period: int) -> None: ...

    def due(self, limit: int) -> list[int]: ...

    def listed(self, period: int) -> tuple[int, bytes]: ...

    def settled(self, period: int) -> None: ...


class Anchoring:
    """Ask `wants` after each final block and do `work` when it says so. One caller at a time; `work` blocks on the disk."""

    def __init__(self, *, chain: bytes, service_key: SigningKey, params: Params, state: FinalView, periods: ReceiptPeriods) -> None:
        self._chain = chain
        self._service_key = service_key
        self._params = params
        self._state = state
        self._periods = periods
        self._due = True
        """Until the first look it is not known whether an earlier run left something to post."""
        self._signed: dict[int, tuple[int, bytes]] = {}
        """Period -> valid_until and transaction, so that posting again is the same transaction."""

    def wants(self, height: int) -> bool:
        """Whether a final block of this height leaves something to do."""
        return self._due or self._period_of(height) > self._periods.first_open

    def work(self) -> list[bytes]:
        """Signed transactions to submit now; none while this node is behind: it does not know what is on chain already."""
        with self._state() as final:
            if final.syncing:
                return []
            self._periods.close_before(self._period_of(final.height))
            due = self._periods.due(MAX_AT_A_TIME)
            waiting = [period for period in due if self._is_open(period, final)]
            for period in set(due) - set(waiting):
                self._periods.settled(period)
            self._due = bool(waiting) or len(due) == MAX_AT_A_TIME
            self._signed = {period: self._transaction(period, final.height) for period in waiting}
            return [raw for _, raw in self._signed.values()]

    def _is_open(self, period: int, final: FinalState) -> bool:
        """Not on chain, and the next block would still take it."""
        if final.health.anchor(self._service_key.public, period) is not None:
            return False
        late = self._period_of(final.height + 1) > period + 1 + ANCHOR_LATE_PERIODS
        if late:
            log.warning("period %d ended too long ago to be anchored", period)
        return not late

    def _transaction(self, period: int, height: int) -> tuple[int, bytes]:
        known = self._signed.get(period)
        if known is not None and known[0] > height:
            return known
        valid_until = height + self._params.replay_window // 2
        post = AnchorPost(period, *self._periods.listed(period), self._service_key.public)
        body = make_body(self._chain, KIND, post, None, valid_until)
        return valid_until, sign_tx(body, [("node", self._service_key)])

    def _period_of(self, height: int) -> int:
        return height // self._params.anchor_blocks
