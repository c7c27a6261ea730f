"""Whose is what: everybody's resources in one group, later versions in later parts, and what is nobody's named."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from hce.service.fhir.bundle import BundleBounds
from hce.service.fhir.scan import Found, scan
from hce.service.fhir.sorting import ORGANISATION, Sorted, different_people, sort_out

Json = dict[str, Any]


def patient(name: str = "p1", **changes: Any) -> Json:
    return {"resourceType": "Patient", "id": name, "identifier": [{"system": "urn:s", "value": name}], **changes}


def about(name: str, who: str = "Patient/p1", kind: str = "Observation", **changes: Any) -> Json:
    return {"resourceType": kind, "id": name, "subject": {"reference": who}, **changes}


def sorted_out(*resources: Json, bounds: BundleBounds | None = None) -> Sorted:
    """Each resource as a file of its own."""
    found = [
        one for number, resource in enumerate(resources) for one in scan(io.BytesIO(json.dumps(resource).encode()), number, False)
    ]
    assert all(isinstance(one, Found) for one in found)
    return sort_out([one for one in found if isinstance(one, Found)], bounds)


def ids(result: Sorted) -> dict[str, list[list[str]]]:
    return {group.name: [[f"{one.type}/{one.id}" for one in part] for part in group.parts] for group in result.groups}


def codes(result: Sorted) -> dict[str, str]:
    return {f"{one.type}/{one.id}": one.code for one in result.passed}


def test_resources_go_to_the_patient_they_name_wherever_they_stand() -> None:
    result = sorted_out(about("a"), patient("p2"), about("b", "Patient/p2"), patient("p1"), about("c"))
    assert ids(result) == {
        "Patient/p1": [["Patient/p1", "Observation/a", "Observation/c"]],
        "Patient/p2": [["Patient/p2", "Observation/b"]],
    }
    assert result.passed == []


def test_what_leads_to_nobody_is_named() -> None:
    nobody = {"resourceType": "Observation", "id": "n"}
    result = sorted_out(patient(), nobody, about("s", "Patient/stranger"), about("i", "#inside"), about("g", "Group/g"))
    assert codes(result) == {
        "Observation/n": "fhir.no_patient",
        "Observation/s": "fhir.patient_unknown",
        "Observation/i": "fhir.no_patient",
        "Observation/g": "fhir.patient_unknown",
    }


def test_an_identifier_of_two_patients_means_neither() -> None:
    both = [{"system": "urn:s", "value": "same"}]
    by_identifier = about("o")
    by_identifier["subject"] = {"identifier": both[0]}
    assert codes(sorted_out(patient("p1", identifier=both), patient("p2", identifier=both), by_identifier)) == {
        "Observation/o": "fhir.patient_unknown"
    }
    assert codes(sorted_out(patient("p1", identifier=both), by_identifier)) == {}


def test_a_medicine_goes_to_everybody_whose_prescription_names_it() -> None:
    medicine = {"resourceType": "Medication", "id": "m", "ingredient": [{"itemReference": {"reference": "Substance/s"}}]}
    orders = [
        about(f"r{who}", f"Patient/{who}", "MedicationRequest", medicationReference={"reference": "Medication/m"})
        for who in ("p1", "p2")
    ]
    result = sorted_out(patient("p1"), patient("p2"), medicine, {"resourceType": "Substance", "id": "s"}, *orders)
    for name in ("p1", "p2"):
        assert ids(result)[f"Patient/{name}"] == [[f"Patient/{name}", "Medication/m", "Substance/s", f"MedicationRequest/r{name}"]]


def test_a_medicine_nobody_uses_is_the_organisations_and_a_strangers_device_is_not() -> None:
    result = sorted_out(
        patient(),
        {"resourceType": "Medication", "id": "m"},
        {"resourceType": "Organization", "id": "o"},
        {"resourceType": "Device", "id": "d", "patient": {"reference": "Patient/stranger"}},
        {"resourceType": "Binary", "id": "b"},
    )
    assert ids(result)[ORGANISATION] == [["Medication/m", "Organization/o"]]
    assert codes(result) == {"Device/d": "fhir.patient_unknown", "Binary/b": "fhir.no_patient"}


def test_a_file_goes_with_the_document_whose_attachment_it_is() -> None:
    document = about("d", "Patient/p2", "DocumentReference", content=[{"attachment": {"url": "Binary/b"}}])
    result = sorted_out(patient("p1"), patient("p2"), {"resourceType": "Binary", "id": "b"}, document)
    assert ids(result)["Patient/p2"] == [["Patient/p2", "Binary/b", "DocumentReference/d"]]
    assert codes(result) == {}


def test_a_bare_name_inside_a_bundle_of_its_own_names_means_nobody_outside() -> None:
    """Another system's Patient of that number may be in the same folder."""
    entry = {"fullUrl": "urn:uuid:00000000-0000-4000-8000-000000000001", "resource": about("x")}
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": [entry]}
    result = sorted_out(patient("p1"), bundle)
    assert ids(result) == {"Patient/p1": [["Patient/p1"]]}
    assert codes(result) == {"Observation/x": "fhir.patient_unknown"}


