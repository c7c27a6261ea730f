"""Ids and commitments bind every field they should, and nothing they should not."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from hce.foundation.codec.cid import cid_of_raw
from hce.foundation.crypto.hashing import digest
from hce.service.terms import grants, payloads
from hce.service.terms.grants import AccessBody, GrantBody
from hce.service.terms.payloads import CredentialBody, GrantOpen, OrganisationCertificate, RecordEntry

CHAIN, OTHER_CHAIN = bytes(16), b"\x01" * 16
A, B = bytes(32), b"\x01" * 32

CERTIFICATE = OrganisationCertificate(A, bytes(1216), "Clinic", "CN", "hospital", ["read"], 1, 2)
CREDENTIAL = CredentialBody(A, A, "clinician", "Nurse", ["read"], 1, 2)
GRANT = GrantOpen(A, A, A, 1, 2)
GRANT_BODY = GrantBody(CHAIN, A, 1, A, bytes(1216), A, A, A, A, 1, 2, "2024-01-01", "2024-12-31", "treatment", "read", A)
ACCESS = AccessBody(A, A, 1, A, A, bytes(1216), "treatment", A)

CHANGES: dict[str, Any] = {
    "seal_key": b"\x01" * 1216,
    "log_key": b"\x01" * 1216,
    "response_key": b"\x01" * 1216,
    "chain": OTHER_CHAIN,
    "name": "Other",
    "country": "DE",
    "kind": "lab",
    "role": "device",
    "powers": ["write"],
    "not_before_ms": 0,
    "expires_at_ms": 3,
    "compartment_version": 2,
    "date_from": "2024-01-02",
    "date_to": "2024-12-30",
    "purpose": "research",
    "mode": "read-write",
    "records_count": 2,
}
"""Another value for a field by its name; every other field has 32 bytes."""


def changed(struct: Any, field: str) -> Any:
    return msgspec.structs.replace(struct, **{field: CHANGES.get(field, B)})


@pytest.mark.parametrize(
    ("struct", "name_of"),
    [
        (CERTIFICATE, payloads.organisation_subject),
        (CREDENTIAL, lambda body: payloads.credential_id(CHAIN, body)),
        (GRANT, lambda grant: payloads.grant_id(CHAIN, grant)),
        (GRANT_BODY, grants.grant_commitment),
        (GRANT_BODY, grants.grant_id_of),
        (ACCESS, grants.access_commitment),
    ],
    ids=["organisation subject", "credential id", "grant id", "grant commitment", "grant id of a body", "access commitment"],
)
def test_every_field_is_bound(struct: Any, name_of: Any) -> None:
    names = {name_of(struct)} | {name_of(changed(struct, field)) for field in struct.__struct_fields__}
    assert len(names) == 1 + len(struct.__struct_fields__)


def test_ids_belong_to_one_chain() -> None:
    for name_of in (
        lambda chain: payloads.org_id(chain, A),
        lambda chain: payloads.credential_id(chain, CREDENTIAL),
        lambda chain: payloads.compartment_id(chain, payloads.CompartmentOpen(A, A)),
        lambda chain: payloads.record_id(chain, A, A),
        lambda chain: payloads.grant_id(chain, GRANT),
        lambda chain: payloads.entry_id(chain, A, A),
    ):
        assert name_of(CHAIN) != name_of(OTHER_CHAIN)


def test_a_certification_is_revoked_under_its_own_subject() -> None:
    subjects = {payloads.organisation_revoke_subject(org, height) for org in (A, B) for height in (1, 2)}
    assert len(subjects) == 4


def test_an_old_grant_body_does_not_fit_a_grant_with_changed_public_fields() -> None:
    """Whoever copies a commitment into a grant with own keys or a later end gets an id the body does not have."""
    public = grants.public_grant(GRANT_BODY)
    for field in ("reader_key", "revoke_key", "not_before_ms", "expires_at_ms"):
        forged = changed(public, field)
        assert forged.commitment == public.commitment
        assert payloads.grant_id(CHAIN, forged) != grants.grant_id_of(GRANT_BODY)


def test_an_access_commits_to_exactly_its_records_in_their_order() -> None:
    """More records than committed, fewer, or others: another root."""
    roots = [grants.records_root(records) for records in ([A], [A, B], [B, A], [A, A], [A, B, A])]
    assert len(set(roots)) == len(roots)


def test_receipts_vouch_for_one_batch_of_one_place_time_and_node() -> None:
    entry = RecordEntry(A, A, A, A)
    shard, place = cid_of_raw(b"shard"), cid_of_raw(b"place")
    root = payloads.envelopes_root([entry])
    base: list[Any] = [CHAIN, place, shard, root, 0, 0, 10]
    others: list[Any] = [OTHER_CHAIN, shard, None, payloads.envelopes_root([entry, entry]), 1, 1, 11]
    messages = {payloads.availability_message(*base)}
    for position, other in enumerate(others):
        messages.add(payloads.availability_message(*[*base[:position], other, *base[position + 1 :]]))
    assert len(messages) == 1 + len(others)


def test_a_tank_is_an_address_that_belongs_to_one_organisation() -> None:
    assert len(payloads.tank_address(A)) == 20
    assert len({payloads.tank_address(A), payloads.tank_address(B), payloads.FEE_POOL}) == 3


def test_the_running_hash_remembers_order_and_number() -> None:
    ab = payloads.entries_hash(payloads.entries_hash(bytes(32), A), B)
    ba = payloads.entries_hash(payloads.entries_hash(bytes(32), B), A)
    assert len({ab, ba, payloads.entries_hash(bytes(32), A), digest("hce/entries/1", A, B)}) == 4


@pytest.mark.parametrize(
    ("powers", "valid"),
    [([], True), (["read"], True), (["read", "write"], True), (["write", "read"], False), (["read"] * 2, False)],
)
def test_one_set_of_powers_has_one_spelling(powers: list[str], valid: bool) -> None:
    assert payloads.powers_are_valid(powers) is valid
