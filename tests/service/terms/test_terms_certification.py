"""Certified for what, when: the edges of every date, height and power."""

from __future__ import annotations

import msgspec
import pytest

from hce.foundation.codec.dagcbor import encode
from hce.service.terms.certification import (
    CredentialNotCertified,
    OrganisationNotCertified,
    require_author,
    require_credential,
    require_organisation,
)
from hce.service.terms.payloads import CredentialBody, OrganisationCertificate
from hce.service.terms.states import CredentialState, HealthReader, OrganisationState, RecordState, key_credential, key_organisation

ORG, CRED = bytes(32), b"\x01" * 32
CERTIFICATE = OrganisationCertificate(bytes(32), bytes(1216), "Clinic", "CN", "hospital", ["read", "write"], 1_000, 5_000)
CERTIFIED = OrganisationState(CERTIFICATE, 10, None)
BODY = CredentialBody(ORG, bytes(32), "clinician", "Nurse", ["read"], 2_000, 4_000)
ISSUED = CredentialState(BODY, 20, None, None)

replace = msgspec.structs.replace


def reader(org: OrganisationState | None = CERTIFIED, credential: CredentialState | None = ISSUED) -> HealthReader:
    stored = {}
    if org is not None:
        stored[key_organisation(ORG)] = encode(org)
    if credential is not None:
        stored[key_credential(CRED)] = encode(credential)
    return HealthReader(stored.get)


@pytest.mark.parametrize("time_ms", [1_000, 4_999])
def test_an_organisation_is_certified_from_its_first_instant_to_just_before_its_last(time_ms: int) -> None:
    assert require_organisation(reader(), ORG, "write", 10, time_ms) == CERTIFIED


@pytest.mark.parametrize(
    ("org", "power", "height", "time_ms"),
    [
        (None, None, 10, 2_000),
        (CERTIFIED, None, 10, 999),
        (CERTIFIED, None, 10, 5_000),
        (CERTIFIED, "emergency", 10, 2_000),
        (replace(CERTIFIED, revoked_height=30), None, 30, 2_000),
        (replace(CERTIFIED, revoked_height=30), None, 31, 2_000),
    ],
    ids=["unknown", "too early", "expired", "without the power", "revoked in this block", "revoked before"],
)
def test_any_other_organisation_is_refused(org: OrganisationState | None, power: str | None, height: int, time_ms: int) -> None:
    with pytest.raises(OrganisationNotCertified):
        require_organisation(reader(org), ORG, power, height, time_ms)


def test_what_was_done_before_a_revocation_was_done_by_a_certified_one() -> None:
    org = replace(CERTIFIED, revoked_height=30)
    credential = replace(ISSUED, revoked_height=30, revoked_ms=3_000)
    assert require_credential(reader(org, credential), CRED, "read", 29, 2_999) == credential
    with pytest.raises(CredentialNotCertified):
        require_credential(reader(org, credential), CRED, "read", 30, 3_000)


@pytest.mark.parametrize(
    ("credential", "power", "height", "time_ms"),
    [
        (None, "read", 20, 3_000),
        (ISSUED, "read", 19, 3_000),
        (ISSUED, "read", 20, 1_999),
        (ISSUED, "read", 20, 4_000),
        (ISSUED, "write", 20, 3_000),
    ],
    ids=["unknown", "not yet issued", "too early", "expired", "without the power"],
)
def test_any_other_credential_is_refused(credential: CredentialState | None, power: str, height: int, time_ms: int) -> None:
    with pytest.raises(CredentialNotCertified):
        require_credential(reader(CERTIFIED, credential), CRED, power, height, time_ms)


def test_a_credential_is_worth_nothing_without_its_organisation_and_its_power() -> None:
    for org in (
        None,
        replace(CERTIFIED, revoked_height=20),
        replace(CERTIFIED, certificate=replace(CERTIFICATE, powers=["write"])),
    ):
        with pytest.raises(OrganisationNotCertified):
            require_credential(reader(org), CRED, "read", 20, 3_000)


WRITER = replace(ISSUED, body=replace(BODY, powers=["write"]))
RECORD = RecordState(ORG, bytes(32), bytes(32), bytes(32), b"\x01\x71\x12\x20" + bytes(32), 20, 3_000)


@pytest.mark.parametrize(
    "org",
    [
        None,
        replace(CERTIFIED, certificate=replace(CERTIFICATE, powers=["read"])),
        replace(CERTIFIED, certificate=replace(CERTIFICATE, expires_at_ms=2_500)),
        replace(CERTIFIED, certified_height=40, certificate=replace(CERTIFICATE, not_before_ms=3_500)),
        replace(CERTIFIED, revoked_height=20),
    ],
    ids=["not asked for", "renewed without write", "renewed for less", "renewed later", "revoked in that block"],
)
def test_what_became_of_the_organisation_unwrites_no_record(org: OrganisationState | None) -> None:
    assert require_author(reader(org, WRITER), CRED, RECORD) == WRITER


@pytest.mark.parametrize(
    ("credential", "record"),
    [
        (None, RECORD),
        (ISSUED, RECORD),
        (WRITER, replace(RECORD, height=19)),
        (WRITER, replace(RECORD, time_ms=1_999)),
        (WRITER, replace(RECORD, time_ms=4_000)),
        (replace(WRITER, revoked_height=20, revoked_ms=3_000), RECORD),
        (WRITER, replace(RECORD, org_id=b"\x02" * 32)),
    ],
    ids=[
        "unknown",
        "without write",
        "before its issue",
        "too early",
        "expired",
        "revoked in that block",
        "of another organisation",
    ],
)
def test_who_was_no_author_then_wrote_nothing(credential: CredentialState | None, record: RecordState) -> None:
    with pytest.raises(CredentialNotCertified):
        require_author(reader(CERTIFIED, credential), CRED, record)
