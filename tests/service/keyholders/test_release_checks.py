"""The release rule: each row refuses something that no other row does, and nothing absent is ever let through."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec import structs

from hce.foundation.codec.dagcbor import encode
from hce.foundation.types.errors import HceError, Refused, Unavailable
from hce.service.keyholders import errors, release
from hce.service.keyholders.release import CHECKS, Approved, may_release
from hce.service.terms import states
from hce.service.terms.genesis import Params
from hce.service.terms.grants import grant_id_of, public_grant, release_message
from hce.service.terms.payloads import grant_id
from hce.service.terms.states import HealthReader

PARAMS = Params()
HOUR = 3_600_000
OTHER = b"\x07" * 32
OTHER_CHAIN = b"another chain 16"

Spoil = Callable[[Any], None]


def ask(world: Any) -> Approved:
    table, request = world.bind()
    return may_release(HealthReader(table.get), request, world.now, PARAMS)


def now(**changes: Any) -> Spoil:
    return lambda world: setattr(world, "now", world.now._replace(**changes))


def of(piece: str, **changes: Any) -> Spoil:
    """The piece with some fields changed, before everything is bound."""
    return lambda world: setattr(world, piece, structs.replace(getattr(world, piece), **changes))


def put(**values: Any) -> Spoil:
    def spoil(world: Any) -> None:
        for name, value in values.items():
            setattr(world, name, value)

    return spoil


def with_record(**changes: Any) -> Spoil:
    """The second record made and registered otherwise."""
    return lambda world: world.records.__setitem__(1, world.record("second", **changes))


def resalt(world: Any) -> None:
    piece = world.records[1]
    other = structs.replace(piece.policy, salt=OTHER)
    world.openings = [world.records[0].opening, structs.replace(piece.opening, policy=other)]


def swap_rest(world: Any) -> None:
    world.openings = [world.records[0].opening, structs.replace(world.records[1].opening, envelope_rest_digest=OTHER)]


def revoke_locally(world: Any) -> None:
    world.now = world.now._replace(revoked={grant_id_of(world.body)})


def repeat(world: Any) -> None:
    first = world.records[0]
    world.requested = [first.record_id, first.record_id]
    world.openings = [first.opening, first.opening]


def ask_beyond_the_entry(world: Any) -> None:
    world.entry_records = [world.records[0].record_id]


def open_once_too_often(world: Any) -> None:
    world.openings = [piece.opening for piece in world.records] + [world.records[0].opening]


def revoke_author_before(world: Any) -> None:
    world.author = structs.replace(world.author, revoked_height=700)


SPOILED: dict[str, Spoil] = {
    "release.syncing": now(syncing=True),
    "release.wrong_chain": of("body", chain=OTHER_CHAIN),
    "release.entry_not_final": put(entry_height=1_001),
    "release.entry_old_blocks": put(entry_height=1_000 - 61),
    "release.entry_old_time": lambda world: put(entry_time_ms=world.now.local_ms - 600_001)(world),
    "release.access_mismatch": put(entry_changes={"commitment": OTHER}),
    "release.entry_of_other_grant": put(entry_changes={"grant_id": OTHER}),
    "release.grant_id_mismatch": put(grant_id=OTHER),
    "release.grant_fields_mismatch": put(grant_changes={"reader_key": OTHER}),
    "release.owner_changed": of("compartment", owner_digest=OTHER),
    "release.compartment_version": of("compartment", version=2),
    "release.grant_voided": of("compartment", grants_valid_from=901),
    "release.grant_revoked": put(grant_revoked=950),
    "release.revoke_seen": revoke_locally,
    "release.grant_not_yet_valid": lambda world: of("body", not_before_ms=world.now.local_ms + 1)(world),
    "release.grant_expired": lambda world: of("body", expires_at_ms=world.now.local_ms)(world),
    "release.purpose_mismatch": put(access_changes={"purpose": "research"}),
    "release.records_count_mismatch": put(access_changes={"records_count": 1}),
    "release.records_root_mismatch": put(access_changes={"records_root": OTHER}),
    "release.record_repeated": repeat,
    "release.record_not_in_entry": ask_beyond_the_entry,
    "release.openings_mismatch": open_once_too_often,
    "release.bad_owner_signature": lambda world: put(owner_signs=world.person)(world),
    "release.reader_not_certified": of("reader", revoked_height=990),
    "release.not_the_grantee": of("body", grantee=OTHER),
    "release.bad_reader_signature": lambda world: put(person_signs=world.owner)(world),
    "release.policy_mismatch": resalt,
    "release.envelope_mismatch": swap_rest,
    "release.policy_of_other_chain": with_record(chain=OTHER_CHAIN),
    "release.other_compartment": with_record(compartment_id=OTHER),
    "release.outside_dates": with_record(date="2021-01-01"),
    "release.author_not_certified": revoke_author_before,
    "release.capsule_mismatch": with_record(label_of="first"),
}


def test_a_request_that_follows_every_rule_is_approved(world: Any) -> None:
    approved = ask(world)
    assert [record.record_id for record in approved.records] == [piece.record_id for piece in world.records]
    assert [record.capsule for record in approved.records] == [piece.capsule for piece in world.records]
    assert (approved.response_key, approved.log_key) == (world.response_key, world.body.log_key)


def test_the_table_has_a_spoiled_request_for_every_row() -> None:
    assert list(SPOILED) == [check.name for check in CHECKS]


@pytest.mark.parametrize("code", SPOILED)
def test_each_check_is_the_only_one_that_refuses_its_request(code: str, world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    SPOILED[code](world)
    with pytest.raises(HceError) as refused:
        ask(world)
    assert refused.value.code == code
    assert isinstance(refused.value, Unavailable if code == "release.syncing" else Refused)
    monkeypatch.setattr(release, "CHECKS", tuple(check for check in CHECKS if check.name != code))
    assert isinstance(ask(world), Approved)


ABSENT: dict[str, Callable[[Any, Any], bytes]] = {
    "release.entry_unknown": lambda world, request: states.key_entry(request.entry_id),
    "release.grant_unknown": lambda world, request: states.key_grant(request.access.grant_id),
    "release.compartment_unknown": lambda world, request: states.key_compartment(world.compartment_id),
    "release.record_unknown": lambda world, request: states.key_record(world.records[1].record_id),
    "release.reader_not_certified": lambda world, request: states.key_credential(world.reader_id),
    "release.author_not_certified": lambda world, request: states.key_credential(world.author_id),
    "release.no_keyholders": lambda world, request: states.KEY_KEYHOLDERS,
}


@pytest.mark.parametrize("code", ABSENT)
def test_absence_is_refusal_whatever_check_is_missing(code: str, world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    table, request = world.bind()
    del table[ABSENT[code](world, request)]
    reader = HealthReader(table.get)
    with pytest.raises(HceError) as refused:
        may_release(reader, request, world.now, PARAMS)
    assert refused.value.code == code
    for missing in CHECKS:
        monkeypatch.setattr(release, "CHECKS", tuple(check for check in CHECKS if check is not missing))
        with pytest.raises(HceError, match="release\\."):
            may_release(reader, request, world.now, PARAMS)


def test_an_organisation_that_lost_its_certificate_takes_its_people_along(world: Any) -> None:
    reading = world.organisations[world.reader_org]
    world.organisations[world.reader_org] = structs.replace(reading, revoked_height=999)
    with pytest.raises(errors.ReaderNotCertified):
        ask(world)


@pytest.mark.parametrize("since", [{"powers": ["read"]}, {"expires_at_ms": 1}], ids=["narrower", "shorter"])
def test_a_hospital_that_renews_its_certificate_keeps_its_older_records_readable(since: Any, world: Any) -> None:
    before = world.organisations[world.author_org]
    renewed = structs.replace(before.certificate, **since)
    world.organisations[world.author_org] = structs.replace(before, certificate=renewed, certified_height=950)
    assert ask(world)


def test_an_author_of_another_organisation_than_committed_is_refused(world: Any) -> None:
    piece = world.records[1]
    piece.state = structs.replace(piece.state, org_id=OTHER)
    with pytest.raises(errors.AuthorNotCertified):
        ask(world)


def test_every_reason_not_to_release_is_in_the_table_or_is_an_absence() -> None:
    codes = {error.code for error in vars(errors).values() if isinstance(error, type) and issubclass(error, HceError)}
    reasons = {code for code in codes if code.startswith("release.")}
    assert reasons == set(SPOILED) | set(ABSENT)


def test_an_author_revoked_after_inclusion_does_not_unwrite_the_record(world: Any) -> None:
    world.author = structs.replace(world.author, revoked_height=801)
    assert ask(world)


def test_the_grantee_may_be_the_individual(world: Any) -> None:
    world.body = structs.replace(world.body, grantee=world.reader_id)
    assert ask(world)


def test_a_part_of_the_entry_may_be_requested(world: Any) -> None:
    second = world.records[1]
    world.requested, world.openings = [second.record_id], [second.opening]
    assert [record.record_id for record in ask(world).records] == [second.record_id]


def test_the_last_allowed_moment_is_allowed(world: Any) -> None:
    world.entry_height, world.entry_time_ms = 1_000 - PARAMS.entry_max_blocks, world.now.local_ms - PARAMS.entry_max_ms
    world.body = structs.replace(world.body, not_before_ms=world.now.local_ms, expires_at_ms=world.now.local_ms + 1)
    assert ask(world)


@pytest.mark.parametrize("clock", ["local_ms", "block_time_ms"])
def test_a_grant_ends_by_whichever_clock_is_ahead(clock: str, world: Any) -> None:
    world.entry_time_ms = world.body.expires_at_ms - 1
    world.now = world.now._replace(**{clock: world.body.expires_at_ms})
    with pytest.raises(errors.GrantExpired):
        ask(world)


def test_an_old_grant_body_under_a_new_id_is_refused(world: Any) -> None:
    """The reader opens a grant of his own whose commitment is that of an old, expired body."""
    world.body = structs.replace(world.body, expires_at_ms=world.now.local_ms - HOUR)
    new_public = structs.replace(public_grant(world.body), expires_at_ms=world.now.local_ms + HOUR)
    world.grant_id = grant_id(world.chain, new_public)
    world.grant_changes = {"expires_at_ms": new_public.expires_at_ms}
    with pytest.raises(errors.GrantIdMismatch):
        ask(world)


def test_more_records_than_committed_are_refused(world: Any) -> None:
    table, request = world.bind()
    extra = world.record("third")
    table[states.key_record(extra.record_id)] = encode(extra.state)
    longer = [*request.entry_records, extra.record_id]
    message = release_message(world.chain, request.entry_id, request.access.response_key, longer)
    more = structs.replace(
        request,
        entry_records=longer,
        requested=longer,
        openings=[*request.openings, extra.opening],
        credential_signature=world.person.sign(message),
    )
    with pytest.raises(errors.RecordsCountMismatch):
        may_release(HealthReader(table.get), more, world.now, PARAMS)
    replaced = structs.replace(more, entry_records=[request.entry_records[0], extra.record_id])
    with pytest.raises(errors.RecordsRootMismatch):
        may_release(HealthReader(table.get), replaced, world.now, PARAMS)


def test_an_opening_replayed_for_another_record_is_refused(world: Any) -> None:
    world.openings = [world.records[0].opening, world.records[0].opening]
    with pytest.raises(errors.PolicyMismatch):
        ask(world)


def test_a_swapped_envelope_is_refused(world: Any) -> None:
    first, second = world.records
    world.openings = [first.opening, structs.replace(second.opening, capsule=first.capsule)]
    with pytest.raises(errors.EnvelopeMismatch):
        ask(world)


def test_a_capsule_registered_again_under_another_record_is_refused(world: Any) -> None:
    """An attacker with a grant over his own compartment registers a victim's capsule there: everything opens but the capsule."""
    victim = world.records[0]
    world.records = [world.record("stolen", capsule=victim.capsule)]
    with pytest.raises(errors.CapsuleMismatch):
        ask(world)


def test_the_answer_goes_nowhere_but_to_the_committed_key(world: Any) -> None:
    table, request = world.bind()
    stolen = structs.replace(request, access=structs.replace(request.access, response_key=bytes(1216)))
    with pytest.raises(errors.AccessMismatch):
        may_release(HealthReader(table.get), stolen, world.now, PARAMS)
