"""The structural gate and the build step of its schema."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from hce.service.fhir.build_schema import SchemaSource, compact_schema, schema_bytes
from hce.service.fhir.catalogue import NOT_KEPT, R4_TYPES, RULES, SHARED, kind_of
from hce.service.fhir.errors import SchemaCorrupt, SchemaMissing
from hce.service.fhir.gate import SCHEMA_PATH, default_gate, load_gate
from hce.service.fhir.summary import KIND_WORDS

SECRET = "Flora Fictional 1980"


def observation(**changes: object) -> dict[str, object]:
    return {"resourceType": "Observation", "status": "final", "code": {"text": "Glucose"}, **changes}


def test_a_well_formed_resource_has_no_fault() -> None:
    assert default_gate().fault_of(observation(valueQuantity={"value": 5.5, "unit": "mmol/L"})) is None


@pytest.mark.parametrize(
    ("changes", "path", "words"),
    [
        ({"status": SECRET}, "/status", "a code outside the required set"),
        ({"category": [{"coding": SECRET}]}, "/category/0/coding", "the wrong JSON type"),
        ({"valueQuantity": SECRET}, "/valueQuantity", "the wrong JSON type"),
        ({"valueInteger": 1.5}, "/valueInteger", "the wrong JSON type"),
        ({"effectiveDateTime": SECRET}, "/effectiveDateTime", "the wrong form for this data type"),
        ({"colour": SECRET}, "", "an element that this type does not have: colour"),
        ({SECRET: 1}, "", "an element that this type does not have: ?"),
        ({"valueString": "a\x00b" + SECRET}, "/valueString", "the wrong form for this data type"),
        ({"valueString": "\ud800" + SECRET}, "", "text that is not Unicode"),
        ({"meta": {"project": SECRET}}, "/meta", "an element that this type does not have: project"),
    ],
)
def test_a_fault_names_place_and_rule_but_never_the_value(changes: dict[str, object], path: str, words: str) -> None:
    fault = default_gate().fault_of(observation(**changes))
    assert fault is not None
    assert (fault.path, fault.reason) == (path, words)
    assert SECRET not in fault.path + fault.reason


def test_a_missing_required_element_is_named() -> None:
    fault = default_gate().fault_of({"resourceType": "Observation", "status": "final"})
    assert fault is not None
    assert fault.reason == "a required element is missing: code"


@pytest.mark.parametrize("name", [None, 7, [], "Project", SECRET])
def test_a_type_outside_the_release_is_a_fault(name: object) -> None:
    fault = default_gate().fault_of({"resourceType": name})
    assert fault is not None
    assert (fault.path, fault.reason) == ("/resourceType", "not a FHIR R4 resource type")


@pytest.mark.parametrize("space", ["\u3000", "\u00a0", " "])
def test_text_with_any_written_space_is_text(space: str) -> None:
    assert default_gate().fault_of(observation(valueString=f"血压{space}高")) is None


@pytest.mark.parametrize(
    ("contained", "path"),
    [
        ({"resourceType": "Patient", "birthDate": "yesterday"}, "/contained/0/birthDate"),
        ({"resourceType": "Project"}, "/contained/0/resourceType"),
        ({"id": "x"}, "/contained/0/resourceType"),
        ({"resourceType": "Patient", "contained": []}, "/contained/0/contained"),
        ("text", "/contained/0"),
    ],
)
def test_a_contained_resource_is_checked_by_its_own_type(contained: object, path: str) -> None:
    fault = default_gate().fault_of(observation(contained=[contained]))
    assert fault is not None
    assert fault.path == path


def test_a_missing_schema_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(SchemaMissing, match="make install"):
        load_gate(tmp_path / "absent.gz")


@pytest.mark.parametrize(
    "content",
    [b"", b"not gzip", gzip.compress(b"{", mtime=0), gzip.compress(b"[]", mtime=0), gzip.compress(b'{"definitions": {}}', mtime=0)],
)
def test_a_damaged_schema_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "schema.gz"
    path.write_bytes(content)
    with pytest.raises(SchemaCorrupt):
        load_gate(path)


def test_the_build_gives_the_same_bytes_and_refuses_another_schema() -> None:
    built = json.loads(gzip.decompress(SCHEMA_PATH.read_bytes()))
    reordered = {"definitions": dict(reversed(built["definitions"].items())), "$schema": built["$schema"]}
    assert schema_bytes(compact_schema(built)) == schema_bytes(compact_schema(reordered)) == SCHEMA_PATH.read_bytes()
    with pytest.raises(SchemaSource):
        compact_schema({"definitions": {}})


def test_every_type_of_the_release_stands_in_one_table() -> None:
    assert len(RULES) + len(SHARED) + len(NOT_KEPT) == len(R4_TYPES) == 146
    assert {kind_of({"resourceType": name}) for name in RULES} <= KIND_WORDS.keys()
