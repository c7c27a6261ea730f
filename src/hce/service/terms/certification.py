"""Who is certified for what, when: one rule, asked by contracts, keyholders, gateways and readers alike."""

from __future__ import annotations

from hce.foundation.types.errors import Refused
from hce.service.terms.states import CredentialState, HealthReader, OrganisationState, RecordState


class OrganisationNotCertified(Refused):
    """The organisation was never certified, or its certificate is expired or revoked at the judged moment."""

    code = "organisation.not_certified"


class CredentialNotCertified(Refused):
    """The person or device has no credential, or it is expired, revoked or lacks the power at the judged moment."""

    code = "credential.not_certified"


def require_organisation(state: HealthReader, org_id: bytes, power: str | None, height: int, time_ms: int) -> OrganisationState:
    """The organisation in force at (height, time_ms) with this power; raises `OrganisationNotCertified`."""
    found = state.organisation(org_id)
    if found is None:
        raise OrganisationNotCertified("unknown", org_id=org_id.hex())
    certificate = found.certificate
    if found.revoked_height is not None and found.revoked_height <= height:
        raise OrganisationNotCertified("revoked", org_id=org_id.hex(), revoked_height=found.revoked_height)
    if not certificate.not_before_ms <= time_ms < certificate.expires_at_ms:
        raise OrganisationNotCertified("outside its dates", org_id=org_id.hex(), expires_at_ms=certificate.expires_at_ms)
    if power is not None and power not in certificate.powers:
        raise OrganisationNotCertified("lacks the power", org_id=org_id.hex(), power=power)
    return found


def require_credential(state: HealthReader, credential_id: bytes, power: str, height: int, time_ms: int) -> CredentialState:
    """The credential in force at (height, time_ms) with this power, under an organisation that has it too. For what happens now."""
    found = _credential(state, credential_id, power, height, time_ms)
    require_organisation(state, found.body.org_id, power, height, time_ms)
    return found


def require_author(state: HealthReader, credential_id: bytes, record: RecordState) -> CredentialState:
    """The credential that might have written this record: in force with `write` at its inclusion, of the organisation that committed it.

    The organisation is not asked for: `record.commit` is refused unless the organisation has `write` in that very block, so the
    record's presence under its id proves it. Asking the newest certificate instead would make all older records of a hospital
    unreadable on the day it renews without `write`, and would need its whole history kept.
    A revocation counts from its own height on: what was included before stays written by a certified person.
    """
    found = _credential(state, credential_id, "write", record.height, record.time_ms)
    if found.body.org_id != record.org_id:
        raise CredentialNotCertified("of another organisation than the record's", credential_id=credential_id.hex())
    return found


def _credential(state: HealthReader, credential_id: bytes, power: str, height: int, time_ms: int) -> CredentialState:
    """The credential in force at (height, time_ms) with this power, whatever became of its organisation."""
    found = state.credential(credential_id)
    if found is None:
        raise CredentialNotCertified("unknown", credential_id=credential_id.hex())
    body = found.body
    if found.issued_height > height:
        raise CredentialNotCertified("not yet issued then", credential_id=credential_id.hex(), issued_height=found.issued_height)
    if found.revoked_height is not None and found.revoked_height <= height:
        raise CredentialNotCertified("revoked", credential_id=credential_id.hex(), revoked_height=found.revoked_height)
    if not body.not_before_ms <= time_ms < body.expires_at_ms:
        raise CredentialNotCertified("outside its dates", credential_id=credential_id.hex(), expires_at_ms=body.expires_at_ms)
    if power not in body.powers:
        raise CredentialNotCertified("lacks the power", credential_id=credential_id.hex(), power=power)
    return found
