"""Vectors from outside: small ones beside the tests, big suites from the folder named by HCE_SUITES."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

VECTORS = Path(__file__).parents[2] / "vectors"


@pytest.fixture(scope="session")
def vectors() -> Callable[[str], Any]:
    """JSON under tests/vectors, by relative path."""
    return lambda name: json.loads((VECTORS / name).read_text())


@pytest.fixture(scope="session")
def suite() -> Callable[[str], Any]:
    """JSON of a public suite, by relative path under HCE_SUITES; skips, saying which file is missing."""

    def read(name: str) -> Any:
        folder = os.environ.get("HCE_SUITES")
        path = Path(folder or "") / name
        if not folder or not path.is_file():
            pytest.skip(f"PUBLIC SUITE NOT CHECKED: set HCE_SUITES to a folder that holds {name} (tests/vectors/README.md)")
        return json.loads(path.read_text())

    return read
