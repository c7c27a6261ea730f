"""Refusals of a whole Bundle, and the named problems of single entries."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from hce.foundation.types.errors import Corrupt, Malformed, Refused, TooLarge, Unavailable


class BundleMalformed(Malformed):
    """Not gzip, not JSON, or not a Bundle with a list of entries."""

    code = "fhir.bundle_malformed"


class BundleType(Malformed):
    """A Bundle, but not one that carries resources to keep (a search result, a history, a message)."""

    code = "fhir.bundle_type"


class BundleTooLarge(TooLarge):
    """More bytes (as sent or unpacked) or more entries than the bounds allow."""

    code = "fhir.bundle_too_large"


class PatientCount(Refused):
    """A Bundle is about exactly one person. None or several: nobody guesses whose the rest is."""

    code = "fhir.patient_count"
    status = 422


class PatientInvalid(Refused):
    """The one Patient entry is itself refused, so nothing in the Bundle can be said to be theirs."""

    code = "fhir.patient_invalid"
    status = 422


class SchemaMissing(Unavailable):
    """The gate's schema was not built. `make install` builds it."""

    code = "fhir.schema_missing"


class SchemaCorrupt(Corrupt):
    """The gate's schema is there but is not what the build wrote."""

    code = "fhir.schema_corrupt"


class Problem(Struct, frozen=True):
    """One entry that becomes no record. `detail` names places and rules, never values: they may be patient data."""

    index: int
    """Position in the Bundle's `entry`, from 0."""
    type: str
    """resourceType, or "" where it could not be read."""
    code: str
    detail: str
    id: str = ""
    """The resource's id where it is a well-formed FHIR id."""


PROBLEM_CODES: Final = {
    "fhir.entry": "the entry is not an object of the right shape",
    "fhir.no_resource": "the entry carries no resource",
    "fhir.method": "the entry asks for something else than to keep a resource",
    "fhir.not_json": "the resource is not valid JSON",
    "fhir.duplicate_key": "an object names a member twice, so two readers could see two contents",
    "fhir.too_deep": "the resource is nested too deeply",
    "fhir.too_large": "the resource is larger than a record may be",
    "fhir.unnamed": "neither fullUrl nor id, or a name too long to keep",
    "fhir.name_mismatch": "fullUrl and id disagree",
    "fhir.duplicate": "an earlier entry has the same name",
    "fhir.unknown_type": "not a FHIR R4 resource type",
    "fhir.type_not_kept": "a FHIR R4 type that is not one person's record",
    "fhir.definition": "a FHIR R4 type written for software and for everybody: nobody's data",
    "fhir.not_directory": "handed over as the organisation's own, but of a patient or naming one",
    "fhir.invalid": "does not follow the FHIR R4 structure",
    "fhir.no_patient": "names no patient",
    "fhir.patient_unknown": "names a patient who is not among those handed over",
    "fhir.wrong_patient": "names another patient",
    "fhir.undated": "has no date, and nothing it is tied to has one",
}
"""Every code a `Problem` can carry, and what it means."""
