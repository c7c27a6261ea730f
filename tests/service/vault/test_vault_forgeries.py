"""Keyholders that lie, and cards, tokens, requests, grants and entries that are not what they say: each with its named error."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from hce.foundation.codec.dagcbor import encode
from hce.foundation.crypto.seal import OpeningKey, seal
from hce.foundation.crypto.secret import SecretBytes
from hce.foundation.crypto.sign import SigningKey
from hce.service.terms import states
from hce.service.terms.grants import EpochKey, GrantParcel, ReleaseReply, grant_message, parcel_info, release_info
from hce.service.terms.payloads import CredentialBody, credential_id
from hce.service.vault import compartments, granting
from hce.service.vault.errors import (
    AccessInvalid,
    BadReply,
    CardInvalid,
    GrantDiffers,
    GrantInvalid,
    ParcelNotOurs,
    RequestInvalid,
    TokenInvalid,
    TooFewParts,
    WrongKey,
)

CHAIN = bytes(range(16))
NOW_MS = 1_760_000_000_000
DAY_MS = 24 * 3_600_000


# Keyholders that lie.


def answered(world: Any, nodes: range) -> tuple[Any, Any, list[ReleaseReply], Any]:
    written = world.write(2)
    made = world.grant()
    prepared = world.access(made, written)
    parcel = granting.open_parcel(world.inbox, made.parcel, CHAIN, {world.reader.public})
    request = world.release_request(made, prepared, written, parcel)
    replies = [granting.open_release_reply(prepared, CHAIN, world.network.release(request, node), node) for node in nodes]
    return prepared, [world.locked(record, parcel) for record in written], replies, written


def lie(reply: ReleaseReply, record: int = 0) -> ReleaseReply:
    """The part of another record in place of one record's."""
    partials = list(reply.partials)
    partials[record] = replace(partials[record], partial=partials[1 - record].partial)
    return replace(reply, partials=partials)


def test_lying_keyholders_are_named_and_the_honest_ones_suffice(nine: Any) -> None:
    prepared, locked, replies, _ = answered(nine, range(9))
    replies[1], replies[4] = lie(replies[1]), lie(replies[4], record=1)
    combined = granting.combine_release(replies, locked, nine.network.keyholders, prepared)
    assert combined.failed == {}
    assert set(combined.deks) == {lock.header.record_id for lock in locked}
    assert combined.lying == (1, 4)


def test_a_part_that_is_no_point_is_a_lie(nine: Any) -> None:
    prepared, locked, replies, _ = answered(nine, range(7))
    part = replies[0].partials[0]
    replies[0] = replace(
        replies[0], partials=[replace(part, partial=replace(part.partial, value=bytes(32))), replies[0].partials[1]]
    )
    combined = granting.combine_release(replies, locked, nine.network.keyholders, prepared)
    assert combined.lying == (0,)
    assert len(combined.deks) == 2


def test_with_too_many_liars_nothing_opens_and_all_are_named(nine: Any) -> None:
    prepared, locked, replies, _ = answered(nine, range(6))
    forged = [lie(replies[2], record).partials[record] for record in (0, 1)]
    replies[2] = replace(replies[2], partials=forged)
    combined = granting.combine_release(replies, locked, nine.network.keyholders, prepared)
    assert combined.lying == (2,)
    assert len(combined.failed) == 2
    assert all(isinstance(error, TooFewParts) for error in combined.failed.values())
    assert combined.deks == {}


def test_a_lie_about_one_record_costs_no_other(nine: Any) -> None:
    """Just enough nodes answer, so the others need the liar's honest parts."""
    prepared, locked, replies, _ = answered(nine, range(6))
    replies[2] = lie(replies[2], record=0)
    combined = granting.combine_release(replies, locked, nine.network.keyholders, prepared)
    assert set(combined.deks) == {locked[1].header.record_id}
    assert isinstance(combined.failed[locked[0].header.record_id], TooFewParts)
    assert combined.lying == (2,)


def test_honest_keyholders_are_not_blamed_for_a_cheating_author(nine: Any) -> None:
    prepared, locked, replies, _ = answered(nine, range(6))
    cheated = replace(locked[0], key_commitment=bytes(32))
    combined = granting.combine_release(replies, [cheated, locked[1]], nine.network.keyholders, prepared)
    assert combined.lying == ()
    assert isinstance(combined.failed[cheated.header.record_id], WrongKey)
    assert set(combined.deks) == {locked[1].header.record_id}


def test_five_of_nine_are_not_six(nine: Any) -> None:
    prepared, locked, replies, _ = answered(nine, range(5))
    combined = granting.combine_release(replies, locked, nine.network.keyholders, prepared)
    assert all(isinstance(error, TooFewParts) for error in combined.failed.values())


