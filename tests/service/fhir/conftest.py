"""Small Bundles to tell stories with: one patient, and what a test adds."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

Entry = dict[str, Any]
PATIENT = "urn:uuid:00000000-0000-4000-8000-000000000001"


def entry_of(resource: dict[str, Any], full_url: str | None = None) -> Entry:
    url = {"fullUrl": full_url} if full_url else {}
    return {**url, "resource": resource, "request": {"method": "POST", "url": resource.get("resourceType", "")}}


def patient_entry(**changes: Any) -> Entry:
    patient = {
        "resourceType": "Patient",
        "id": "p1",
        "identifier": [{"system": "https://example.org/numbers", "value": "A-1"}],
        "name": [{"family": "Fictional", "given": ["Flora"]}],
        "birthDate": "1980-02-29",
    }
    return entry_of({**patient, **changes}, PATIENT)


def observation_entry(name: str = "o1", full_url: str | None = None, **changes: Any) -> Entry:
    observation = {
        "resourceType": "Observation",
        "id": name,
        "status": "final",
        "category": [{"coding": [{"code": "laboratory"}]}],
        "code": {"text": "Glucose"},
        "subject": {"reference": PATIENT},
        "effectiveDateTime": "2020-05-01T23:30:00-08:00",
        "valueQuantity": {"value": 92, "unit": "mg/dL"},
    }
    kept = {key: value for key, value in {**observation, **changes}.items() if value is not None}
    return entry_of(kept, full_url or f"urn:uuid:{name}")


def bundle_of(*entries: Any, kind: str = "transaction") -> bytes:
    return json.dumps({"resourceType": "Bundle", "type": kind, "entry": list(entries)}, ensure_ascii=False, indent=1).encode()


@pytest.fixture
def patient() -> Callable[..., Entry]:
    return patient_entry


@pytest.fixture
def observation() -> Callable[..., Entry]:
    return observation_entry


@pytest.fixture
def resource_entry() -> Callable[..., Entry]:
    return entry_of


@pytest.fixture
def bundle() -> Callable[..., bytes]:
    return bundle_of
