"""The whole life of a record in memory: sealed, granted, released, opened; and the owner's own way in."""

from __future__ import annotations

import os
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hce.foundation.crypto.secret import SecretBytes
from hce.foundation.types.errors import Malformed
from hce.service.terms.grants import grant_id_of, grant_message
from hce.service.terms.records import ContentItem, make_header
from hce.service.vault import granting, opening, sealing
from hce.service.vault.compartments import CompartmentKeys, reading_key_of
from hce.service.vault.errors import BatchTooLarge, RecordTooLarge

CHAIN = bytes(range(16))


def released(world: Any, made: Any, prepared: Any, written: list[Any], nodes: list[int]) -> tuple[Any, list[Any]]:
    """(parcel, replies) of these nodes for all records."""
    parcel = granting.open_parcel(world.inbox, made.parcel, CHAIN, {world.reader.public})
    request = world.release_request(made, prepared, written, parcel)
    replies = [granting.open_release_reply(prepared, CHAIN, world.network.release(request, node), node) for node in nodes]
    return parcel, replies


def test_a_granted_reader_gets_the_exact_bytes_the_author_signed(any_world: Any) -> None:
    world = any_world
    content = os.urandom(5_000)
    written = world.write(3, content=content)
    made = world.grant()
    prepared = world.access(made, written)
    parcel, replies = released(world, made, prepared, written, list(range(world.network.t)))
    locked = [world.locked(record, parcel) for record in written]
    combined = granting.combine_release(replies, locked, world.network.keyholders, prepared)
    assert combined.failed == {}
    assert combined.lying == ()
    for record, lock in zip(written, locked, strict=True):
        name = record.sealed.record_id
        opened = lock.session.openings[name]
        opening.check_ciphertext(lock.header, opened, record.sealed.ciphertext)
        manifest = opening.open_record(combined.deks[name], record.sealed.ciphertext, lock.header, record.state.key_commitment)
        assert manifest.items[0].content == content
        credential = opening.verify_author(opened, name, record.state, world.network.health)
        assert credential.body.person_key == world.author_key.public


def test_the_owner_reads_everything_without_the_keyholders_and_checks_both_locks(any_world: Any) -> None:
    world = any_world
    (record,) = world.write(1)
    session = opening.read_session(world.keys.reading(0), record.session_entry, CHAIN, world.compartment_id, 0)
    name = record.sealed.record_id
    header = opening.check_record(
        CHAIN, world.network.keyholders.key_id, name, record.state, session.openings[name], record.sealed.envelope
    )
    opened = opening.owner_open(world.keys.root, session.owner_lock, record.sealed.owner_wrap, header, world.compartment_id)
    opening.owner_checks_both_locks(
        opened, record.sealed.owner_wrap, session, header, record.sealed.envelope, record.state, world.network.keyholders
    )
    manifest = opening.open_record(opened.dek, record.sealed.ciphertext, header, record.state.key_commitment)
    assert manifest.items[0].content.startswith(b'{"resourceType"')


def test_the_words_seed_alone_finds_every_key_again(world: Any) -> None:
    again = CompartmentKeys(SecretBytes(b"patient seed" * 5 + b"seed"), 0)
    assert again.owner.public == world.keys.owner.public
    assert again.root.public == world.card.root_key
    assert again.feed(0).public == world.card.feed_read_key
    assert again.log_address == world.keys.log_address
    assert again.revoke(b"n" * 32).public == world.keys.revoke(b"n" * 32).public


def test_no_two_uses_compartments_or_epochs_share_a_key(world: Any) -> None:
    other = CompartmentKeys(SecretBytes(b"patient seed" * 5 + b"seed"), 1)
    keys = [
        key.public
        for each in (world.keys, other)
        for key in (each.owner, each.recovery, each.root, each.log, each.log_read, each.reading(0), each.reading(1), each.feed(0))
    ]
    assert len(set(keys)) == len(keys)
    assert world.keys.compartment_id(CHAIN) != other.compartment_id(CHAIN)


def test_a_rotated_compartment_keeps_its_id_under_new_keys(world: Any) -> None:
    fresh = CompartmentKeys(SecretBytes(b"another seed" * 5 + b"seed"), 0, opened_as=world.keys.compartment_id(CHAIN))
    assert fresh.compartment_id(CHAIN) == world.compartment_id
    assert fresh.owner.public != world.keys.owner.public


def test_a_reading_seed_opens_its_own_epoch_only(world: Any) -> None:
    (record,) = world.write(1)
    with pytest.raises(opening.SessionNotOurs):
        opening.read_session(reading_key_of(world.keys.reading_seed(1)), record.session_entry, CHAIN, world.compartment_id, 0)
    with pytest.raises(opening.SessionNotOurs):
        opening.read_session(world.keys.reading(0), record.session_entry, CHAIN, world.compartment_id, 1)


def test_one_batch_holds_many_sessions_in_an_order_that_tells_nothing(world: Any) -> None:
    first, second = world.session(), world.session()
    item = ContentItem("a", "text/plain", b"x")
    for session in (first, second, first, second):
        session.seal([item], "note", "2025-05-05", 1)
    batch = sealing.make_batch([first, second])
    ids = [record.record_id for record in batch.records]
    assert ids == sorted(ids)
    assert {name for write in batch.feed_writes for name in write.record_ids} == set(ids)
    assert first.pending == []
    for record in world.commit(batch):
        session = opening.read_session(world.keys.reading(0), record.session_entry, CHAIN, world.compartment_id, 0)
        assert session.openings[record.sealed.record_id].placement == batch.placement_cid


