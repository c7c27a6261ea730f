"""Whole patients: the three that ship, and the forty shared synthetic ones where they lie beside the repository.

`HCE_SHARED` names the shared folder; without it, `../shared` from the repository's root.
"""

from __future__ import annotations

import functools
import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest

from hce.service.fhir.errors import PatientCount
from hce.service.fhir.grouping import ImportPlan, plan_import
from hce.service.fhir.identity import Match, same_person
from hce.service.fhir.summary import summary_line
from hce.service.terms.records import MAX_INLINE_BYTES, MAX_RESOURCES_PER_RECORD

ROOT = Path(__file__).parents[3]
SHIPPED = sorted((ROOT / "src/hce/app/devnet/bundles").glob("*.json"))
SYNTHEA = Path(os.environ.get("HCE_SHARED", ROOT.parent / "shared")) / "data/synthea-r4"
PATIENTS = sorted(path for path in SYNTHEA.glob("*.json.gz") if "Information" not in path.name)
needs_shared = pytest.mark.skipif(not PATIENTS, reason=f"NOT TESTED: no shared patients under {SYNTHEA} (set HCE_SHARED)")


@functools.cache
def plain_of(path: Path) -> bytes:
    sent = path.read_bytes()
    return gzip.decompress(sent) if path.suffix == ".gz" else sent


@functools.cache
def plan_of(path: Path) -> ImportPlan:
    return plan_import(path.read_bytes())


def check_whole(path: Path) -> None:
    """Every resource is in exactly one place; what is kept is kept byte for byte; every record is inside its bounds."""
    plain, plan = plain_of(path), plan_of(path)
    entries: list[Any] = json.loads(plain)["entry"]
    kept = [item for record in plan.records for item in record.items]
    by_name = {entry["fullUrl"]: entry["resource"] for entry in entries}
    assert len({item.name for item in kept}) == len(kept) == sum(plan.counts_by_type.values())
    assert len(kept) + plan.shared_count + len(plan.problems) == len(entries)
    for item in kept:
        assert item.content in plain
        assert json.loads(item.content) == by_name[item.name]
    for record in plan.records:
        assert len(record.items) <= MAX_RESOURCES_PER_RECORD
        assert sum(len(item.content) for item in record.items) <= MAX_INLINE_BYTES
    assert [record.date for record in plan.records] == sorted(record.date for record in plan.records)
    assert plan == plan_import(path.read_bytes())


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_bundle_becomes_records_and_only_the_deliberate_entry_is_refused(path: Path) -> None:
    check_whole(path)
    found = [(problem.index, problem.type, problem.code, problem.detail) for problem in plan_of(path).problems]
    broken = [(7, "Observation", "fhir.invalid", "/valueQuantity: the wrong JSON type")]
    assert found == (broken if "broken" in path.stem else [])
    assert 12 <= len(json.loads(plain_of(path))["entry"]) <= 40


def test_the_shipped_people_are_three_different_ones_with_their_own_words() -> None:
    assert len(SHIPPED) == 3
    assert {same_person(plan_of(a).identity, plan_of(b).identity).match for a in SHIPPED for b in SHIPPED if a != b} == {Match.NO}
    chinese = plan_of(next(path for path in SHIPPED if "shifan" in path.stem))
    lines = [summary_line(record.kind, record.date, record.items, "zh-CN") for record in chinese.records]
    assert "2023-06-12 体征：1 项测量（血压 136 / 84 mmHg）" in lines
    kinds = {record.kind for path in SHIPPED for record in plan_of(path).records}
    assert {"labs", "medication", "imaging", "allergy", "encounter", "vitals", "immunization", "condition", "claim"} <= kinds


@needs_shared
@pytest.mark.parametrize("path", PATIENTS, ids=lambda path: path.name.split("_")[0])
def test_a_shared_patient_is_read_whole_and_without_a_problem(path: Path) -> None:
    check_whole(path)
    assert plan_of(path).problems == []


@needs_shared
def test_the_shared_patients_are_forty_different_people() -> None:
    identities = [plan_of(path).identity for path in PATIENTS]
    assert len(identities) == 40
    assert all(same_person(a, a).match is Match.YES for a in identities)
    assert {same_person(a, b).match for a in identities for b in identities if a is not b} == {Match.NO}


@needs_shared
def test_the_files_about_hospitals_and_staff_are_nobody() -> None:
    for path in SYNTHEA.glob("*Information*.json.gz"):
        with pytest.raises(PatientCount):
            plan_import(path.read_bytes())
