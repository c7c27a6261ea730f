"""From one Bundle to the records to seal: `plan_import`.

A record is the unit of release: what is given or withheld together. Resources go into one record when they share compartment, day,
encounter and kind; a group that outgrows the bounds is cut in Bundle order. The plan is a function of the bytes alone: the same
Bundle gives the same records in the same order.

A resource without a clinical date takes, in this order, its encounter's day, the day (and encounter) of the nearest dated resource
that names it or that it names (a Goal its CarePlan's, a Medication its prescription's), the day it was last updated. Demographics
fall back to the birth date. What nothing dates is of the day it was handed over, where that is said; without it, it is refused by name: a
record without a day could not be released by date.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from msgspec import Struct

from hce.service.fhir.bundle import BundleBounds, Entry, problem_of, read_bundle
from hce.service.fhir.catalogue import FHIR_JSON, RULES, SHARED, Json, kind_of
from hce.service.fhir.dating import clinical_day, day_of, written_day
from hce.service.fhir.errors import PatientCount, PatientInvalid, Problem
from hce.service.fhir.gate import Gate, default_gate
from hce.service.fhir.identity import PatientIdentity, identify, names_patient, whose
from hce.service.fhir.references import encounter_of, names_of, nearest, ties_of
from hce.service.terms.records import MAX_INLINE_BYTES, MAX_RESOURCES_PER_RECORD, ContentItem

GENERAL = "general"
NOT_A_SOURCE = frozenset({"Patient", "Provenance"})
"""They name everything, and their own dates say nothing about what they name."""


class ImportParams(Struct, frozen=True):
    bounds: BundleBounds = BundleBounds()
    max_resources: int = MAX_RESOURCES_PER_RECORD
    """Resources in one record."""
    max_record_bytes: int = MAX_INLINE_BYTES
    """Resource bytes in one record."""

    def __post_init__(self) -> None:
        if not self.bounds.max_resource_bytes <= self.max_record_bytes <= MAX_INLINE_BYTES:
            raise ValueError("a record must hold the largest resource, and content this large must lie inside its manifest")
        if not 1 <= self.max_resources <= MAX_RESOURCES_PER_RECORD:
            raise ValueError("resources per record")


class PlannedRecord(Struct, frozen=True):
    kind: str
    date: str
    """YYYY-MM-DD."""
    compartment: str
    """Compartment use, as in `derive_seed("compartment/" + use)`."""
    items: list[ContentItem]
    encounter: str | None
    """fullUrl or Encounter/id."""
    parents: list[bytes] = []
    """Ids of the records that hold earlier versions of these resources."""


class ImportPlan(Struct, frozen=True):
    """Every entry of the Bundle is in exactly one record, in `shared_count`, or in `problems`."""

    identity: PatientIdentity
    records: list[PlannedRecord]
    """By date, then by first resource in the Bundle."""
    problems: list[Problem]
    """By position in the Bundle."""
    shared_count: int
    """Valid resources about nobody (staff, places); not sealed."""
    counts_by_type: dict[str, int]
    """Resources in `records` by resourceType, names sorted."""


class Placed(Struct, frozen=True):
    """A resource with its day."""

    entry: Entry
    date: str
    encounter: str | None


def plan_import(
    bundle: bytes,
    params: ImportParams | None = None,
    gate: Gate | None = None,
    today: str | None = None,
    known: PatientIdentity | None = None,
) -> ImportPlan:
    """The records of one patient's Bundle (JSON, or gzip of it). Without a gate the built schema is loaded.

    `today` is the day it was handed over, YYYY-MM-DD. `known` is whose a Bundle without a Patient is said to be: references must name them.

    Errors refuse the whole Bundle: `fhir.bundle_malformed`, `fhir.bundle_type`, `fhir.bundle_too_large`, `fhir.patient_count`,
    `fhir.patient_invalid`, `fhir.schema_missing`. A broken entry is a `Problem` and stops nothing else.
    """
    chosen = params or ImportParams()
    entries, problems = read_bundle(bundle, chosen.bounds)
    valid, invalid = through_gate(entries, gate or default_gate())
    problems += invalid
    identity = known if known and not _any_patient(valid, problems) else identify(_one_patient(valid, problems))
    shared = [entry for entry in valid if entry.type in SHARED]
    own, foreign = _of_patient([entry for entry in valid if entry.type in RULES], identity)
    placed, undated = _dated(own, identity, today)
    return ImportPlan(
        identity=identity,
        records=grouped(placed, chosen),
        problems=sorted([*problems, *foreign, *undated], key=lambda problem: problem.index),
        shared_count=len(shared),
        counts_by_type=dict(sorted(Counter(item.entry.type for item in placed).items())),
    )


def compartment_of(resource: Json) -> str:
    """Compartment use of a resource. One for now; a finer split (mental health, ...) changes here and nowhere else."""
    return GENERAL


def through_gate(entries: Iterable[Entry], gate: Gate) -> tuple[list[Entry], list[Problem]]:
    """Those that follow the structure of their type, and a problem for each of the others."""
    valid: list[Entry] = []
    problems: list[Problem] = []
    for entry in entries:
        if fault := gate.fault_of(entry.resource):
            problems.append(problem_of(entry, "fhir.invalid", f"{fault.path or '/'}: {fault.reason}"))
        else:
            valid.append(entry)
    return valid, problems


def _any_patient(valid: Iterable[Entry], problems: Iterable[Problem]) -> bool:
    return any(entry.type == "Patient" for entry in valid) or any(problem.type == "Patient" for problem in problems)


def _one_patient(valid: Iterable[Entry], problems: Iterable[Problem]) -> Entry:
    """The Bundle's one Patient. A refused Patient entry counts as one: two are two, even when only one of them is well-formed."""
    found = [entry for entry in valid if entry.type == "Patient"]
    refused = [problem for problem in problems if problem.type == "Patient"]
    if len(found) + len(refused) != 1:
        raise PatientCount("a Bundle is about exactly one person", expected=1, actual=len(found) + len(refused))
    if refused:
        raise PatientInvalid(refused[0].detail, entry=refused[0].index, reason=refused[0].code)
    return found[0]


