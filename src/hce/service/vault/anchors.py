"""What an owner makes of the nodes' anchors: does each receipt he has stand in the list its node said on chain?

A receipt proves that its node wrote it. The anchor proves when the node said so to everybody: a node that forges its past later, or shows
different lists to different people, can give the first owner whose receipt is not in the list no proof. Answers are not signed: a
denial or a false proof may come from somebody between, so neither accuses the node. It goes on owing a proof, by name, and only what
the chain itself shows is a finding. What a node never wrote down at all no anchor shows; the counters on chain do (`auditing.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

from hce.foundation.proofs.listhash import verify_list_proof
from hce.service.terms.genesis import Params
from hce.service.terms.grants import AnchorProof, ReleaseReceipt, SignedReceipt, receipt_leaf
from hce.service.terms.payloads import ANCHOR_LATE_PERIODS
from hce.service.terms.states import AnchorState, EntryState
from hce.service.vault.auditing import Finding


class AnchorReport(Struct, frozen=True):
    """Every receipt is in one of the four."""

    anchored: int
    """Proven to stand in the list its node said on chain."""
    waiting: int
    """Of a period that is not over, or may still be anchored."""
    unanswered: int
    """Of anchored periods, without a proof that stands: ask again. A node that never gives one has left the receipt out."""
    missing: list[Finding]
    owing: tuple[int, ...] = ()
    """The nodes that owe the unanswered proofs."""

    @property
    def complete(self) -> bool:
        """Nothing is missing and nobody owes an answer."""
        return not self.missing and not self.unanswered


class ReceiptOnChain(Struct, frozen=True):
    """A receipt of `read_receipts` with what the chain proves about it and what was answered for its node."""

    signed: SignedReceipt
    entry: EntryState | None
    anchor: AnchorState | None
    """Of its node for its period."""
    proofs: Sequence[AnchorProof]
    """What was given as the node's proof; empty when nobody gave one, or the period has no anchor to ask about."""


Verdict = Literal["anchored", "waiting", "unanswered"]


def period_of(receipt: ReleaseReceipt, params: Params) -> int:
    """The period whose list a receipt belongs to."""
    return receipt.height // params.anchor_blocks


def check_anchors(receipts: Sequence[ReceiptOnChain], height: int, params: Params) -> AnchorReport:
    """`height` is a proven final height not above those of the proven states."""
    verdicts = [_judge(one, height, params) for one in receipts]
    return AnchorReport(
        anchored=verdicts.count("anchored"),
        waiting=verdicts.count("waiting"),
        unanswered=verdicts.count("unanswered"),
        missing=[verdict for verdict in verdicts if isinstance(verdict, Finding)],
        owing=tuple(
            sorted({one.signed.receipt.node for one, verdict in zip(receipts, verdicts, strict=True) if verdict == "unanswered"})
        ),
    )


def _judge(one: ReceiptOnChain, height: int, params: Params) -> Verdict | Finding:
    receipt = one.signed.receipt
    period = period_of(receipt, params)
    detail = f"node {receipt.node}, period {period}"
    if not _fits_its_entry(receipt, one.entry, params):
        # A height of its own choice would let a node put a receipt into a period that never ends.
        return Finding("log.receipt_misdated", receipt.entry_id.hex(), detail)
    if one.anchor is None:
        if height // params.anchor_blocks <= period + 1 + ANCHOR_LATE_PERIODS:
            return "waiting"
        return Finding("log.not_anchored", receipt.entry_id.hex(), detail)
    return "anchored" if any(_stands(one.signed, period, one.anchor, proof) for proof in one.proofs) else "unanswered"


def _fits_its_entry(receipt: ReleaseReceipt, entry: EntryState | None, params: Params) -> bool:
    """A node releases under a final entry, and only while it is young."""
    return entry is not None and entry.height <= receipt.height <= entry.height + params.entry_max_blocks


def _stands(signed: SignedReceipt, period: int, anchor: AnchorState, given: AnchorProof) -> bool:
    counted = given.period == period and given.proof.count == anchor.count
    return counted and verify_list_proof(anchor.root, receipt_leaf(signed), given.proof)
