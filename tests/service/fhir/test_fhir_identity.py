"""Whose Bundle it is, who is the same person, and that nothing of another person gets in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hce.service.fhir.bundle import BundleBounds, read_bundle
from hce.service.fhir.errors import PatientCount, PatientInvalid
from hce.service.fhir.grouping import plan_import
from hce.service.fhir.identity import Match, PatientIdentity, identify, normalised, same_person

Make = Callable[..., Any]
SYSTEM = "https://example.org/numbers"


@pytest.fixture
def person(bundle: Make, patient: Make) -> Callable[..., PatientIdentity]:
    return lambda **changes: identify(read_bundle(bundle(patient(**changes)), BundleBounds())[0][0])


def test_a_bundle_is_about_exactly_one_person(bundle: Make, patient: Make, observation: Make) -> None:
    other = patient(id="p2") | {"fullUrl": "urn:uuid:p2"}
    for sent in (bundle(), bundle(observation()), bundle(patient(), other), bundle(patient(), patient())):
        with pytest.raises(PatientCount):
            plan_import(sent)


def test_a_second_patient_counts_even_when_it_is_broken(bundle: Make, patient: Make) -> None:
    with pytest.raises(PatientCount):
        plan_import(bundle(patient(), patient(id="p2", birthDate="?") | {"fullUrl": "urn:uuid:p2"}))


def test_a_broken_patient_refuses_the_bundle_with_its_place(bundle: Make, patient: Make) -> None:
    with pytest.raises(PatientInvalid, match="/birthDate"):
        plan_import(bundle(patient(birthDate="Flora")))


@pytest.mark.parametrize(
    "subject",
    [
        {"reference": "urn:uuid:somebody-else"},
        {"reference": "Patient/p2"},
        {"reference": "https://other.example/fhir/Patient/p1"},
        {"reference": "Patient?identifier=https://example.org/numbers|A-2"},
        {"reference": "Patient?name=Flora"},
        {"reference": "Group/p1"},
        {"reference": "#p1"},
        {"identifier": {"system": SYSTEM, "value": "A-2"}},
        {"identifier": {"value": "A-1"}},
    ],
)
def test_a_resource_about_somebody_else_is_refused(bundle: Make, patient: Make, observation: Make, subject: dict[str, Any]) -> None:
    plan = plan_import(bundle(patient(), observation(subject=subject)))
    assert [(problem.index, problem.code) for problem in plan.problems] == [(1, "fhir.wrong_patient")]
    assert sum(len(record.items) for record in plan.records) == 1


@pytest.mark.parametrize(
    "subject",
    [
        {"reference": "Patient/p1"},
        {"reference": "Patient/p1/_history/3"},
        {"reference": "Patient?identifier=https://example.org/numbers|A-1"},
        {"reference": "Patient?identifier=https%3A%2F%2Fexample.org%2Fnumbers%7CA-1"},
        {"identifier": {"system": SYSTEM, "value": "A-1"}},
    ],
)
def test_every_certain_way_to_name_the_patient_is_followed(
    bundle: Make, patient: Make, observation: Make, subject: dict[str, Any]
) -> None:
    assert plan_import(bundle(patient(), observation(subject=subject))).problems == []


def test_a_bare_reference_means_the_server_its_resource_came_from(bundle: Make, patient: Make, observation: Make) -> None:
    home = patient() | {"fullUrl": "https://a.example/fhir/Patient/p1"}
    near = observation("o1", full_url="https://a.example/fhir/Observation/o1", subject={"reference": "Patient/p1"})
    far = observation("o2", full_url="https://b.example/fhir/Observation/o2", subject={"reference": "Patient/p1"})
    plan = plan_import(bundle(home, near, far))
    assert [(problem.index, problem.code) for problem in plan.problems] == [(2, "fhir.wrong_patient")]


@pytest.mark.parametrize("subject", [None, {"display": "Flora Fictional"}])
def test_a_resource_that_names_nobody_is_refused(bundle: Make, patient: Make, observation: Make, subject: Any) -> None:
    plan = plan_import(bundle(patient(), observation(subject=subject)))
    assert [problem.code for problem in plan.problems] == ["fhir.no_patient"]
    assert "Flora" not in plan.problems[0].detail


def test_a_contained_resource_about_somebody_else_is_refused(bundle: Make, patient: Make, observation: Make) -> None:
    contained = [{"resourceType": "Condition", "id": "c", "subject": {"reference": "Patient/p2"}}]
    plan = plan_import(bundle(patient(), observation(contained=contained)))
    assert [problem.code for problem in plan.problems] == ["fhir.wrong_patient"]


def test_a_policy_holder_may_be_another_person_but_not_the_insured(bundle: Make, patient: Make, resource_entry: Make) -> None:
    def coverage(name: str, insured: str) -> Any:
        return resource_entry(
            {
                "resourceType": "Coverage",
                "id": name,
                "status": "active",
                "policyHolder": {"reference": "Patient/spouse"},
                "beneficiary": {"reference": insured},
                "payor": [{"display": "Nowhere Mutual"}],
                "period": {"start": "2020-01-01"},
            }
        )

    plan = plan_import(bundle(patient(), coverage("c1", "Patient/p1"), coverage("c2", "Patient/spouse")))
    assert [(problem.index, problem.code) for problem in plan.problems] == [(2, "fhir.wrong_patient")]


@pytest.mark.parametrize(("number", "codes"), [("A-1", []), ("A-2", ["fhir.wrong_patient"])])
def test_a_borrowed_resource_may_name_its_patient_by_an_identifier_alone(
    number: str, codes: list[str], bundle: Make, patient: Make, resource_entry: Make
) -> None:
    device = {"resourceType": "Device", "id": "d", "patient": {"identifier": {"system": SYSTEM, "value": number}}}
    plan = plan_import(bundle(patient(), resource_entry(device)), today="2020-01-01")
    assert [problem.code for problem in plan.problems] == codes


def test_a_borrowed_resource_that_leads_to_another_patient_is_refused(bundle: Make, patient: Make, resource_entry: Make) -> None:
    provenance = {
        "resourceType": "Provenance",
        "id": "v",
        "recorded": "2020-05-01T00:00:00Z",
        "target": [{"reference": "Patient/p1"}, {"reference": "Patient/p2"}],
        "agent": [{"who": {"display": "x"}}],
    }
    plan = plan_import(bundle(patient(), resource_entry(provenance)))
    assert [problem.code for problem in plan.problems] == ["fhir.wrong_patient"]


@pytest.mark.parametrize(
    ("changes", "match", "reason"),
    [
        ({}, Match.YES, "identifier.shared"),
        ({"name": [{"text": "FLÓRA  fictional"}]}, Match.YES, "name.same"),
        ({"name": [{"family": "Married", "given": ["Flora"]}]}, Match.UNCLEAR, "name.differs"),
        ({"birthDate": "1980-02-28"}, Match.UNCLEAR, "birth_date.differs"),
        ({"birthDate": None}, Match.UNCLEAR, "birth_date.missing"),
        ({"identifier": []}, Match.UNCLEAR, "identifier.missing"),
        ({"identifier": [{"value": "A-1"}]}, Match.UNCLEAR, "identifier.missing"),
        ({"identifier": [{"system": "https://other.example", "value": "A-1"}]}, Match.UNCLEAR, "identifier.missing"),
        ({"identifier": [{"system": SYSTEM, "value": "A-2"}]}, Match.UNCLEAR, "identifier.conflict"),
        ({"identifier": [{"system": SYSTEM, "value": "A-1", "use": "old"}]}, Match.UNCLEAR, "identifier.missing"),
        ({"identifier": [], "birthDate": "1981-01-01"}, Match.NO, "birth_date.differs"),
        ({"identifier": [], "name": [{"text": "Ferdinand"}]}, Match.NO, "name.differs"),
    ],
)
def test_only_a_shared_identifier_birth_date_and_name_make_the_same_person(
    person: Callable[..., PatientIdentity], changes: dict[str, Any], match: Match, reason: str
) -> None:
    other = person(**{key: value for key, value in changes.items() if value is not None})
    if changes.get("birthDate", "") is None:
        other = PatientIdentity(other.called, other.names, "", other.identifiers, other.shown_name)
    for comparison in (same_person(person(), other), same_person(other, person())):
        assert comparison.match is match
        assert reason in comparison.reasons


def test_one_agreeing_and_one_differing_identifier_are_for_a_human(person: Callable[..., PatientIdentity]) -> None:
    def numbered(second: str) -> PatientIdentity:
        return person(identifier=[{"system": SYSTEM, "value": "A-1"}, {"system": "urn:mrn", "value": second}])

    assert same_person(numbered("1"), numbered("1")).match is Match.YES
    assert same_person(numbered("1"), numbered("2")).match is Match.UNCLEAR


def test_matching_keys_do_not_depend_on_spelling_or_order(person: Callable[..., PatientIdentity]) -> None:
    one = person(name=[{"family": "甄", "given": ["示范"]}])
    two = person(name=[{"text": "甄 示范"}, {"text": "甄示范"}])
    assert one.matching_keys & two.matching_keys == {f"identifier|{SYSTEM}|A-1", "person|甄示范|1980-02-29"}
    assert not any(key.startswith("person|") for key in person(birthDate="1980").matching_keys)


@pytest.mark.parametrize(
    ("written", "compared"),
    [("  ÀDÁN O'Neil-Smith ", "adan o neil smith"), ("Ｆｌｏｒａ", "flora"), ("甄\u3000示范", "甄示范"), ("が", "が"), ("--", "")],
)
def test_names_compare_without_accents_width_case_or_punctuation(written: str, compared: str) -> None:
    assert normalised(written) == compared
