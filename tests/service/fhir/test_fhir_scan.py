"""What is in a file, and where: every form a hospital exports, and every way it can be broken."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hce.service.fhir.bundle import BundleBounds
from hce.service.fhir.scan import Found, Passed, ScanBounds, scan

PATIENT = {"resourceType": "Patient", "id": "p1", "identifier": [{"system": "urn:s", "value": "7"}], "birthDate": "1980-01-01"}
OBSERVATION = {"resourceType": "Observation", "id": "o1", "subject": {"reference": "Patient/p1"}, "meta": {"lastUpdated": "2024"}}


def looked(content: bytes, lines: bool = False, base: str = "", **bounds: int) -> list[Found | Passed]:
    limits = ScanBounds(BundleBounds(**bounds)) if bounds else None
    return list(scan(io.BytesIO(content), 3, lines, base, limits))


def only(content: bytes, **options: Any) -> Found:
    (found,) = looked(content, **options)
    assert isinstance(found, Found), found
    return found


def codes(content: bytes, **options: Any) -> list[str]:
    return [one.code for one in looked(content, **options) if isinstance(one, Passed)]


def bundle(*entries: Any, kind: Any = "collection") -> bytes:
    return json.dumps({"resourceType": "Bundle", "type": kind, "entry": list(entries)}, indent=1).encode()


def as_bytes(resource: dict[str, Any]) -> bytes:
    return json.dumps(resource).encode()


def test_a_single_resource_is_found_with_its_exact_bytes() -> None:
    content = b" \n" + as_bytes(OBSERVATION) + b"\n"
    found = only(content)
    assert (found.type, found.id, found.names, found.updated) == ("Observation", "o1", ("Observation/o1",), "2024")
    assert found.about == (("Patient/p1",),)
    assert (found.place.file, content[found.place.start :][: found.place.length]) == (3, as_bytes(OBSERVATION))


def test_a_byte_order_mark_is_no_part_of_a_resource() -> None:
    for content, lines in (
        (as_bytes(OBSERVATION), False),
        (bundle({"resource": OBSERVATION}), False),
        (as_bytes(OBSERVATION), True),
    ):
        marked = b"\xef\xbb\xbf" + content
        found = only(marked, lines=lines)
        assert marked[found.place.start :][: found.place.length] == as_bytes(OBSERVATION) or not lines
        assert json.loads(marked[found.place.start :][: found.place.length]) == OBSERVATION


def test_lines_of_a_bulk_export_are_found_where_they_are() -> None:
    content = b"\n" + as_bytes(PATIENT) + b"\r\n  " + as_bytes(OBSERVATION) + b"\nbroken\n\n" + as_bytes(OBSERVATION)
    found = [one for one in looked(content, lines=True) if isinstance(one, Found)]
    assert [(one.entry, one.type) for one in found] == [(1, "Patient"), (2, "Observation"), (5, "Observation")]
    assert [content[one.place.start :][: one.place.length] for one in found] == [
        as_bytes(one) for one in (PATIENT, OBSERVATION, OBSERVATION)
    ]
    assert [(one.entry, one.code) for one in looked(content, lines=True) if isinstance(one, Passed)] == [(3, "fhir.not_json")]


def test_a_line_that_is_too_long_is_named_and_the_next_is_read() -> None:
    long = as_bytes({**OBSERVATION, "note": [{"text": "x" * 200_000}]})
    content = long + b"\n" + as_bytes(PATIENT) + b"\n"
    first, second = looked(content, lines=True, max_resource_bytes=500)
    assert isinstance(first, Passed)
    assert first.code == "fhir.too_large"
    assert isinstance(second, Found)
    assert content[second.place.start :].startswith(as_bytes(PATIENT))


def test_entries_of_a_bundle_are_found_also_when_they_repeat_each_others_text() -> None:
    inside = {"resourceType": "Basic", "id": "b", "extension": [{"url": "x", "valueString": json.dumps(OBSERVATION)}]}
    content = bundle({"resource": inside}, {"resource": OBSERVATION}, {"resource": OBSERVATION})
    found = [one for one in looked(content) if isinstance(one, Found)]
    pieces = [json.loads(content[one.place.start :][: one.place.length]) for one in found]
    assert pieces == [inside, OBSERVATION, OBSERVATION]
    assert found[1].place.start < found[2].place.start


@pytest.mark.parametrize("kind", ["transaction", "batch", "collection", "searchset"])
def test_bundles_that_hand_over_resources_are_read(kind: str) -> None:
    assert isinstance(looked(bundle({"resource": OBSERVATION}, kind=kind))[0], Found)


@pytest.mark.parametrize("kind", ["collection", "searchset"])
def test_a_bundle_without_entries_is_an_empty_file(kind: str) -> None:
    assert looked(json.dumps({"resourceType": "Bundle", "type": kind, "total": 0}).encode()) == []
    assert looked(bundle(kind=kind)) == []


@pytest.mark.parametrize("kind", ["document", "message", "history", "batch-response", "", 7, None])
def test_other_bundles_are_named(kind: Any) -> None:
    assert codes(bundle({"resource": OBSERVATION}, kind=kind)) == ["fhir.bundle_type"]


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "fhir.not_json"),
        (b"[1]", "fhir.not_json"),
        (b"\xff{}", "fhir.not_json"),
        (b'{"resourceType": 5}', "fhir.not_json"),
        (b'{"name": "package"}', "fhir.unknown_type"),
        (b'{"resourceType": "Bundle", "type": "collection", "entry": 5}', "fhir.no_resource"),
        (bundle(5), "fhir.entry"),
        (bundle({"fullUrl": "x" * 301, "resource": OBSERVATION}), "fhir.entry"),
        (bundle({"request": {"method": "GET"}}), "fhir.no_resource"),
        (bundle({"request": {"method": "DELETE"}, "resource": OBSERVATION}), "fhir.method"),
        (bundle({"resource": 5}), "fhir.unknown_type"),
        (as_bytes({"resourceType": "ValueSet", "id": "v"}), "fhir.definition"),
        (as_bytes({"resourceType": "AuditEvent", "id": "a"}), "fhir.type_not_kept"),
        (as_bytes({"resourceType": "Unicorn", "id": "u"}), "fhir.unknown_type"),
        (as_bytes({"resourceType": "Observation"}), "fhir.unnamed"),
        (as_bytes({"resourceType": "Observation", "id": "no such id!"}), "fhir.unnamed"),
    ],
)
def test_what_cannot_be_taken_is_named(content: bytes, code: str) -> None:
    assert codes(content) == [code]


def test_a_definition_of_any_size_is_a_definition() -> None:
    assert codes(as_bytes({"resourceType": "CodeSystem", "text": "x" * 900}), max_resource_bytes=500) == ["fhir.definition"]
    assert codes(as_bytes({"resourceType": "Binary", "data": "x" * 900}), max_resource_bytes=500) == ["fhir.too_large"]


def test_names_and_references_under_a_base_are_absolute() -> None:
    found = only(as_bytes(OBSERVATION), base="https://ehr.example/fhir/")
    assert found.full_url == "https://ehr.example/fhir/Observation/o1"
    assert found.about == (("https://ehr.example/fhir/Patient/p1",),)


def test_a_reference_of_a_servers_resource_means_the_same_server() -> None:
    found = only(bundle({"fullUrl": "http://a.example/Observation/o1", "resource": OBSERVATION}), base="http://b.example")
    assert found.about == (("http://a.example/Patient/p1",),)


def test_names_inside_a_bundle_mean_something_inside_only() -> None:
    urn = "urn:uuid:00000000-0000-4000-8000-000000000001"
    resource = {**OBSERVATION, "subject": {"reference": urn}}
    found = only(bundle({"fullUrl": "urn:uuid:o", "resource": resource}))
    assert found.names == ("3#urn:uuid:o", "3#Observation/o1")
    assert found.about == ((f"3#{urn}",),)
    scoped = bundle({"fullUrl": "urn:uuid:o", "resource": OBSERVATION})
    assert only(scoped).about == (("3#Patient/p1",),), "a bare name outside may be of any server"
    assert only(scoped, base="http://b.example").about == (("3#Patient/p1", "http://b.example/Patient/p1"),)


@pytest.mark.parametrize("url", ["Binary/b1", "Binary/b1/_history/2", "http://a.example/fhir/Binary/b1", "urn:uuid:b1"])
def test_the_url_of_an_attachment_may_name_a_binary(url: str) -> None:
    attached = {"resourceType": "DocumentReference", "id": "d", "content": [{"attachment": {"url": url}}]}
    ((name,),) = only(as_bytes(attached)).refers
    assert name == (f"3#{url}" if url.startswith("urn:") else url.removesuffix("/_history/2"))


@pytest.mark.parametrize("url", ["https://a.example/report.pdf", "Patient/p1", "http://a.example/Binary", "Binary/no such id", 7])
def test_other_urls_name_nothing(url: Any) -> None:
    attached = {"resourceType": "DocumentReference", "id": "d", "content": [{"attachment": {"url": url}}]}
    assert only(as_bytes(attached)).refers == ()


def test_a_patient_is_also_found_by_identifier() -> None:
    assert only(as_bytes(PATIENT)).names == ("Patient/p1", "identifier|urn:s|7")
    by_identifier = {**OBSERVATION, "subject": {"identifier": {"system": "urn:s", "value": "7"}}}
    assert only(as_bytes(by_identifier)).about == (("identifier|urn:s|7",),)
    conditional = {**OBSERVATION, "subject": {"reference": "Patient?identifier=urn%3As%7C7"}}
    assert only(as_bytes(conditional)).about == (("identifier|urn:s|7",),)


def test_a_contained_patient_leads_to_nobody() -> None:
    assert only(as_bytes({**OBSERVATION, "subject": {"reference": "#p"}})).about == ((),)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=8)
    | st.sampled_from(["Patient", "Observation", "Bundle", "collection"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["resourceType", "id", "type", "entry", "resource", "fullUrl", "subject", "reference", "identifier", "meta"]
            )
            | st.text(max_size=4),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@given(JSON, st.booleans())
@settings(max_examples=100, deadline=None)
def test_any_json_is_found_or_named_and_nothing_else(value: Any, lines: bool) -> None:
    content = json.dumps(value).encode()
    for one in looked(content, lines=lines, base="http://b.example"):
        if isinstance(one, Found):
            json.loads(content[one.place.start :][: one.place.length])


@given(st.binary(max_size=60), st.integers(0, 400))
@settings(max_examples=80, deadline=None)
def test_broken_bytes_are_named(junk: bytes, at: int) -> None:
    whole = bundle({"resource": PATIENT}, {"resource": OBSERVATION})
    looked(whole[:at] + junk + whole[at + len(junk) :])
    looked(whole[:at] + junk + whole[at + len(junk) :], lines=True)
