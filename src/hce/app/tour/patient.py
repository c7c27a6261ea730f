"""The story's patient: which Bundle, who it is about, and the exact bytes that must come back."""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import Any

import msgspec

from hce.app.devnet.people import demo_bundles
from hce.service.fhir.grouping import plan_import

SHARED_VARIABLE = "HCE_SHARED"
"""Folder with sample data beside the project; without it the story uses a Bundle that ships with HCE."""


def choose_bundle(root: Path) -> tuple[str, bytes]:
    """(name, bytes): the smallest whole patient of the shared data, else the first Bundle of HCE's own."""
    shared = Path(os.environ.get(SHARED_VARIABLE, root.parent / "shared")) / "data" / "synthea-r4"
    patients = [path for path in shared.glob("*.json.gz") if "Information" not in path.name]
    if patients:
        smallest = min(patients, key=lambda path: (path.stat().st_size, path.name))
        return smallest.name, gzip.decompress(smallest.read_bytes())
    return demo_bundles()[0][0], demo_bundles()[0][1]


def resources_of(bundle: bytes) -> dict[str, bytes]:
    """Name -> exact bytes of every resource that becomes part of a record."""
    return {item.name: item.content for record in plan_import(bundle).records for item in record.items}


def patient_of(bundle: bytes) -> dict[str, Any]:
    """The Bundle's Patient resource, as its person shows it when enrolling."""
    resources = (entry.get("resource", {}) for entry in msgspec.json.decode(bundle)["entry"])
    return next(resource for resource in resources if resource.get("resourceType") == "Patient")