def _of_patient(entries: Iterable[Entry], identity: PatientIdentity) -> tuple[list[Entry], list[Problem]]:
    """Who is theirs: those that say so, and borrowed ones that theirs name or that name theirs."""
    checked = [(entry, whose(entry, identity)) for entry in entries]
    problems = [problem for _, problem in checked if problem]
    candidates = [entry for entry, problem in checked if not problem]
    sure = {entry.index for entry in candidates if not RULES[entry.type].borrowed or names_patient(entry, identity)}
    if len(sure) < len(candidates):
        sure |= nearest(sorted(sure), ties_of(candidates, names_of(candidates)), (entry.index for entry in candidates)).keys()
    lost = [entry for entry in candidates if entry.index not in sure]
    problems += [problem_of(entry, "fhir.no_patient", "names no patient, and nothing of the patient's names it") for entry in lost]
    return [entry for entry in candidates if entry.index in sure], problems


def _dated(entries: list[Entry], identity: PatientIdentity, today: str | None) -> tuple[list[Placed], list[Problem]]:
    by_name = names_of(entries)
    placed: dict[int, Placed] = {}
    for entry in entries:
        encounter = encounter_of(entry, by_name)
        if day := _own_day(entry, encounter, by_name):
            placed[entry.index] = Placed(entry, day, encounter)
    if len(placed) < len(entries):
        placed |= _dated_by_ties(entries, placed, by_name)
    for entry in entries:
        if entry.index not in placed and (day := _last_day(entry, identity) or today):
            placed[entry.index] = Placed(entry, day, encounter_of(entry, by_name))
    undated = [
        problem_of(entry, "fhir.undated", "no date of its own or of anything tied to it")
        for entry in entries
        if entry.index not in placed
    ]
    return [placed[entry.index] for entry in entries if entry.index in placed], undated


def _own_day(entry: Entry, encounter: str | None, by_name: Mapping[str, Entry]) -> str | None:
    if entry.type == "Patient":
        return day_of(entry.resource.get("birthDate"))
    if day := clinical_day(entry.resource):
        return day
    return clinical_day(by_name[encounter].resource) if encounter and encounter in by_name else None


def _dated_by_ties(entries: list[Entry], placed: Mapping[int, Placed], by_name: Mapping[str, Entry]) -> dict[int, Placed]:
    """The undated resources that a dated one reaches, with its day and, where they have none, its encounter."""
    linking = [entry for entry in entries if entry.type not in NOT_A_SOURCE]
    undated = {entry.index: entry for entry in linking if entry.index not in placed}
    sources = [index for index, item in placed.items() if item.entry.type not in NOT_A_SOURCE]
    reached = nearest(sources, ties_of(linking, by_name), undated)
    return {
        index: Placed(entry, placed[reached[index]].date, encounter_of(entry, by_name) or placed[reached[index]].encounter)
        for index, entry in undated.items()
        if index in reached
    }


def _last_day(entry: Entry, identity: PatientIdentity) -> str | None:
    day = written_day(entry.resource)
    return day_of(identity.birth_date) or day if RULES[entry.type].kind == "demographics" else day


def grouped(placed: Iterable[Placed], params: ImportParams) -> list[PlannedRecord]:
    """Records by day; what shares compartment, day, encounter and kind stands together within the bounds."""
    groups: dict[tuple[str, str, str | None, str], list[Entry]] = {}
    for item in placed:
        resource = item.entry.resource
        groups.setdefault((compartment_of(resource), item.date, item.encounter, kind_of(resource)), []).append(item.entry)
    cut = [(key, part) for key, group in groups.items() for part in _parts(group, params)]
    cut.sort(key=lambda pair: (pair[0][1], pair[1][0].index))
    return [
        PlannedRecord(kind, date, compartment, [ContentItem(entry.name, FHIR_JSON, entry.content) for entry in part], encounter)
        for (compartment, date, encounter, kind), part in cut
    ]


def _parts(group: Iterable[Entry], params: ImportParams) -> list[list[Entry]]:
    """Cut in order so that each part keeps both bounds. One resource always fits: `ImportParams` sees to that."""
    parts: list[list[Entry]] = []
    size = 0
    for entry in group:
        if not parts or len(parts[-1]) == params.max_resources or size + len(entry.content) > params.max_record_bytes:
            parts.append([])
            size = 0
        parts[-1].append(entry)
        size += len(entry.content)
    return parts
