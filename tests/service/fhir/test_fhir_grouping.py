"""Records out of resources: day, encounter, kind, bounds, and what becomes of the undated and the borrowed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hce.service.fhir.bundle import BundleBounds
from hce.service.fhir.catalogue import kind_of
from hce.service.fhir.dating import clinical_day, day_of
from hce.service.fhir.grouping import ImportParams, compartment_of, plan_import
from hce.service.terms.records import MAX_INLINE_BYTES

Make = Callable[..., Any]
ABOUT = {"subject": {"reference": "Patient/p1"}}


def shape(plan: Any) -> list[tuple[str, str, list[str]]]:
    return [(record.date, record.kind, [item.name for item in record.items]) for record in plan.records]


def encounter(make: Make, name: str = "e1", start: str = "2020-05-01T09:00:00+08:00") -> Any:
    visit = {"status": "finished", "class": {"code": "AMB"}, "period": {"start": start}}
    return make({"resourceType": "Encounter", "id": name, **visit, **ABOUT})


def test_one_record_per_day_encounter_and_kind_in_bundle_order(
    bundle: Make, patient: Make, observation: Make, resource_entry: Make
) -> None:
    here = {"encounter": {"reference": "Encounter/e1"}}
    plan = plan_import(
        bundle(
            observation("late", effectiveDateTime="2020-05-02"),
            observation("a", effectiveDateTime="2020-05-01T10:00:00+08:00", **here),
            observation("alone", effectiveDateTime="2020-05-01"),
            encounter(resource_entry),
            observation("b", effectiveDateTime="2020-05-01", **here),
            observation("bp", effectiveDateTime="2020-05-01", category=[{"coding": [{"code": "vital-signs"}]}], **here),
            patient(),
        )
    )
    assert plan.problems == []
    assert shape(plan) == [
        ("1980-02-29", "demographics", ["urn:uuid:00000000-0000-4000-8000-000000000001"]),
        ("2020-05-01", "labs", ["urn:uuid:a", "urn:uuid:b"]),
        ("2020-05-01", "labs", ["urn:uuid:alone"]),
        ("2020-05-01", "encounter", ["Encounter/e1"]),
        ("2020-05-01", "vitals", ["urn:uuid:bp"]),
        ("2020-05-02", "labs", ["urn:uuid:late"]),
    ]
    assert [record.encounter for record in plan.records] == [None, "Encounter/e1", None, "Encounter/e1", "Encounter/e1", None]
    assert {(record.compartment, item.media_type) for record in plan.records for item in record.items} == {
        ("general", "application/fhir+json")
    }
    assert plan.counts_by_type == {"Encounter": 1, "Observation": 5, "Patient": 1}


@pytest.mark.parametrize(
    ("value", "day"),
    [
        ("2020-05-01T23:30:00-08:00", "2020-05-01"),
        ("2020-05-01", "2020-05-01"),
        ("2020-05", "2020-05-01"),
        ("2020", "2020-01-01"),
        ("2020-02-30", None),
        ("20200501", None),
        (7, None),
    ],
)
def test_a_day_is_the_calendar_day_of_its_own_offset(value: Any, day: str | None) -> None:
    assert day_of(value) == day


def test_when_it_was_true_counts_before_when_it_was_written() -> None:
    written = {
        "recordedDate": "2021-01-01",
        "issued": "2021-01-02",
        "onsetDateTime": "2019-07",
        "effectivePeriod": {"start": "bad"},
    }
    assert clinical_day(written) == "2019-07-01"


def test_without_a_date_the_encounter_gives_it(bundle: Make, patient: Make, observation: Make, resource_entry: Make) -> None:
    undated = observation("o", effectiveDateTime=None, encounter={"reference": "Encounter/e1"})
    plan = plan_import(bundle(patient(), undated, encounter(resource_entry)))
    assert ("2020-05-01", "labs", ["urn:uuid:o"]) in shape(plan)


def test_a_goal_takes_day_and_encounter_of_the_plan_that_names_it(bundle: Make, patient: Make, resource_entry: Make) -> None:
    plan_of_care = {"status": "active", "intent": "plan", "period": {"start": "2020-05-01"}, "goal": [{"reference": "Goal/g"}]}
    here = {"encounter": {"reference": "Encounter/e1"}}
    plan = plan_import(
        bundle(
            patient(),
            resource_entry(
                {"resourceType": "Goal", "id": "g", "lifecycleStatus": "active", "description": {"text": "walk"}, **ABOUT}
            ),
            resource_entry({"resourceType": "CarePlan", "id": "c", **plan_of_care, **here, **ABOUT}),
            encounter(resource_entry),
        )
    )
    assert ("2020-05-01", "careplan", ["Goal/g", "CarePlan/c"]) in shape(plan)


def test_an_undated_resource_tied_to_nothing_is_named(bundle: Make, patient: Make, observation: Make) -> None:
    plan = plan_import(bundle(patient(), observation("o", effectiveDateTime=None)))
    assert [(problem.index, problem.code) for problem in plan.problems] == [(1, "fhir.undated")]
    dated = plan_import(bundle(patient(), observation("o", effectiveDateTime=None, meta={"lastUpdated": "2022-03-04T05:06:07Z"})))
    assert ("2022-03-04", "labs", ["urn:uuid:o"]) in shape(dated)


def test_a_medicine_is_borrowed_by_its_prescription_and_refused_without_one(
    bundle: Make, patient: Make, resource_entry: Make
) -> None:
    order = {
        "status": "active",
        "intent": "order",
        "authoredOn": "2020-05-01",
        "medicationReference": {"reference": "Medication/m"},
    }
    plan = plan_import(
        bundle(
            patient(),
            resource_entry(
                {"resourceType": "Medication", "id": "m", "ingredient": [{"itemReference": {"reference": "Substance/s"}}]}
            ),
            resource_entry({"resourceType": "Substance", "id": "s", "code": {"text": "iron"}}),
            resource_entry({"resourceType": "MedicationRequest", "id": "r", **order, **ABOUT}),
            resource_entry({"resourceType": "Medication", "id": "stray"}),
        )
    )
    assert ("2020-05-01", "medication", ["Medication/m", "Substance/s", "MedicationRequest/r"]) in shape(plan)
    assert [(problem.index, problem.code) for problem in plan.problems] == [(4, "fhir.no_patient")]


@pytest.mark.parametrize("url", ["Binary/b", "urn:uuid:00000000-0000-4000-8000-00000000000b"])
def test_a_file_is_borrowed_by_the_document_whose_attachment_points_to_it(
    url: str, bundle: Make, patient: Make, resource_entry: Make
) -> None:
    document = {"status": "current", "date": "2020-05-01T09:00:00+08:00", "content": [{"attachment": {"url": url}}]}
    binary = resource_entry({"resourceType": "Binary", "id": "b", "contentType": "application/pdf", "data": "AAAA"})
    if url.startswith("urn:"):
        binary["fullUrl"] = url
    plan = plan_import(
        bundle(patient(), resource_entry({"resourceType": "DocumentReference", "id": "d", **document, **ABOUT}), binary)
    )
    assert plan.problems == []
    assert ("2020-05-01", "document", ["DocumentReference/d", binary.get("fullUrl", "Binary/b")]) in shape(plan)


def test_staff_and_places_are_counted_and_not_sealed(bundle: Make, patient: Make, resource_entry: Make) -> None:
    plan = plan_import(
        bundle(patient(), *(resource_entry({"resourceType": name, "id": "x"}) for name in ("Organization", "Location")))
    )
    assert (plan.shared_count, len(plan.records), plan.problems) == (2, 1, [])


def test_a_record_holds_at_most_so_many_resources_and_bytes(bundle: Make, patient: Make, observation: Make) -> None:
    sent = bundle(patient(), *(observation(f"o{number:02}") for number in range(7)))
    counts = [len(record.items) for record in plan_import(sent, ImportParams(max_resources=3)).records[1:]]
    assert counts == [3, 3, 1]
    size = len(plan_import(sent).records[1].items[0].content)
    tight = ImportParams(bounds=BundleBounds(max_resource_bytes=size), max_record_bytes=2 * size)
    by_bytes = plan_import(sent, tight)
    assert [len(record.items) for record in by_bytes.records if record.kind == "labs"] == [2, 2, 2, 1]


def test_params_that_could_not_hold_one_resource_are_refused() -> None:
    for wrong in (
        {"max_record_bytes": MAX_INLINE_BYTES - 1},
        {"max_record_bytes": MAX_INLINE_BYTES + 1},
        {"max_resources": 0},
        {"max_resources": 65},
    ):
        with pytest.raises(ValueError):
            ImportParams(**wrong)


@pytest.mark.parametrize(
    ("resource", "kind"),
    [
        ({"resourceType": "Observation"}, "observation"),
        ({"resourceType": "Observation", "category": [{"text": "x"}, {"coding": [{"code": "social-history"}]}]}, "social"),
        ({"resourceType": "DiagnosticReport", "category": [{"coding": [{"code": "LAB"}]}]}, "labs"),
        ({"resourceType": "DiagnosticReport", "category": [{"coding": [{"code": "RAD"}]}]}, "imaging"),
        ({"resourceType": "FamilyMemberHistory"}, "family-history"),
    ],
)
def test_the_kind_follows_type_and_category(resource: dict[str, Any], kind: str) -> None:
    assert kind_of(resource) == kind
    assert compartment_of(resource) == "general"