def test_a_record_is_finished_once(world: Any) -> None:
    session = world.session()
    session.seal([ContentItem("a", "text/plain", b"x")], "note", "2025-05-05", 1)
    session.finish(b"\x01\x71\x12\x20" + bytes(32))
    with pytest.raises(ValueError, match="since the last finish"):
        session.finish(b"\x01\x71\x12\x20" + bytes(32))


def test_a_batch_beyond_the_limit_is_refused_and_changes_nothing(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealing, "MAX_RECORDS_PER_BATCH", 1)
    session = world.session()
    for _ in range(2):
        session.seal([ContentItem("a", "text/plain", b"x")], "note", "2025-05-05", 1)
    with pytest.raises(BatchTooLarge):
        sealing.make_batch([session])
    assert len(session.pending) == 2


def test_content_beyond_one_record_is_refused_before_anything_is_sealed(world: Any) -> None:
    session = world.session()
    with pytest.raises(RecordTooLarge):
        session.seal([ContentItem("a", "text/plain", bytes((1 << 20) + 1))], "note", "2025-05-05", 1)
    assert session.pending == []


@pytest.mark.parametrize("date", ["2025-02-30", "2025-2-3", "20250203", "2025-02-03T00:00", "", "٢٠٢٥-٠١-٠١"])
def test_a_day_that_does_not_exist_is_refused(world: Any, date: str) -> None:
    with pytest.raises(Malformed):
        world.session().seal([ContentItem("a", "text/plain", b"x")], "note", date, 1)


def test_content_no_reader_would_accept_is_refused(world: Any) -> None:
    with pytest.raises(Malformed):
        world.session().seal([], "note", "2025-05-05", 1)
    with pytest.raises(Malformed):
        world.session().seal([ContentItem("a", "text/plain", b"x")], "Not A Kind", "2025-05-05", 1)


def test_any_content_comes_back_byte_identical(world: Any) -> None:
    @settings(max_examples=25, deadline=None)
    @given(st.lists(st.binary(max_size=2_000), min_size=1, max_size=4))
    def check(contents: list[bytes]) -> None:
        session = world.session()
        items = [ContentItem(str(i), "application/octet-stream", content) for i, content in enumerate(contents)]
        sealed = session.seal(items, "file", "2025-05-05", 1)
        (record,) = world.commit(sealing.make_batch([session]))
        header = make_header(CHAIN, sealed.record_id, sealed.entry.policy_commitment, world.network.keyholders.key_id)
        opened = opening.read_session(world.keys.reading(0), record.session_entry, CHAIN, world.compartment_id, 0)
        owner = opening.owner_open(world.keys.root, opened.owner_lock, sealed.owner_wrap, header, world.compartment_id)
        manifest = opening.open_record(owner.dek, sealed.ciphertext, header, sealed.entry.key_commitment)
        assert [item.content for item in manifest.items] == contents

    check()


def test_nothing_secret_shows_in_repr_or_str(world: Any) -> None:
    secrets: list[bytes] = []

    def recording(count: int) -> bytes:
        drawn = os.urandom(count)
        secrets.append(drawn)
        return drawn

    session = world.session(random=recording)
    sealed = session.seal([ContentItem("Patient/Zhang", "text/plain", b"very private words")], "note", "2025-05-05", 1)
    public = {sealed.entry.nonce, sealed.policy.salt}
    batch = sealing.make_batch([session])
    (record,) = world.commit(batch)
    made = world.grant()
    prepared = granting.make_access(made.body, world.credential_id, [sealed.record_id], "treatment", "why", recording)
    public.add(prepared.access.salt)
    world.enter(made, prepared)
    parcel, replies = released(world, made, prepared, [record], [0])
    locked = world.locked(record, parcel)
    combined = granting.combine_release(replies, [locked], world.network.keyholders, prepared)
    owner = opening.owner_open(world.keys.root, locked.session.owner_lock, sealed.owner_wrap, locked.header, world.compartment_id)
    manifest = opening.open_record(combined.deks[sealed.record_id], sealed.ciphertext, locked.header, record.state.key_commitment)
    hidden = [
        *(secret for secret in secrets if secret not in public),
        combined.deks[sealed.record_id].reveal(),
        owner.seed_b.reveal(),
        locked.session.session_secret.reveal(),
        world.keys.reading_seed(0).reveal(),
        b"very private words",
    ]
    shown = [world.keys, session, sealed, batch, made, prepared, parcel, locked, locked.session, combined, owner, manifest]
    for thing in shown:
        for text in (repr(thing), str(thing), f"{thing}"):
            for secret in hidden:
                assert secret.hex() not in text
                assert repr(secret)[2:-1] not in text


def test_the_grant_on_chain_is_the_body_the_owner_signed(world: Any) -> None:
    made = world.grant()
    parcel = granting.open_parcel(world.inbox, made.parcel, CHAIN, {world.reader.public})
    state = world.network.health.grant(made.grant_id)
    granting.require_same_grant(parcel.body, state)
    assert grant_id_of(parcel.body) == made.grant_id
    assert world.keys.revoke(parcel.body.nonce).public == made.public.revoke_key
    assert parcel.owner_signature == world.keys.owner.sign(grant_message(parcel.body))
