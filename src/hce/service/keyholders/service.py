"""A keyholder at work: decide, write the owner's receipt, answer the reader, in that order.

The receipt is durable before the first partial is computed. A crash in between leaves a receipt of a release that did not happen:
the owner may be told too much, never too little. Without room for the receipt nothing is released.

An entry has one receipt at each node that answered, written at the first release under it, and it names every record of the entry:
released at most these. Asking again, for the same records or for others of the entry, is covered by it. So a log grows by one item for
each access entry somebody paid for on chain; receipts for each part of an entry would let one entry of 1,000 records fill it. A log that
is full all the same stops releases until its owner drops the oldest receipts he has read; nothing is dropped for him.

Openings and salts live in the request and die with it.
"""

from __future__ import annotations

from typing import Protocol

from hce.foundation.crypto.sign import SigningKey
from hce.foundation.crypto.threshold import KeyShare
from hce.foundation.types.clock import Clock
from hce.service.keyholders.case import ReleaseMoment
from hce.service.keyholders.checked import CheckedCapsules
from hce.service.keyholders.errors import GrantRevoked, NoKeyholders, RevokeSeen
from hce.service.keyholders.partials import receipt_item_id, sealed_receipt, sealed_reply, signed_receipt
from hce.service.keyholders.release import Approved, may_release
from hce.service.keyholders.revoked import RevokedSet
from hce.service.mailbox.anchors import ReceiptLeaf
from hce.service.mailbox.errors import PeriodClosed
from hce.service.mailbox.final import FinalState, FinalView
from hce.service.terms.genesis import Params
from hce.service.terms.grants import ReleaseRequest, receipt_leaf


class ReceiptLog(Protocol):
    """Where receipts go; the mailbox."""

    def append_log(self, address: bytes, compartment_id: bytes, item_id: bytes, data: bytes, entered: ReceiptLeaf) -> bool:
        """Durable on return, with its leaf; False when an item of that id was there already. `PeriodClosed`."""
        ...


class Keyholder:
    """One node's half of every release. Safe to call from several threads; `release` is CPU bound and blocks on the disk."""

    def __init__(
        self,
        *,
        chain: bytes,
        node_index: int,
        share: KeyShare,
        service_key: SigningKey,
        state: FinalView,
        mailbox: ReceiptLog,
        clock: Clock,
        params: Params,
        sharing_epoch: int,
        revoked: RevokedSet,
        capsules: CheckedCapsules,
    ) -> None:
        self._chain = chain
        self._node = node_index
        self._share = share
        self._service_key = service_key
        self._state = state
        self._mailbox = mailbox
        self._clock = clock
        self._params = params
        self._sharing_epoch = sharing_epoch
        self._revoked = revoked
        self._capsules = capsules

    def release(self, request: ReleaseRequest) -> bytes:
        """A `ReleaseReply` sealed to the response key; raises as `may_release`, or why no receipt could be written.

        A period that is closed between the decision and the receipt has a newer final block behind it: the decision is made anew.
        """
        try:
            return self._release(request)
        except PeriodClosed:
            return self._release(request)

    def _release(self, request: ReleaseRequest) -> bytes:
        with self._state() as final:
            local_ms = self._clock.now_ms()
            approved = may_release(final.health, request, self._moment(final, local_ms), self._params)
            height = final.height
        if approved.sharing_epoch != self._sharing_epoch:
            raise NoKeyholders("another sharing epoch", expected=approved.sharing_epoch, actual=self._sharing_epoch)
        self._write_receipt(approved, height, local_ms)
        reply = sealed_reply(self._chain, approved, self._node, self._share)
        self._check_revoked_again(approved)
        return reply

    def revocations_final(self, grant_ids: list[bytes]) -> None:
        """A block with these is final: those the chain itself now refuses need not be remembered."""
        with self._state() as final:
            grants = {grant_id: final.health.grant(grant_id) for grant_id in grant_ids}
        self._revoked.forget(name for name, grant in grants.items() if grant is not None and grant.revoked_height is not None)

    def _moment(self, final: FinalState, local_ms: int) -> ReleaseMoment:
        return ReleaseMoment(
            self._chain, final.height, final.time_ms, local_ms, final.syncing, self._revoked, self._capsules.verify
        )

    def _check_revoked_again(self, approved: Approved) -> None:
        """A revocation that came in while the reply was computed counts: nothing leaves after it was seen.

        The state is opened after the set was asked, so an id that was forgotten because it became final is found there.
        """
        if approved.grant_id in self._revoked:
            raise RevokeSeen
        with self._state() as final:
            grant = final.health.grant(approved.grant_id)
        if grant is None or grant.revoked_height is not None:
            raise GrantRevoked

    def _write_receipt(self, approved: Approved, height: int, time_ms: int) -> None:
        signed = signed_receipt(self._chain, approved, self._node, height, time_ms, self._service_key)
        entered = ReceiptLeaf(height // self._params.anchor_blocks, receipt_leaf(signed))
        sealed = sealed_receipt(self._chain, approved, signed)
        self._mailbox.append_log(approved.log_address, approved.compartment_id, receipt_item_id(approved), sealed, entered)
