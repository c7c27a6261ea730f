"""A record in one human line."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hce.service.fhir.summary import item_phrase, summary_line
from hce.service.terms.records import ContentItem


def item(resource: Any) -> ContentItem:
    return ContentItem("x", "application/fhir+json", json.dumps(resource).encode())


def lab(text: str, value: float, unit: str) -> ContentItem:
    return item({"resourceType": "Observation", "code": {"text": text}, "valueQuantity": {"value": value, "unit": unit}})


def test_a_line_has_day_kind_count_and_first_results_in_both_languages() -> None:
    report = item({"resourceType": "DiagnosticReport", "code": {"text": "Panel"}})
    items = [report, lab("Glucose", 92.0, "mg/dL"), lab("HbA1c", 5.678, "%"), lab("Urate", 0.004, "mol/L"), lab("Iron", 1, "")]
    assert (
        summary_line("labs", "2019-03-02", items)
        == "2019-03-02 labs: 4 results (Glucose 92 mg/dL, HbA1c 5.68 %, Urate 0.004 mol/L, ...)"
    )
    assert summary_line("labs", "2019-03-02", items[1:2], "zh-CN") == "2019-03-02 化验：1 项结果（Glucose 92 mg/dL）"
    assert summary_line("labs", "2019-03-02", [report]) == "2019-03-02 labs: 1 result (Panel)"


@pytest.mark.parametrize(
    ("resource", "phrase"),
    [
        ({"resourceType": "Observation", "code": {"coding": [{"code": "8867-4", "display": "Heart rate"}]}}, "Heart rate"),
        ({"resourceType": "Observation", "code": {"coding": [{"code": "8867-4"}]}}, ""),
        (
            {
                "resourceType": "Observation",
                "code": {"text": "Blood pressure"},
                "component": [{"valueQuantity": {"value": value, "unit": "mm[Hg]"}} for value in (120, 80)],
            },
            "Blood pressure 120 / 80 mmHg",
        ),
        ({"resourceType": "Observation", "code": {"text": "Pain"}, "valueQuantity": {"value": 8, "unit": "{score}"}}, "Pain 8"),
        ({"resourceType": "Goal", "description": {"text": "Walk\n daily"}}, "Walk daily"),
        ({"resourceType": "Patient", "name": [{"family": "Fictional", "given": ["Flora"]}]}, "Flora Fictional"),
        (
            {"resourceType": "Claim", "item": [{"productOrService": {"text": "Visit"}}], "total": {"value": 85, "currency": "GBP"}},
            "Visit 85 GBP",
        ),
        ({"resourceType": "Condition", "code": {"text": "x" * 200}}, "x" * 77 + "..."),
        ([], ""),
    ],
)
def test_a_phrase_shows_words_and_never_codes(resource: Any, phrase: str) -> None:
    assert item_phrase(item(resource)) == phrase


def test_a_file_is_its_name_and_unknown_kinds_are_plain() -> None:
    scan = ContentItem("letter.pdf", "application/pdf", b"%PDF")
    assert summary_line("dance", "2020-01-01", [scan]) == "2020-01-01 other: 1 entry (letter.pdf)"


ELEMENTS = "resourceType code coding text display name given component valueQuantity value unit"
JSON = st.recursive(
    st.none() | st.text(max_size=4) | st.integers() | st.floats(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(ELEMENTS.split()), inner | st.just("Patient"), max_size=4)
    ),
    max_leaves=10,
)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=40) | JSON.map(lambda node: json.dumps(node).encode()))
def test_whatever_a_record_holds_a_line_comes_out(content: bytes) -> None:
    line = summary_line("labs", "2020-01-01", [ContentItem("x", "application/fhir+json", content)])
    assert line.startswith("2020-01-01 labs: 1 result")
