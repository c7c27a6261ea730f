"""Final blocks tell a node what it should have; what failed or was looked at before is not asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from hce.foundation.codec.cid import cid_of_dag_cbor
from hce.foundation.codec.dagcbor import encode
from hce.service.intake.arrivals import MARK_BLOCKS, Arrivals
from hce.service.terms import payloads, states
from hce.service.terms.intake import record_ids
from hce.service.terms.records import digest_of_envelope
from hce.service.terms.transactions import make_body, sign_tx

SIGNATURE = bytes(64)


def commit_of(scene: Any, batch: Any) -> bytes:
    """The transaction that commits an intake batch."""
    entries = [payloads.RecordEntry(one.nonce, digest_of_envelope(one.envelope), bytes(32), bytes(32)) for one in batch.records]
    receipts = [payloads.AvailabilityReceipt(0, None, 1, SIGNATURE)]
    payload = payloads.RecordBatch(scene.org_id, entries, cid_of_dag_cbor(batch.placement), receipts)
    body = make_body(scene.chain, "record.commit", payload, scene.org_id, 100)
    return sign_tx(body, [("organisation", scene.org_key), ("payer", scene.org_key)])


def admit(scene: Any, batch: Any) -> None:
    """As the contract leaves the final state."""
    for name, record in zip(record_ids(batch), batch.records, strict=True):
        digests = (digest_of_envelope(record.envelope), bytes(32), bytes(32))
        state = states.RecordState(scene.org_id, *digests, cid_of_dag_cbor(batch.placement), 3, 1)
        scene.table[states.key_record(name)] = encode(state)


def arrivals(scene: Any, node: Any, blocks: Callable[[int], Sequence[bytes]], told: list[bytes] | None = None) -> Arrivals:
    records_final = ([] if told is None else told).extend
    return Arrivals(scene.chain, node.placements, node.mailbox.replica, scene.state, blocks, records_final)


def test_records_and_placements_of_final_blocks_are_awaited(scene: Any, node: Any) -> None:
    batch = scene.batch()
    admit(scene, batch)
    told: list[bytes] = []
    arrivals(scene, node, lambda height: [commit_of(scene, batch)] if height == 3 else [], told).look(5)
    assert told == record_ids(batch), "whoever checks ahead is told"
    assert node.placements.awaited(b"", 10) == [cid_of_dag_cbor(batch.placement)]
    expected = {name: digest_of_envelope(one.envelope) for name, one in zip(record_ids(batch), batch.records, strict=True)}
    assert node.mailbox.replica.wanted(b"", 10) == expected


def test_what_the_intake_brought_is_not_awaited(scene: Any, node: Any) -> None:
    batch = scene.batch()
    node.intake.accept(batch)
    admit(scene, batch)
    arrivals(scene, node, lambda _: [commit_of(scene, batch)]).look(1)
    assert node.placements.awaited(b"", 10) == []
    assert node.mailbox.replica.wanted(b"", 10) == {}


def test_a_batch_whose_transaction_failed_is_passed_over(scene: Any, node: Any) -> None:
    arrivals(scene, node, lambda _: [commit_of(scene, scene.batch())]).look(1)
    assert node.placements.awaited(b"", 10) == []
    assert node.mailbox.replica.wanted(b"", 10) == {}


def test_after_a_restart_only_blocks_behind_the_mark_are_looked_through(scene: Any, node: Any) -> None:
    looked: list[int] = []

    def blocks(height: int) -> list[bytes]:
        looked.append(height)
        return []

    first = arrivals(scene, node, blocks)
    first.look(MARK_BLOCKS + 3)
    first.look(MARK_BLOCKS + 5)
    assert looked == list(range(1, MARK_BLOCKS + 6))
    looked.clear()
    arrivals(scene, node, blocks).look(MARK_BLOCKS + 6)
    assert looked == list(range(MARK_BLOCKS + 1, MARK_BLOCKS + 7))
