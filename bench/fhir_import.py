"""How fast Bundles become planned records, one process, warm validators.

    python bench/fhir_import.py [folder of *.json or *.json.gz] [rounds]

Without arguments: the shared synthetic patients beside the repository (or under HCE_SHARED), else the Bundles that ship.
"""

from __future__ import annotations

import os
import platform
import sys
import time
from pathlib import Path

from hce.foundation.types.errors import Refused
from hce.service.fhir.bundle import BundleBounds, read_bundle
from hce.service.fhir.gate import default_gate
from hce.service.fhir.grouping import plan_import

ROOT = Path(__file__).parents[1]
SHARED = Path(os.environ.get("HCE_SHARED", ROOT.parent / "shared")) / "data/synthea-r4"
SHIPPED = ROOT / "src/hce/app/devnet/bundles"


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else SHARED if SHARED.is_dir() else SHIPPED
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    bundles = [sent for path in sorted(folder.glob("*.json*")) if _is_patient(sent := path.read_bytes())]
    resources = [entry.resource for sent in bundles for entry in read_bundle(sent, BundleBounds())[0]]
    gate = default_gate()
    print(
        f"{platform.machine()}, Python {platform.python_version()}, {len(bundles)} Bundles, {len(resources)} resources, {rounds} rounds"
    )
    for name, work in {
        "split and parse": lambda: [read_bundle(sent, BundleBounds()) for sent in bundles],
        "structural gate": lambda: [gate.fault_of(resource) for resource in resources],
        "whole plan": lambda: [plan_import(sent) for sent in bundles],
    }.items():
        best_s = min(_seconds(work) for _ in range(rounds))
        print(f"{name:16} {len(resources) / best_s:>10,.0f} resources/s")


def _is_patient(sent: bytes) -> bool:
    try:
        plan_import(sent)
    except Refused:
        return False
    return True


def _seconds(work: object) -> float:
    assert callable(work)
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
