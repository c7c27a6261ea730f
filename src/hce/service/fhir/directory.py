"""What an organisation keeps about itself (its places, staff, services, stock) becomes records of its own: `plan_directory`.

The Bundle is about no patient. A resource that names one is refused, because what is here is the organisation's to give away. What has no
date of its own is of the day it was handed over: such things are true from then on, until a later version.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from hce.service.fhir.bundle import Entry, problem_of, read_bundle
from hce.service.fhir.catalogue import DEFINITIONS, DIRECTORY, RULES, STOCK
from hce.service.fhir.dating import clinical_day, written_day
from hce.service.fhir.errors import Problem
from hce.service.fhir.gate import Gate, default_gate
from hce.service.fhir.grouping import ImportParams, ImportPlan, Placed, grouped, through_gate
from hce.service.fhir.identity import PatientIdentity
from hce.service.fhir.references import references_in, values_at


def plan_directory(
    bundle: bytes, own: PatientIdentity, today: str, params: ImportParams | None = None, gate: Gate | None = None
) -> ImportPlan:
    """The records of a Bundle about the organisation. `today` is YYYY-MM-DD.

    Errors as `grouping.plan_import`, but for those about a patient.
    """
    chosen = params or ImportParams()
    entries, problems = read_bundle(bundle, chosen.bounds)
    valid, invalid = through_gate(entries, gate or default_gate())
    refused = {entry.index: problem for entry in valid if (problem := _not_ours(entry))}
    placed = [
        Placed(entry, clinical_day(entry.resource) or written_day(entry.resource) or today, None)
        for entry in valid
        if entry.index not in refused
    ]
    return ImportPlan(
        identity=own,
        records=grouped(placed, chosen),
        problems=sorted([*problems, *invalid, *refused.values()], key=lambda problem: problem.index),
        shared_count=0,
        counts_by_type=dict(sorted(Counter(item.entry.type for item in placed).items())),
    )


def _not_ours(entry: Entry) -> Problem | None:
    if entry.type in DEFINITIONS:
        return problem_of(entry, "fhir.definition", "written for software and for everybody")
    if entry.type not in DIRECTORY | STOCK:
        return problem_of(entry, "fhir.not_directory", "a type of patients' records")
    if any(_names_a_patient(entry)):
        return problem_of(entry, "fhir.not_directory", "it names a patient")
    return None


def _names_a_patient(entry: Entry) -> Iterator[bool]:
    for literal in references_in(entry.resource):
        yield "Patient/" in literal or literal.startswith("Patient?")
    for inner in entry.resource.get("contained", []):
        yield inner["resourceType"] == "Patient"
    if entry.type in STOCK and RULES[entry.type].patient:
        yield bool(values_at(entry.resource, RULES[entry.type].patient))