def test_one_node_answering_twice_counts_once(nine: Any) -> None:
    prepared, locked, replies, _ = answered(nine, range(5))
    combined = granting.combine_release([*replies, replies[0]], locked, nine.network.keyholders, prepared)
    assert combined.deks == {}


def test_a_part_forged_beside_a_nodes_real_one_is_not_the_nodes_lie(nine: Any) -> None:
    """Somebody passes requests on to the node and answers first, in its name."""
    prepared, locked, replies, _ = answered(nine, range(6))
    combined = granting.combine_release([lie(replies[3]), *replies], locked, nine.network.keyholders, prepared)
    assert set(combined.deks) == {lock.header.record_id for lock in locked}
    assert combined.lying == ()


def test_parts_of_another_sharing_epoch_or_key_never_mix(nine: Any) -> None:
    prepared, locked, replies, _ = answered(nine, range(6))
    for stale in (replace(replies[5], sharing_epoch=1), replace(replies[5], key_id=bytes(32))):
        combined = granting.combine_release([*replies[:5], stale], locked, nine.network.keyholders, prepared)
        assert combined.deks == {}
        assert combined.lying == ()


def test_a_reply_speaks_for_its_own_node_only(nine: Any) -> None:
    prepared, _, replies, _ = answered(nine, range(2))

    def sealed(reply: ReleaseReply, node: int) -> bytes:
        return seal(prepared.access.response_key, release_info(CHAIN, prepared.entry_id, node), encode(reply))

    assert granting.open_release_reply(prepared, CHAIN, sealed(replies[0], 0), 0) == replies[0]
    for reply, made_for, asked in ((replies[0], 1, 1), (replies[0], 0, 1), (replace(replies[0], node=1), 1, 1)):
        with pytest.raises(BadReply):
            granting.open_release_reply(prepared, CHAIN, sealed(reply, made_for), asked)
    with pytest.raises(BadReply):
        granting.open_release_reply(prepared, CHAIN, bytes(2_000), 0)


def test_a_reply_made_for_another_reader_does_not_open(nine: Any) -> None:
    prepared, _, replies, _ = answered(nine, range(1))
    other = OpeningKey.from_seed(b"x" * 32)
    sealed = seal(other.public, release_info(CHAIN, prepared.entry_id, 0), encode(replies[0]))
    with pytest.raises(BadReply):
        granting.open_release_reply(prepared, CHAIN, sealed, 0)


# Cards, tokens, requests, parcels.


def test_a_card_is_alive_for_thirty_days_and_only_its_owners(world: Any) -> None:
    signed, digest = world.signed_card, world.keys.owner_digest
    compartments.verify_card(signed, CHAIN, NOW_MS, digest)
    compartments.verify_card(signed, CHAIN, NOW_MS + 30 * DAY_MS - 1, digest)
    stranger = SigningKey(b"s" * 32)
    forged = replace(signed.card, owner_key=stranger.public)
    long_lived = replace(signed.card, expires_ms=signed.card.expires_ms + 1)
    for card, now_ms, expected in (
        (signed, NOW_MS + 30 * DAY_MS, digest),
        (signed, NOW_MS - DAY_MS, digest),
        (signed, NOW_MS, bytes(32)),
        (replace(signed, signature=bytes(64)), NOW_MS, digest),
        (replace(signed, card=replace(signed.card, reading_key=bytes(1216))), NOW_MS, digest),
        (replace(signed, card=forged, signature=stranger.sign(compartments.card_message(forged))), NOW_MS, digest),
        (replace(signed, card=long_lived, signature=world.keys.owner.sign(compartments.card_message(long_lived))), NOW_MS, digest),
    ):
        with pytest.raises(CardInvalid):
            compartments.verify_card(card, CHAIN, now_ms, expected)
    with pytest.raises(CardInvalid):
        compartments.verify_card(signed, bytes(16), NOW_MS, digest)


def test_a_write_token_serves_one_organisation_and_feed(world: Any) -> None:
    token = compartments.make_token(world.keys, CHAIN, world.org_id, 0, 7, NOW_MS + DAY_MS)
    assert compartments.verify_token(token, CHAIN, world.org_id, world.card, NOW_MS).serial == 7
    other_epoch = compartments.make_token(world.keys, CHAIN, world.org_id, 1, 7, NOW_MS + DAY_MS)
    for signed, org, now_ms in (
        (token, bytes(32), NOW_MS),
        (token, world.org_id, NOW_MS + DAY_MS),
        (other_epoch, world.org_id, NOW_MS),
        (replace(token, token=replace(token.token, serial=8)), world.org_id, NOW_MS),
        (replace(token, token=replace(token.token, feed=bytes(32))), world.org_id, NOW_MS),
    ):
        with pytest.raises(TokenInvalid):
            compartments.verify_token(signed, CHAIN, org, world.card, now_ms)