def test_a_provenance_follows_what_it_names_unless_that_is_of_two_people() -> None:
    def provenance(name: str, *targets: str) -> Json:
        return {"resourceType": "Provenance", "id": name, "target": [{"reference": target} for target in targets]}

    result = sorted_out(
        patient("p1"),
        patient("p2"),
        about("a"),
        about("b", "Patient/p2"),
        provenance("one", "Observation/a"),
        provenance("two", "Observation/a", "Observation/b"),
        provenance("direct", "Patient/p1", "Patient/p2"),
    )
    assert ids(result)["Patient/p1"] == [["Patient/p1", "Observation/a", "Provenance/one"]]
    assert codes(result) == {"Provenance/two": "fhir.wrong_patient", "Provenance/direct": "fhir.wrong_patient"}


def test_the_same_bytes_are_taken_once() -> None:
    result = sorted_out(patient(), about("a"), about("a"), patient())
    assert ids(result) == {"Patient/p1": [["Patient/p1", "Observation/a"]]}
    assert result.repeated == 2


def test_other_bytes_of_the_same_name_are_a_later_version_sent_later() -> None:
    result = sorted_out(patient(), about("a"), about("b"), about("a", status="amended"))
    first, second = result.groups[0].parts
    assert [one.place.file for one in first] == [0, 1, 2]
    assert [one.place.file for one in second] == [0, 3, 2], "and beside it what it may need for its date"
    assert [one.place.file for one in result.groups[0].found] == [0, 1, 2, 3]


def test_versions_are_ordered_by_their_last_update_where_all_have_one() -> None:
    newer, older = (about("a", meta={"lastUpdated": f"2024-0{month}-01T00:00:00Z"}) for month in (2, 1))
    parts = sorted_out(patient(), newer, older).groups[0].parts
    assert [part[1].place.file for part in parts] == [2, 1]
    parts = sorted_out(patient(), newer, about("a")).groups[0].parts
    assert [part[1].place.file for part in parts] == [1, 2], "else in the order handed over"


@pytest.mark.parametrize(
    ("newer", "older"),
    [
        ("2024-10-27T02:10:00+01:00", "2024-10-27T02:50:00+02:00"),
        ("2024-01-01T05:00:00Z", "2024-01-01T10:00:00+08:00"),
        ("2024-01-01T00:00:00.500Z", "2024-01-01T00:00:00Z"),
    ],
)
def test_versions_are_ordered_by_the_moment_and_not_by_its_spelling(newer: str, older: str) -> None:
    versions = [about("a", meta={"lastUpdated": stamp}) for stamp in (newer, older)]
    parts = sorted_out(patient(), *versions).groups[0].parts
    assert [part[1].place.file for part in parts] == [2, 1]


def test_two_servers_may_use_the_same_id() -> None:
    def entry(server: str, resource: Json) -> Json:
        return {"fullUrl": f"http://{server}.example/{resource['resourceType']}/{resource['id']}", "resource": resource}

    one_person = [entry("a", patient()), entry("a", about("o")), entry("b", about("o", "http://a.example/Patient/p1"))]
    bundle = json.dumps({"resourceType": "Bundle", "type": "collection", "entry": one_person}).encode()
    found = [one for one in scan(io.BytesIO(bundle), 0, False) if isinstance(one, Found)]
    (group,) = sort_out(found).groups
    assert [[one.full_url for one in part][1:] for part in group.parts] == [
        ["http://a.example/Observation/o"],
        ["http://b.example/Observation/o"],
    ]


def test_a_large_group_is_cut_into_parts_that_each_have_their_patient() -> None:
    result = sorted_out(patient(), *(about(f"o{number}") for number in range(7)), bounds=BundleBounds(max_entries=4))
    assert [len(part) for part in result.groups[0].parts] == [4, 4, 2]
    assert {part[0].type for part in result.groups[0].parts} == {"Patient"}
    assert len(result.groups[0].found) == 8


def test_a_device_that_names_its_patient_by_an_identifier_alone_is_that_persons() -> None:
    device = {"resourceType": "Device", "id": "d", "patient": {"identifier": {"system": "urn:s", "value": "p1"}}}
    used = about("o", "Patient/p2", device={"reference": "Device/d"})
    assert ids(sorted_out(patient(), patient("p2"), used, device)) == {
        "Patient/p1": [["Patient/p1", "Device/d"]],
        "Patient/p2": [["Patient/p2", "Observation/o"]],
    }


def test_patients_of_one_name_must_surely_be_one_person() -> None:
    ada = {**patient(), "name": [{"family": "Example", "given": ["Ada"]}], "birthDate": "1980-01-01"}
    assert not different_people([ada, {**ada, "telecom": [{"value": "1"}]}])
    assert different_people([ada, {**ada, "birthDate": "1981-01-01"}])
    assert different_people([ada, {**ada, "identifier": []}])
    assert not different_people([patient(), patient(active=True)]), "who says little must say the same"
