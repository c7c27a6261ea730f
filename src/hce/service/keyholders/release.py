"""May this node release its part of these records' keys? One pure decision, and the only one.

The public chain holds commitments; the request opens some of them to this node. Every check below compares one thing the request
says with one thing the final state says. They stand in a table, each with its own error, so that a reader can print the rule, and a
test can take any one of them away and show what gets through without it.

What is looked up and absent is refused by the lookup itself, not by a check in the table: there is no way to ask and go on without
an answer. Cheap comparisons come first, signatures next, the arithmetic of the capsules last (about 0.2 ms a record).

Nothing here trusts the ledger more than needed: what two checks could both catch (an old body under a new id, say) is caught twice.

Refused alternative: letting the request name the key to answer to. The response key comes from the access body alone, which the
entry committed to; a captured request replayed by somebody else is answered to the first reader's key.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from hce.foundation.crypto.sign import verify
from hce.foundation.crypto.threshold import Capsule
from hce.service.keyholders import errors
from hce.service.keyholders.case import Case, ReleaseMoment
from hce.service.terms.certification import CredentialNotCertified, OrganisationNotCertified, require_author, require_credential
from hce.service.terms.genesis import Params
from hce.service.terms.grants import (
    AccessBody,
    ReleaseRequest,
    access_commitment,
    grant_id_of,
    grant_message,
    log_address,
    public_grant,
    records_root,
    release_message,
)
from hce.service.terms.payloads import GrantOpen, owner_digest
from hce.service.terms.records import capsule_digest, capsule_label, envelope_digest, policy_commitment
from hce.service.terms.states import HealthReader


class ApprovedRecord(NamedTuple):
    record_id: bytes
    capsule: Capsule


class Approved(NamedTuple):
    """What may be released, and where the answer and the receipt go. Only `may_release` makes one."""

    entry_id: bytes
    grant_id: bytes
    compartment_id: bytes
    access: AccessBody
    response_key: bytes
    entry_records: tuple[bytes, ...]
    """Everything the entry stands for, in its order: what the receipt names, however little is asked for now."""
    log_key: bytes
    log_address: bytes
    key_id: bytes
    sharing_epoch: int
    records: tuple[ApprovedRecord, ...]
    together: tuple[int, ...] | None
    """As in the request."""


class Check(NamedTuple):
    """One row of the rule: raises its own error when the case fails it."""

    name: str
    refuse: Callable[[Case], None]


def not_syncing(case: Case) -> None:
    if case.now.syncing:
        raise errors.NodeSyncing


def grant_is_of_this_chain(case: Case) -> None:
    if case.request.grant.chain != case.now.chain:
        raise errors.WrongChain(expected=case.now.chain.hex(), actual=case.request.grant.chain.hex())


def entry_is_final(case: Case) -> None:
    if case.entry.height > case.now.height:
        raise errors.EntryNotFinal(expected=case.now.height, actual=case.entry.height)


def entry_is_young_in_blocks(case: Case) -> None:
    age = case.now.height - case.entry.height
    if age > case.params.entry_max_blocks:
        raise errors.EntryTooManyBlocks(age_blocks=age, max_blocks=case.params.entry_max_blocks)


def entry_is_young_in_time(case: Case) -> None:
    age_ms = case.now.now_ms - case.entry.time_ms
    if age_ms > case.params.entry_max_ms:
        raise errors.EntryTooOld(age_ms=age_ms, max_ms=case.params.entry_max_ms)


def access_opens_the_entry(case: Case) -> None:
    if access_commitment(case.request.access) != case.entry.commitment:
        raise errors.AccessMismatch


def entry_is_of_the_grant(case: Case) -> None:
    if case.request.access.grant_id != case.entry.grant_id:
        raise errors.EntryOfOtherGrant(expected=case.entry.grant_id.hex(), actual=case.request.access.grant_id.hex())


def grant_body_makes_the_id(case: Case) -> None:
    made = grant_id_of(case.request.grant)
    if made != case.request.access.grant_id:
        raise errors.GrantIdMismatch(expected=case.request.access.grant_id.hex(), actual=made.hex())


def grant_fields_are_the_chains(case: Case) -> None:
    grant = case.grant
    on_chain = GrantOpen(grant.commitment, grant.reader_key, grant.revoke_key, grant.not_before_ms, grant.expires_at_ms)
    if public_grant(case.request.grant) != on_chain:
        raise errors.GrantFieldsMismatch


def owner_is_current(case: Case) -> None:
    if owner_digest(case.request.grant.owner_key) != case.compartment.owner_digest:
        raise errors.OwnerChanged


def compartment_version_is_current(case: Case) -> None:
    if case.request.grant.compartment_version != case.compartment.version:
        raise errors.CompartmentVersionChanged(expected=case.compartment.version, actual=case.request.grant.compartment_version)


def grant_is_not_voided(case: Case) -> None:
    if case.grant.height < case.compartment.grants_valid_from:
        raise errors.GrantVoided(opened_height=case.grant.height, valid_from=case.compartment.grants_valid_from)


def grant_is_not_revoked(case: Case) -> None:
    if case.grant.revoked_height is not None:
        raise errors.GrantRevoked(revoked_height=case.grant.revoked_height)


def no_revoke_was_seen(case: Case) -> None:
    if case.request.access.grant_id in case.now.revoked:
        raise errors.RevokeSeen


def grant_has_begun(case: Case) -> None:
    if case.now.now_ms < case.request.grant.not_before_ms:
        raise errors.GrantNotYetValid(now_ms=case.now.now_ms, not_before_ms=case.request.grant.not_before_ms)


def grant_has_not_ended(case: Case) -> None:
    if case.now.now_ms >= case.request.grant.expires_at_ms:
        raise errors.GrantExpired(now_ms=case.now.now_ms, expires_at_ms=case.request.grant.expires_at_ms)


def purpose_is_the_grants(case: Case) -> None:
    if case.request.access.purpose != case.request.grant.purpose:
        raise errors.PurposeMismatch(expected=case.request.grant.purpose, actual=case.request.access.purpose)


def records_count_is_committed(case: Case) -> None:
    expected, actual = case.request.access.records_count, len(case.request.entry_records)
    if expected != actual:
        raise errors.RecordsCountMismatch(expected=expected, actual=actual)


def records_are_committed(case: Case) -> None:
    if records_root(case.request.entry_records) != case.request.access.records_root:
        raise errors.RecordsRootMismatch


def requested_are_distinct(case: Case) -> None:
    if len(set(case.request.requested)) != len(case.request.requested):
        raise errors.RecordRepeated


def requested_are_in_the_entry(case: Case) -> None:
    if not set(case.request.requested) <= set(case.request.entry_records):
        raise errors.RecordNotInEntry


def each_has_one_opening(case: Case) -> None:
    expected, actual = len(case.request.requested), len(case.request.openings)
    if expected != actual:
        raise errors.OpeningsMismatch(expected=expected, actual=actual)


def owner_signed(case: Case) -> None:
    grant = case.request.grant
    if not verify(grant.owner_key, grant_message(grant), case.request.owner_signature):
        raise errors.BadOwnerSignature


def reader_is_certified(case: Case) -> None:
    try:
        require_credential(case.state, case.request.access.credential_id, "read", case.now.height, case.now.now_ms)
    except (CredentialNotCertified, OrganisationNotCertified) as error:
        raise errors.ReaderNotCertified(error.detail, because=error.code) from error


def reader_is_the_grantee(case: Case) -> None:
    if case.request.grant.grantee not in (case.request.access.credential_id, case.reader.body.org_id):
        raise errors.NotTheGrantee


def reader_signed(case: Case) -> None:
    request = case.request
    message = release_message(case.now.chain, request.entry_id, request.access.response_key, request.requested)
    if not verify(case.reader.body.person_key, message, request.credential_signature):
        raise errors.BadReaderSignature


def policies_are_committed(case: Case) -> None:
    for record_id, state, opening in case.records:
        if policy_commitment(opening.policy) != state.policy_commitment:
            raise errors.PolicyMismatch(record_id=record_id.hex())


def envelopes_are_committed(case: Case) -> None:
    for record_id, state, opening in case.records:
        if envelope_digest(capsule_digest(opening.capsule), opening.envelope_rest_digest) != state.envelope_digest:
            raise errors.EnvelopeMismatch(record_id=record_id.hex())


def policies_are_of_this_chain(case: Case) -> None:
    for record_id, _, opening in case.records:
        if opening.policy.chain != case.now.chain:
            raise errors.PolicyOfOtherChain(record_id=record_id.hex())


def records_are_of_the_compartment(case: Case) -> None:
    for record_id, _, opening in case.records:
        if opening.policy.compartment_id != case.request.grant.compartment_id:
            raise errors.OtherCompartment(record_id=record_id.hex())


def records_are_within_the_dates(case: Case) -> None:
    grant = case.request.grant
    for record_id, _, opening in case.records:
        if not grant.date_from <= opening.policy.date <= grant.date_to:
            raise errors.OutsideDates(record_id=record_id.hex())


def authors_were_certified(case: Case) -> None:
    """At the record's inclusion, in the organisation that committed it: what is revoked or renewed afterwards unwrites nothing.

    Records of one author, organisation and block are one question.
    """
    certified: set[tuple[bytes, bytes, int, int]] = set()
    for record_id, state, opening in case.records:
        question = opening.policy.author, state.org_id, state.height, state.time_ms
        if question in certified:
            continue
        try:
            require_author(case.state, opening.policy.author, state)
        except CredentialNotCertified as error:
            raise errors.AuthorNotCertified(error.detail, because=error.code, record_id=record_id.hex()) from error
        certified.add(question)


def capsules_are_the_records_own(case: Case) -> None:
    key_id, public_key = case.keyholders.key_id, case.keyholders.public_key
    for record_id, state, opening in case.records:
        label = capsule_label("record", case.now.chain, record_id, state.policy_commitment, key_id)
        if not case.now.verify_capsule(public_key, label, opening.capsule):
            raise errors.CapsuleMismatch(record_id=record_id.hex())


CHECKS: tuple[Check, ...] = (
    Check("release.syncing", not_syncing),
    Check("release.wrong_chain", grant_is_of_this_chain),
    Check("release.entry_not_final", entry_is_final),
    Check("release.entry_old_blocks", entry_is_young_in_blocks),
    Check("release.entry_old_time", entry_is_young_in_time),
    Check("release.access_mismatch", access_opens_the_entry),
    Check("release.entry_of_other_grant", entry_is_of_the_grant),
    Check("release.grant_id_mismatch", grant_body_makes_the_id),
    Check("release.grant_fields_mismatch", grant_fields_are_the_chains),
    Check("release.owner_changed", owner_is_current),
    Check("release.compartment_version", compartment_version_is_current),
    Check("release.grant_voided", grant_is_not_voided),
    Check("release.grant_revoked", grant_is_not_revoked),
    Check("release.revoke_seen", no_revoke_was_seen),
    Check("release.grant_not_yet_valid", grant_has_begun),
    Check("release.grant_expired", grant_has_not_ended),
    Check("release.purpose_mismatch", purpose_is_the_grants),
    Check("release.records_count_mismatch", records_count_is_committed),
    Check("release.records_root_mismatch", records_are_committed),
    Check("release.record_repeated", requested_are_distinct),
    Check("release.record_not_in_entry", requested_are_in_the_entry),
    Check("release.openings_mismatch", each_has_one_opening),
    Check("release.bad_owner_signature", owner_signed),
    Check("release.reader_not_certified", reader_is_certified),
    Check("release.not_the_grantee", reader_is_the_grantee),
    Check("release.bad_reader_signature", reader_signed),
    Check("release.policy_mismatch", policies_are_committed),
    Check("release.envelope_mismatch", envelopes_are_committed),
    Check("release.policy_of_other_chain", policies_are_of_this_chain),
    Check("release.other_compartment", records_are_of_the_compartment),
    Check("release.outside_dates", records_are_within_the_dates),
    Check("release.author_not_certified", authors_were_certified),
    Check("release.capsule_mismatch", capsules_are_the_records_own),
)
"""The rule, in the order it is asked. Every row's name is the code of the error it raises."""


def may_release(state: HealthReader, request: ReleaseRequest, now: ReleaseMoment, params: Params) -> Approved:
    """What may be released for this request, or the first row of `CHECKS` that forbids it, raised.

    Pure: `state` answers as of one final block, `now` is handed in. Bounds of lists and byte strings were checked when the request
    was decoded. `NodeSyncing` and `NoKeyholders` are `Unavailable` (ask another node), everything else is `Refused`.
    """
    case = Case(state, request, now, params)
    for check in CHECKS:
        check.refuse(case)
    return Approved(
        entry_id=request.entry_id,
        grant_id=request.access.grant_id,
        compartment_id=request.grant.compartment_id,
        access=request.access,
        response_key=request.access.response_key,
        entry_records=tuple(request.entry_records),
        log_key=request.grant.log_key,
        log_address=log_address(request.grant.log_read_key, request.grant.owner_key),
        key_id=case.keyholders.key_id,
        sharing_epoch=case.keyholders.sharing_epoch,
        records=tuple(ApprovedRecord(record.record_id, record.opening.capsule) for record in case.records),
        together=None if request.together is None else tuple(request.together),
    )
