"""What an organisation keeps about itself, and what may not be among it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hce.service.fhir.directory import plan_directory
from hce.service.fhir.grouping import ImportPlan, plan_import
from hce.service.fhir.identity import PatientIdentity

OWN = PatientIdentity((), (), "", (("urn:hce:organisation", "0f"),), "Riverside")
TODAY = "2026-01-02"


def planned(*resources: dict[str, Any]) -> ImportPlan:
    entries = [{"resource": resource} for resource in resources]
    return plan_directory(json.dumps({"resourceType": "Bundle", "type": "collection", "entry": entries}).encode(), OWN, TODAY)


def test_places_and_staff_become_records_of_the_day_they_were_handed_over() -> None:
    plan = planned(
        {"resourceType": "Organization", "id": "o", "name": "Riverside"},
        {"resourceType": "Practitioner", "id": "p", "meta": {"lastUpdated": "2020-05-06T00:00:00Z"}},
        {"resourceType": "Medication", "id": "m"},
    )
    assert plan.problems == []
    assert [(record.kind, record.date, [item.name for item in record.items]) for record in plan.records] == [
        ("directory", "2020-05-06", ["Practitioner/p"]),
        ("directory", TODAY, ["Organization/o"]),
        ("medication", TODAY, ["Medication/m"]),
    ]


@pytest.mark.parametrize(
    ("resource", "code"),
    [
        ({"resourceType": "Patient", "id": "x"}, "fhir.not_directory"),
        ({"resourceType": "Observation", "id": "x", "status": "final", "code": {"text": "a"}}, "fhir.not_directory"),
        ({"resourceType": "Device", "id": "x", "patient": {"reference": "Patient/p"}}, "fhir.not_directory"),
        ({"resourceType": "Device", "id": "x", "patient": {"identifier": {"value": "7"}}}, "fhir.not_directory"),
        ({"resourceType": "Schedule", "id": "x", "actor": [{"reference": "Patient/p"}]}, "fhir.not_directory"),
        ({"resourceType": "Organization", "id": "x", "contained": [{"resourceType": "Patient"}]}, "fhir.not_directory"),
        ({"resourceType": "ValueSet", "id": "x", "status": "active"}, "fhir.definition"),
        ({"resourceType": "Organization", "id": "x", "colour": "blue"}, "fhir.invalid"),
    ],
)
def test_what_is_a_patients_or_nobodys_is_refused(resource: dict[str, Any], code: str) -> None:
    plan = planned({"resourceType": "Organization", "id": "o", "name": "kept"}, resource)
    assert [(problem.index, problem.code) for problem in plan.problems] == [(1, code)]
    assert [item.name for record in plan.records for item in record.items] == ["Organization/o"]


def test_what_nothing_dates_is_of_the_day_it_was_handed_over_when_that_is_said() -> None:
    resources = [
        {"resourceType": "Patient", "id": "p"},
        {"resourceType": "Flag", "id": "f", "status": "active", "code": {"text": "a"}, "subject": {"reference": "Patient/p"}},
    ]
    entries = [{"resource": resource} for resource in resources]
    bundle = json.dumps({"resourceType": "Bundle", "type": "collection", "entry": entries}).encode()
    assert [problem.code for problem in plan_import(bundle).problems] == ["fhir.undated", "fhir.undated"]
    plan = plan_import(bundle, today=TODAY)
    assert (plan.problems, {record.date for record in plan.records}) == ([], {TODAY})
