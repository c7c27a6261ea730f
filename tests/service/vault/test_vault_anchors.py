"""The owner against the nodes' anchors: what stands in the list, what may still come, and what is missing, by name."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from hce.foundation.crypto.hashing import digest
from hce.foundation.proofs.listhash import list_proof, list_root
from hce.service.terms.genesis import Params
from hce.service.terms.grants import AccessBody, AnchorProof, ReleaseReceipt, SignedReceipt, receipt_leaf
from hce.service.terms.payloads import ANCHOR_LATE_PERIODS
from hce.service.terms.states import AnchorState, EntryState
from hce.service.vault.anchors import AnchorReport, ReceiptOnChain, check_anchors

PARAMS = Params(anchor_blocks=10, entry_max_blocks=5)
HEIGHT = 42
"""Of the receipts: in period 4."""


def receipt(number: int, height: int = HEIGHT) -> SignedReceipt:
    name = digest("test/entry", number)
    access = AccessBody(bytes(32), bytes(32), 1, bytes(32), bytes(32), bytes(1216), "treatment", bytes(32))
    return SignedReceipt(ReleaseReceipt(bytes(16), name, access, [bytes(32)], 2, height, 0), bytes(64))


RECEIPTS = [receipt(number) for number in range(5)]
LEAVES = [receipt_leaf(one) for one in RECEIPTS]


def on_chain(number: int, leaves: list[bytes] = LEAVES, **changes: Any) -> ReceiptOnChain:
    """The receipt as an honest node and the chain answer for it; `leaves` are those the node anchored."""
    mine = receipt_leaf(RECEIPTS[number])
    proofs = [AnchorProof(4, list_proof(leaves, leaves.index(mine)))] if mine in leaves else []
    entry = EntryState(bytes(32), bytes(32), HEIGHT, 0, number)
    honest = ReceiptOnChain(RECEIPTS[number], entry, AnchorState(len(leaves), list_root(leaves), 51), proofs)
    return replace(honest, **changes)


def checked(*receipts: ReceiptOnChain, height: int = 60) -> AnchorReport:
    return check_anchors(receipts, height, PARAMS)


def found(*receipts: ReceiptOnChain, height: int = 60) -> list[tuple[str, str]]:
    return [(finding.code, finding.subject) for finding in checked(*receipts, height=height).missing]


def test_every_receipt_that_stands_in_its_nodes_list_is_anchored() -> None:
    report = checked(*(on_chain(number) for number in range(5)))
    assert report == AnchorReport(5, 0, 0, [])
    assert report.complete


def test_a_node_that_anchored_a_list_without_a_receipt_owes_its_proof_for_ever() -> None:
    short = [leaf for leaf in LEAVES if leaf != LEAVES[3]]
    report = checked(*(on_chain(number, short) for number in range(5)))
    assert report == AnchorReport(4, 0, 1, [], owing=(2,))
    assert not report.complete


def test_a_proof_of_another_receipt_period_count_or_list_proves_nothing() -> None:
    """Nor does it accuse the node: nothing shows that it gave it. One that stands is enough, whatever else was given."""
    [honest] = on_chain(3).proofs
    for lie in (
        AnchorProof(4, list_proof(LEAVES, 2)),
        replace(honest, period=5),
        replace(honest, proof=replace(honest.proof, count=6)),
        AnchorProof(4, list_proof([*LEAVES, bytes(32)], 3)),
    ):
        assert checked(on_chain(3, proofs=[lie])) == AnchorReport(0, 0, 1, [], owing=(2,))
        assert checked(on_chain(3, proofs=[lie, honest])) == AnchorReport(1, 0, 0, [])


def test_a_receipt_altered_after_the_anchor_is_not_anchored() -> None:
    altered = replace(RECEIPTS[3], receipt=replace(RECEIPTS[3].receipt, time_ms=1))
    assert checked(on_chain(3, signed=altered)) == AnchorReport(0, 0, 1, [], owing=(2,))


def test_a_period_that_is_not_over_or_may_still_be_anchored_waits() -> None:
    last = (4 + 1 + ANCHOR_LATE_PERIODS + 1) * 10 - 1
    for height in (HEIGHT, 49, 50, last):
        assert checked(on_chain(0, anchor=None, proofs=[]), height=height) == AnchorReport(0, 1, 0, [])
    assert found(on_chain(0, anchor=None, proofs=[]), height=last + 1) == [("log.not_anchored", RECEIPTS[0].receipt.entry_id.hex())]


def test_a_node_that_gives_no_answer_is_counted_and_hides_nothing() -> None:
    report = checked(on_chain(0, proofs=[]), on_chain(1))
    assert report == AnchorReport(1, 0, 1, [], owing=(2,))
    assert not report.complete


def test_a_receipt_dated_where_its_entry_could_not_be_used_is_named() -> None:
    """Else a node would put what it hides into a period that never ends."""
    for height in (HEIGHT - 1, HEIGHT + PARAMS.entry_max_blocks + 1, 10**9):
        misdated = receipt(0, height)
        assert found(on_chain(0, signed=misdated, anchor=None, proofs=[])) == [
            ("log.receipt_misdated", misdated.receipt.entry_id.hex())
        ]
    assert found(on_chain(0, entry=None)) == [("log.receipt_misdated", RECEIPTS[0].receipt.entry_id.hex())]
    young = receipt(0, HEIGHT + PARAMS.entry_max_blocks)
    assert found(on_chain(0, signed=young, anchor=None, proofs=[])) == []
