"""What the record measurements seal: resources of whole patients, planned into records as an import plans them."""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path

from hce.app.devnet.people import demo_bundles
from hce.app.tour.patient import SHARED_VARIABLE
from hce.service.fhir.grouping import PlannedRecord, plan_import

MAX_PATIENTS = 8
"""Bundles planned: enough that their records differ, few enough to be planned in seconds."""


def planned_records(root: Path) -> list[PlannedRecord]:
    """Of the smallest patients in the shared data beside the project `root`; of the Bundles that ship with HCE without it."""
    shared = Path(os.environ.get(SHARED_VARIABLE, root.parent / "shared")) / "data" / "synthea-r4"
    paths = [path for path in shared.glob("*.json.gz") if "Information" not in path.name]
    smallest = sorted(paths, key=lambda path: (path.stat().st_size, path.name))[:MAX_PATIENTS]
    bundles = [gzip.decompress(path.read_bytes()) for path in smallest] or [bundle for _, bundle in demo_bundles()]
    return [record for bundle in bundles for record in plan_import(bundle).records]


def batches_of(records: list[PlannedRecord], size: int) -> Iterator[list[PlannedRecord]]:
    """For ever, in order, beginning anew at the end: sealing makes the same content another record each time."""
    endless = cycle(records)
    while True:
        yield list(islice(endless, size))