def test_a_request_with_a_key_nobody_certified_is_refused(world: Any) -> None:
    request = world.request()
    assert granting.check_request(request, CHAIN, world.network.health, 100, NOW_MS) == world.org_id
    named = replace(request, grantee=world.credential_id)
    assert granting.check_request(named, CHAIN, world.network.health, 100, NOW_MS) == world.org_id
    writer = CredentialBody(world.org_id, world.reader.public, "device", "pump", ["write"], 0, NOW_MS + DAY_MS)
    name = credential_id(CHAIN, writer)
    world.network.put(states.key_credential(name), states.CredentialState(writer, 1, None, None))
    for bad in (
        replace(request, inbox_key=OpeningKey.from_seed(bytes(32)).public),
        replace(request, grantee=bytes(32)),
        replace(request, grantee=name),
        replace(request, chain=bytes(16)),
    ):
        with pytest.raises(RequestInvalid):
            granting.check_request(bad, CHAIN, world.network.health, 100, NOW_MS)


@pytest.mark.parametrize(
    "changes",
    [
        {"expires_at_ms": NOW_MS - 1_000},
        {"date_from": "2026-01-01"},
        {"reading_epochs": []},
        {"reading_epochs": [0], "card": "other"},
    ],
)
def test_a_grant_that_contradicts_itself_is_not_made(world: Any, changes: dict[str, Any]) -> None:
    if changes.get("card") == "other":
        other = compartments.CompartmentKeys(SecretBytes(b"o" * 64), 0)
        changes["card"] = compartments.make_card(other, CHAIN, 0, 0, NOW_MS)
    with pytest.raises(GrantInvalid):
        world.grant(**changes)


def test_a_parcel_must_be_ours_and_the_owners(world: Any) -> None:
    made = world.grant()
    ours = {world.reader.public}
    parcel = granting.open_parcel(world.inbox, made.parcel, CHAIN, ours)
    with pytest.raises(ParcelNotOurs):
        granting.open_parcel(world.inbox, made.parcel, CHAIN, {bytes(32)})
    with pytest.raises(ParcelNotOurs):
        granting.open_parcel(OpeningKey.from_seed(bytes(32)), made.parcel, CHAIN, ours)

    def resealed(changed: GrantParcel) -> bytes:
        return seal(world.inbox.public, parcel_info(CHAIN), encode(changed))

    stranger = SigningKey(b"s" * 32)
    body = replace(parcel.body, owner_key=stranger.public)
    for forged in (
        replace(parcel, owner_signature=bytes(64)),
        replace(parcel, body=replace(parcel.body, date_to="2026-12-31")),
        replace(parcel, body=body, owner_signature=stranger.sign(grant_message(body))),
        replace(parcel, card=replace(parcel.card, signature=bytes(64))),
        replace(parcel, epoch_keys=[EpochKey(0, bytes(32))]),
        replace(parcel, epoch_keys=[parcel.epoch_keys[0], parcel.epoch_keys[0]]),
    ):
        with pytest.raises(GrantInvalid):
            granting.open_parcel(world.inbox, resealed(forged), CHAIN, ours)


def test_a_body_under_another_public_grant_is_refused(world: Any) -> None:
    made, other = world.grant(), world.grant()
    granting.require_same_grant(made.body, made.public)
    with pytest.raises(GrantDiffers):
        granting.require_same_grant(made.body, other.public)
    with pytest.raises(GrantDiffers):
        granting.require_same_grant(made.body, replace(made.public, expires_at_ms=made.public.expires_at_ms + 1))


def test_an_entry_names_different_records_and_the_grants_purpose(world: Any) -> None:
    made = world.grant()
    for records, purpose in (([], "treatment"), ([b"r" * 32] * 2, "treatment"), ([b"r" * 32], "research")):
        with pytest.raises(AccessInvalid):
            granting.make_access(made.body, world.credential_id, records, purpose, "why")


def test_nothing_is_asked_that_the_entry_does_not_name(world: Any) -> None:
    first, second = world.write(1)[0], world.write(1)[0]
    made = world.grant()
    prepared = world.access(made, [first])
    parcel = granting.open_parcel(world.inbox, made.parcel, CHAIN, {world.reader.public})
    for wanted in ([], [second], [first, second]):
        with pytest.raises(AccessInvalid):
            world.release_request(made, prepared, wanted, parcel)
