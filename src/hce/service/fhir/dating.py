"""The day a resource belongs to: the day it was true of the patient, before the day somebody wrote it down."""

from __future__ import annotations

import datetime
import re
from typing import Any, Final

from hce.service.fhir.catalogue import Json
from hce.service.fhir.references import values_at

CLINICAL_DATES: Final = (
    "effectiveDateTime",
    "effectivePeriod.start",
    "effectiveInstant",
    "onsetDateTime",
    "onsetPeriod.start",
    "occurrenceDateTime",
    "occurrencePeriod.start",
    "performedDateTime",
    "performedPeriod.start",
    "collection.collectedDateTime",
    "collection.collectedPeriod.start",
    "timingDateTime",
    "timingPeriod.start",
    "period.start",
    "servicePeriod.start",
    "billablePeriod.start",
    "servicedDate",
    "servicedPeriod.start",
    "started",
    "start",
    "startDate",
    "whenHandedOver",
    "whenPrepared",
    "executionPeriod.start",
    "requestedPeriod.start",
    "planningHorizon.start",
    "createdDateTime",
    "createdPeriod.start",
    "authoredOn",
    "dateTime",
    "dateWritten",
    "date",
    "issued",
    "sent",
    "received",
    "receivedTime",
    "recordedDate",
    "created",
    "recorded",
    "authored",
    "dateAsserted",
    "enteredDate",
    "statusDate",
    "recordedOn",
    "manufactureDate",
)
"""Date elements over all kept types, most clinical first."""
LAST_RESORT = "meta.lastUpdated"
PARTIAL = re.compile(r"(\d{4})(?:-(\d\d)(?:-(\d\d))?)?(?:T.*)?", re.DOTALL)


def clinical_day(resource: Json) -> str | None:
    """YYYY-MM-DD from the resource's own clinical dates."""
    return next((day for path in CLINICAL_DATES for value in values_at(resource, path) if (day := day_of(value))), None)


def written_day(resource: Json) -> str | None:
    """YYYY-MM-DD of the last update: for a resource nothing else dates."""
    return next((day for value in values_at(resource, LAST_RESORT) if (day := day_of(value))), None)


def day_of(value: Any) -> str | None:
    """The calendar day of a FHIR date, dateTime or instant in its own offset: what the calendar on the wall showed.

    A year or a month alone is its first day. None for anything else, and for days that do not exist.
    """
    if not isinstance(value, str) or not (found := PARTIAL.fullmatch(value)):
        return None
    year, month, day = found.groups()
    try:
        return datetime.date(int(year), int(month or 1), int(day or 1)).isoformat()
    except ValueError:
        return None
