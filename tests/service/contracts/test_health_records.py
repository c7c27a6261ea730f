"""Records are admitted once, whole, from their certified author, when enough nodes vouch for exactly this batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from tests.service.contracts.world import PLACEMENT, World, bytes32, key

from hce.foundation.codec.cid import cid_of_raw
from hce.foundation.codec.dagcbor import decode
from hce.foundation.types.errors import Malformed
from hce.foundation.types.ladder import shards_to_admit
from hce.foundation.types.quorum import quorum
from hce.service.terms.payloads import (
    MAX_RECORDS_PER_BATCH,
    AvailabilityReceipt,
    RecordBatch,
    RecordEntry,
    availability_message,
    envelopes_root,
    record_id,
)
from hce.service.terms.states import RecordState, key_envelope

replace = msgspec.structs.replace


def make_world(nodes: int = 1) -> World:
    world = World(nodes)
    world.certify("clinic")
    world.certify("rival")
    return world


def entries_of(world: World, count: int) -> list[RecordEntry]:
    return [world.entry(f"record {number}") for number in range(count)]


@pytest.mark.parametrize("nodes", range(1, 10))
def test_a_batch_vouched_for_by_all_is_registered_in_its_order(nodes: int) -> None:
    world = make_world(nodes)
    entries = entries_of(world, 3)
    made = world.run(world.commit("clinic", world.batch("clinic", entries)))
    assert made == [record_id(world.env.chain, world.org("clinic"), entry.nonce) for entry in entries]
    for name, entry in zip(made, entries, strict=True):
        expected = RecordState(
            world.org("clinic"),
            entry.envelope_digest,
            entry.key_commitment,
            entry.policy_commitment,
            PLACEMENT,
            world.height,
            world.time_ms,
        )
        assert world.state.record(name) == expected
        assert decode(world.map()[key_envelope(entry.envelope_digest)]) == name


@pytest.mark.parametrize("nodes", range(1, 10))
def test_a_quorum_is_enough_and_one_node_less_is_not(nodes: int) -> None:
    world = make_world(nodes)
    entries = entries_of(world, 2)
    receipts = world.receipts(entries)
    short = receipts[: quorum(nodes) - 1]
    if short:
        assert world.refused(world.commit("clinic", world.batch("clinic", entries, short))) == "record.not_available"
    world.run(world.commit("clinic", world.batch("clinic", entries, receipts[-quorum(nodes) :])))


@pytest.mark.parametrize("nodes", [1, 2, 3, 4, 6, 9])
def test_one_shard_more_than_restores_the_content_must_be_on_disk(nodes: int) -> None:
    world = make_world(nodes)
    entries = entries_of(world, 2)
    needed = shards_to_admit(nodes)
    for shards, accepted in ((needed - 1, False), (needed, True)):
        receipts = [replace_shard(world, entries, found, found.node < shards) for found in world.receipts(entries)]
        tx = world.commit("clinic", world.batch("clinic", entries, receipts))
        if accepted:
            world.run(tx)
        else:
            assert world.refused(tx) == "record.not_available"


def test_one_coded_shard_on_many_nodes_counts_once() -> None:
    world = make_world(4)
    entries = entries_of(world, 1)
    same = cid_of_raw(b"the one shard")
    receipts = [world.receipt(entries, index, same) for index in range(4)]
    assert world.refused(world.commit("clinic", world.batch("clinic", entries, receipts))) == "record.not_available"


def test_more_records_than_were_vouched_for_are_refused() -> None:
    world = make_world()
    entries = entries_of(world, 3)
    receipts = world.receipts(entries[:2])
    for claimed in (entries, [*entries[:1], entries[2]], entries[:1], [entries[1], entries[0]]):
        tx = world.commit("clinic", world.batch("clinic", claimed, receipts))
        assert world.refused(tx) == "record.not_available"
    world.run(world.commit("clinic", world.batch("clinic", entries[:2], receipts)))


def signed_for(world: World, entries: list[RecordEntry], chain: bytes, epoch: int) -> AvailabilityReceipt:
    message = availability_message(chain, PLACEMENT, SHARD, envelopes_root(entries), 0, epoch, 10_000)
    return AvailabilityReceipt(0, SHARD, 10_000, key("node 0 service").sign(message))


SHARD = cid_of_raw(b"shard 0")
FORGERIES: dict[str, Callable[[World, list[RecordEntry]], Any]] = {
    "promises less than it signed": lambda world, entries: replace(world.receipt(entries, 0, SHARD), hold_until=20_000),
    "names a shard it did not sign": lambda world, entries: replace(world.receipt(entries, 0, None), shard=SHARD),
    "is by another node": lambda world, entries: replace(world.receipt(entries, 1, SHARD), node=0),
    "is by a node that is not there": lambda world, entries: world.receipt(entries, 7, SHARD),
    "ran out": lambda world, entries: world.receipt(entries, 0, SHARD, hold_until=world.height - 1),
    "is for another chain": lambda world, entries: signed_for(world, entries, bytes(16), world.env.epoch),
    "is of another epoch": lambda world, entries: signed_for(world, entries, world.env.chain, world.env.epoch - 1),
}


def test_a_record_without_a_valid_receipt_is_not_admitted() -> None:
    world = make_world()
    entries = entries_of(world, 1)
    for name, forge in FORGERIES.items():
        tx = world.commit("clinic", world.batch("clinic", entries, [forge(world, entries)]))
        assert world.refused(tx) == "record.not_available", name
    placed = replace(world.batch("clinic", entries), placement=cid_of_raw(b"elsewhere"))
    assert world.refused(world.commit("clinic", placed)) == "record.not_available"


def test_one_bad_receipt_spoils_a_batch_that_has_enough() -> None:
    world = make_world(9)
    entries = entries_of(world, 1)
    receipts = world.receipts(entries)
    receipts[8] = replace(receipts[8], signature=receipts[7].signature)
    assert world.refused(world.commit("clinic", world.batch("clinic", entries, receipts))) == "record.not_available"


def test_one_node_vouching_many_times_is_one_node() -> None:
    world = make_world(4)
    entries = entries_of(world, 1)
    receipts = world.receipts(entries)
    for claimed in ([receipts[0]] * 4, [receipts[1], receipts[0], *receipts[2:]]):
        assert world.refused(world.commit("clinic", world.batch("clinic", entries, claimed))) == "record.not_available"


def test_a_record_id_is_used_once() -> None:
    world = make_world()
    first, second = entries_of(world, 2)
    world.run(world.commit("clinic", world.batch("clinic", [first])))
    again = replace(second, nonce=first.nonce)
    assert world.refused(world.commit("clinic", world.batch("clinic", [again]))) == "record.exists"
    assert (
        world.refused(world.commit("clinic", world.batch("clinic", [second, replace(first, nonce=second.nonce)])))
        == "record.exists"
    )
    world.run(world.commit("rival", world.batch("rival", [again])))  # under another organisation the nonce names another record


def test_a_re_registered_capsule_is_refused() -> None:
    world = make_world()
    first, second = entries_of(world, 2)
    world.run(world.commit("clinic", world.batch("clinic", [first])))
    copied = replace(second, envelope_digest=first.envelope_digest)
    for thief in ("clinic", "rival"):
        assert world.refused(world.commit(thief, world.batch(thief, [copied]))) == "envelope.exists"


def test_the_same_envelope_twice_in_one_batch_is_refused() -> None:
    world = make_world()
    first, second = entries_of(world, 2)
    twin = replace(second, envelope_digest=first.envelope_digest)
    assert world.refused(world.commit("clinic", world.batch("clinic", [first, twin]))) == "envelope.exists"


def test_one_known_record_refuses_the_whole_batch() -> None:
    world = make_world()
    entries = entries_of(world, 3)
    world.run(world.commit("clinic", world.batch("clinic", entries[2:])))
    assert world.refused(world.commit("clinic", world.batch("clinic", entries))) == "record.exists"


def test_records_are_written_by_a_certified_author_who_signs_and_pays() -> None:
    world = make_world()
    world.certify("reader", ["read"])
    batch = world.batch("clinic", entries_of(world, 1))
    signed = [("organisation", "rival"), ("payer", "clinic")]
    assert world.refused(world.tx("record.commit", batch, signed, "clinic")) == "organisation.wrong_key"
    signed = [("organisation", "clinic"), ("payer", "rival")]
    assert world.refused(world.tx("record.commit", batch, signed, "rival")) == "payer.wrong_key"
    mine = world.batch("reader", entries_of(world, 1))
    assert world.refused(world.commit("reader", mine)) == "organisation.not_certified"
    nobody = world.batch("nobody", entries_of(world, 1))
    assert world.refused(world.commit("nobody", nobody)) == "organisation.not_certified"


def test_a_batch_holds_at_least_one_and_at_most_the_bound_of_records() -> None:
    world = make_world()
    entries = [RecordEntry(*(bytes32(f"{number} {part}") for part in range(4))) for number in range(MAX_RECORDS_PER_BATCH + 1)]
    for wrong in (RecordBatch(world.org("clinic"), [], PLACEMENT, world.receipts([])), world.batch("clinic", entries)):
        with pytest.raises(Malformed):
            world.commit("clinic", wrong)
    assert len(world.run(world.commit("clinic", world.batch("clinic", entries[:-1])))) == MAX_RECORDS_PER_BATCH


def replace_shard(world: World, entries: list[RecordEntry], found: AvailabilityReceipt, keeps: bool) -> AvailabilityReceipt:
    """The receipt of a node that holds the envelopes, and its shard only when it `keeps` one."""
    return found if keeps else world.receipt(entries, found.node, None)
