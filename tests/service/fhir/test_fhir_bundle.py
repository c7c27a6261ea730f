"""Bytes into entries: exact, bounded, and every broken one named."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from hce.foundation.types.errors import Refused
from hce.service.fhir.bundle import BundleBounds, read_bundle
from hce.service.fhir.errors import PROBLEM_CODES, BundleMalformed, BundleTooLarge, BundleType
from hce.service.fhir.grouping import plan_import

Make = Callable[..., Any]
HEAD = b'{"resourceType":"Bundle","type":"transaction","entry":['


def codes_of(sent: bytes) -> list[tuple[int, str, str]]:
    return [(problem.index, problem.type, problem.code) for problem in read_bundle(sent, BundleBounds())[1]]


def test_a_resource_keeps_its_exact_bytes() -> None:
    written = '{ "resourceType" :"Basic",\n\t"id":"b1", "code":{"text":"\\u8840 血"}, "x": 1.50e0 }'.encode()
    sent = HEAD + b'{"fullUrl":"urn:uuid:b1",  "resource":  ' + written + b"  }]}"
    assert [entry.content for entry in read_bundle(sent, BundleBounds())[0]] == [written]
    assert [entry.content for entry in read_bundle(gzip.compress(sent, mtime=0), BundleBounds())[0]] == [written]


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b'{"resourceType":"Bundle"}',
        b'{"resourceType":"Bundle","type":"transaction","entry":{}}',
        b'{"resourceType":"Patient","type":"transaction"}',
        b'\xef\xbb\xbf{"resourceType":"Bundle","type":"transaction"}',
        HEAD + b'{"resource":{"a":NaN}}]}',
        HEAD + b'{"resource":{"a":"\\ud800"}}]}',
        HEAD + b"[" * 100_000 + b"]" * 100_000 + b"]}",
        gzip.compress(HEAD + b"]}", mtime=0)[:-4],
        gzip.compress(HEAD + b"]}", mtime=0) + b"more",
        b"\x1f\x8b not gzip",
    ],
)
def test_what_is_no_bundle_is_refused_as_a_whole(sent: bytes) -> None:
    with pytest.raises(BundleMalformed):
        read_bundle(sent, BundleBounds())


@pytest.mark.parametrize("kind", ["searchset", "history", "message", "document", ""])
def test_a_bundle_that_hands_nothing_over_is_refused(bundle: Make, kind: str) -> None:
    with pytest.raises(BundleType):
        read_bundle(bundle(kind=kind), BundleBounds())


def test_the_bounds_hold_on_bytes_unpacked_bytes_and_entries(bundle: Make, patient: Make) -> None:
    sent = bundle(patient(), patient())
    packed = gzip.compress(sent, mtime=0)
    assert len(read_bundle(sent, BundleBounds(max_bundle_bytes=len(sent), max_entries=2))[0]) == 1
    for refused in (sent, packed):
        with pytest.raises(BundleTooLarge):
            read_bundle(refused, BundleBounds(max_bundle_bytes=len(sent) - 1))
    with pytest.raises(BundleTooLarge):
        read_bundle(sent, BundleBounds(max_entries=1))


def test_a_resource_above_the_inline_bound_is_named(bundle: Make, observation: Make) -> None:
    entries, _ = read_bundle(bundle(observation()), BundleBounds())
    size = len(entries[0].content)
    assert read_bundle(bundle(observation()), BundleBounds(max_resource_bytes=size))[1] == []
    _, problems = read_bundle(bundle(observation()), BundleBounds(max_resource_bytes=size - 1))
    assert [problem.code for problem in problems] == ["fhir.too_large"]


@pytest.mark.parametrize(
    ("entry", "kind", "code"),
    [
        (b"7", "", "fhir.entry"),
        (b'{"fullUrl":' + json.dumps("u" * 301).encode() + b',"resource":{}}', "", "fhir.entry"),
        (b'{"fullUrl":"urn:uuid:x"}', "", "fhir.no_resource"),
        (b'{"resource":null}', "", "fhir.no_resource"),
        (b'{"resource":{"resourceType":"Basic","a":"\xff"}}', "", "fhir.not_json"),
        (b'{"resource":{"resourceType":"Basic","a":' + b"[" * 100 + b"]" * 100 + b"}}", "", "fhir.too_deep"),
        (b'{"resource":{"resourceType":"Basic","code":{"text":"a","text":"b"}}}', "", "fhir.duplicate_key"),
        (b'{"resource":{}}', "", "fhir.unknown_type"),
        (b'{"resource":{"resourceType":"Flora Fictional"}}', "", "fhir.unknown_type"),
        (b'{"resource":{"resourceType":"Project","id":"x"}}', "Project", "fhir.unknown_type"),
        (b'{"resource":{"resourceType":"Group","id":"x"}}', "Group", "fhir.type_not_kept"),
        (b'{"resource":{"resourceType":"Basic","id":"Flora Fictional"}}', "Basic", "fhir.invalid"),
        (b'{"resource":{"resourceType":"Basic","id":7}}', "Basic", "fhir.invalid"),
        (b'{"resource":{"resourceType":"Basic"}}', "Basic", "fhir.unnamed"),
        (b'{"resource":{"resourceType":"Basic","id":"x"},"request":{"method":"DELETE"}}', "Basic", "fhir.method"),
        (b'{"fullUrl":"https://a.example/Basic/y","resource":{"resourceType":"Basic","id":"x"}}', "Basic", "fhir.name_mismatch"),
    ],
)
def test_a_broken_entry_is_named_and_the_rest_goes_on(entry: bytes, kind: str, code: str) -> None:
    good = b'{"resource":{"resourceType":"Basic","id":"good"}}'
    sent = HEAD + good + b"," + entry + b"," + good.replace(b"good", b"also") + b"]}"
    entries, problems = read_bundle(sent, BundleBounds())
    assert [entry.id for entry in entries] == ["good", "also"]
    assert [(problem.index, problem.type, problem.code) for problem in problems] == [(1, kind, code)]
    assert code in PROBLEM_CODES
    assert "Flora" not in repr(problems)


def test_the_second_entry_of_a_name_is_a_duplicate(bundle: Make, observation: Make) -> None:
    same_url = observation("o2", full_url="urn:uuid:o1")
    same_id = observation("o1", full_url="urn:uuid:another")
    assert codes_of(bundle(observation("o1"), same_url, same_id)) == [
        (1, "Observation", "fhir.duplicate"),
        (2, "Observation", "fhir.duplicate"),
    ]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["reference", "coding", "start", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)
ELEMENTS = st.sampled_from(
    [
        "id",
        "status",
        "code",
        "category",
        "subject",
        "patient",
        "encounter",
        "effectiveDateTime",
        "period",
        "contained",
        "birthDate",
        "name",
        "meta",
    ]
)
RESOURCES = st.builds(
    lambda kind, fields: {**fields, "resourceType": kind},
    st.sampled_from(["Patient", "Observation", "Claim", "Medication", "Organization", "Provenance", "Group", "None"]) | JSON,
    st.dictionaries(ELEMENTS, JSON | st.just([{"resourceType": "Patient"}]) | st.just({"reference": "Patient/p1"}), max_size=4),
)
ENTRIES = JSON | st.fixed_dictionaries({"resource": RESOURCES | JSON}, optional={"fullUrl": st.text(max_size=5), "request": JSON})


@settings(max_examples=250, deadline=None)
@given(st.lists(ENTRIES, max_size=5))
def test_no_json_raises_anything_unnamed_and_every_entry_is_accounted_for(entries: list[Any]) -> None:
    whole = {"resource": {"resourceType": "Patient", "id": "p1", "birthDate": "1980-01-01"}}
    sent = json.dumps({"resourceType": "Bundle", "type": "batch", "entry": [whole, *entries]}).encode()
    try:
        plan = plan_import(sent)
    except Refused as refused:
        event(refused.code)
        return
    kept = sum(len(record.items) for record in plan.records)
    assert kept + plan.shared_count + len(plan.problems) == 1 + len(entries)
    assert {problem.code for problem in plan.problems} <= PROBLEM_CODES.keys()


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=60) | st.binary(max_size=40).map(lambda tail: HEAD + tail))
def test_no_bytes_raise_anything_unnamed(sent: bytes) -> None:
    with pytest.raises(Refused):
        plan_import(sent)
