"""The load is a function of the seed: what is sent, in which order, and from which keys."""

from __future__ import annotations

from collections import Counter

from hce.app.bench.content import batches_of
from hce.app.bench.ledger import prepared_count
from hce.app.bench.plan import ACCESS_LAG, PAYERS, SENDERS, TRANSFER_PERCENT, due, parts, plan, secret_of
from hce.app.bench.signing import SigningTask, organisation_key, sender_key, sign_items
from hce.service.contracts.health import check_stateless
from hce.service.contracts.value.transactions import decode_value_tx
from hce.service.fhir.grouping import PlannedRecord
from hce.service.terms.genesis import Params
from hce.service.terms.transactions import parse

TASK = SigningTask(seed=3, chain=bytes(16), eip155_id=7, valid_until=500, expires_at_ms=2_000_000_000_000)


def test_a_longer_plan_begins_with_the_shorter_one() -> None:
    assert plan(700)[:300] == plan(300)


def test_a_tenth_are_transfers_and_grants_and_accesses_balance() -> None:
    kinds = Counter(item.kind for item in plan(10_000))
    assert kinds["transfer"] == 10_000 * TRANSFER_PERCENT // 100
    assert 0 <= kinds["grant"] - kinds["access"] <= ACCESS_LAG + 1


def test_every_access_stands_under_a_grant_that_was_sent_well_before() -> None:
    sent_at: dict[int, int] = {}
    accesses = []
    for place, item in enumerate(plan(3_000)):
        if item.kind == "grant":
            sent_at[item.number] = place
        elif item.kind == "access":
            accesses.append(item)
            assert place - sent_at[item.number] >= ACCESS_LAG
    assert len({item.number for item in accesses}) == len(accesses), "each grant is used once"


def test_a_grant_and_its_access_go_to_one_node_and_one_payer() -> None:
    homes: dict[int, set[tuple[int, int]]] = {}
    for item in plan(3_000):
        if item.kind != "transfer":
            homes.setdefault(item.number, set()).add((item.node(9), item.payer))
    assert {len(places) for places in homes.values()} == {1}
    assert {payer for places in homes.values() for _, payer in places} == set(range(PAYERS))


def test_nonces_of_a_sender_have_no_gap() -> None:
    nonces: dict[int, list[int]] = {}
    for item in plan(20_000):
        if item.kind == "transfer":
            nonces.setdefault(item.sender, []).append(item.nonce)
    assert len(nonces) == SENDERS
    assert all(found == list(range(len(found))) for found in nonces.values())


def test_what_is_signed_is_what_nodes_take() -> None:
    items = plan(300)
    raws = sign_items(TASK, items)
    assert raws == sign_items(TASK, items)
    payers = {organisation_key(TASK.seed, number).public for number in range(PAYERS)}
    for item, raw in zip(items, raws, strict=True):
        if item.kind == "transfer":
            tx = decode_value_tx(raw, TASK.eip155_id)
            assert (tx.sender, tx.nonce) == (sender_key(TASK.seed, item.sender).address, item.nonce)
        else:
            health = parse(raw, TASK.chain)
            check_stateless(health, TASK.chain)
            assert health.body.kind == f"{item.kind}.open"
            assert health.signer("payer") in payers
    assert len(set(raws)) == len(raws)


def test_another_seed_means_other_keys() -> None:
    assert secret_of(1, "reader", 0) != secret_of(2, "reader", 0) != secret_of(2, "reader", 1)


def test_parts_hold_everything_once_and_in_order() -> None:
    items = plan(25)
    assert [item for part in parts(items, 10) for item in part] == items
    assert [len(part) for part in parts(items, 10)] == [10, 10, 5]


def test_what_is_due_follows_the_clock_alone() -> None:
    assert [due(elapsed, 250.0) for elapsed in (0.0, 0.01, 1.0)] == [0, 2, 250]


def test_enough_is_signed_ahead_and_not_without_end() -> None:
    assert prepared_count(10, 40.0, Params()) == 400
    assert 10 * 1_600 <= prepared_count(10, None, Params()) < 40_000
    assert prepared_count(10, None, Params(block_steps=10_000_000)) == 40_000


def test_batches_go_round_the_records_for_ever() -> None:
    records = [PlannedRecord("note", f"2024-01-0{day}", "general", [], None) for day in range(1, 4)]
    batches = batches_of(records, 2)
    assert [record.date[-1] for _ in range(3) for record in next(batches)] == ["1", "2", "3", "1", "2", "3"]
