"""Whose records are these? Patients of a Bundle compared with the people an organisation knows.

Only what is certain is acted on; for everything else a person has to look (F36).
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from hce.foundation.types.errors import Refused
from hce.service.fhir.bundle import REST
from hce.service.fhir.identity import Comparison, Match, PatientIdentity, same_person, the_same_entry
from hce.service.index.store import Patient


class Unidentifiable(Refused):
    """The Patient has neither an identifier nor a name with a birth date: it could never be found again."""

    code = "patient.unidentifiable"
    status = 422


class NotThatPerson(Refused):
    """It is not certain whose records these are: somebody else's, one of several people's, or perhaps somebody's."""

    code = "patient.unclear"
    status = 409


def identity_of(patient: Patient) -> PatientIdentity:
    return msgspec.json.decode(patient.identity, type=PatientIdentity)


def absolute_names(identity: PatientIdentity) -> list[str]:
    """What the person is called on servers: the same everywhere, while `Type/id` and names inside a Bundle are not."""
    return [name for name in identity.called if name.startswith(REST)]


def require_could_be(patient: Patient, identity: PatientIdentity) -> None:
    """Raises `NotThatPerson`. Somebody has looked: what is merely missing does not stand in the way, what contradicts does."""
    comparison = same_person(identity, identity_of(patient))
    sure = comparison.match is Match.YES or the_same_entry(identity, identity_of(patient))
    if not sure and not _could_be(comparison):
        raise NotThatPerson(patient_id=patient.patient_id, reasons=comparison.reasons)


def only_match(people: Iterable[Patient], identity: PatientIdentity, somebody_new: bool) -> Patient | None:
    """The one of these people this surely is, None when it is surely none of them. Raises `NotThatPerson`, `Unidentifiable`."""
    if not identity.identifiers and not (identity.names and identity.birth_date):
        raise Unidentifiable
    compared = [(patient, same_person(identity, identity_of(patient))) for patient in people]
    sure = [
        patient
        for patient, comparison in compared
        if comparison.match is Match.YES or the_same_entry(identity, identity_of(patient))
    ]
    doubtful = [
        patient
        for patient, comparison in compared
        if comparison.match is Match.UNCLEAR and (_could_be(comparison) or _share_an_identifier(identity, identity_of(patient)))
    ]
    if len(sure) > 1 or (doubtful and not sure and not somebody_new):
        raise NotThatPerson(candidates=[patient.patient_id for patient in sure + doubtful])
    return sure[0] if sure else None


def may_be_one(a: PatientIdentity, b: PatientIdentity) -> bool:
    """Anything but surely two people; of one name they might take over each other's account that was left without an index entry."""
    differ = same_person(a, b).match is Match.NO
    return not differ or a.shown_name == b.shown_name or the_same_entry(a, b) or _share_an_identifier(a, b)


def _could_be(comparison: Comparison) -> bool:
    """Same name and birth date, and no identifier that speaks against it."""
    reasons = set(comparison.reasons)
    return {"name.same", "birth_date.same"} <= reasons and reasons.isdisjoint({"identifier.mixed", "identifier.conflict"})


def _share_an_identifier(a: PatientIdentity, b: PatientIdentity) -> bool:
    return bool(set(a.identifiers) & set(b.identifiers))
