"""Every border under atheris for HCE_FUZZ_S seconds; part of `make soak`."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.fuzz.borders import BORDERS

SECONDS = int(os.environ.get("HCE_FUZZ_S", "30"))
START_S = 300
IS_THERE = importlib.util.find_spec("atheris") is not None


@pytest.mark.skipif("HCE_SOAK" not in os.environ, reason="coverage-guided fuzzing takes minutes: make soak")
@pytest.mark.parametrize("name", [border.name for border in BORDERS])
def test_coverage_guided_inputs_break_nothing(name: str, tmp_path: Path) -> None:
    assert IS_THERE, "requirements/fuzz.txt is not installed: make soak does it"
    command = [sys.executable, "-W", "ignore", "-m", "tests.fuzz.run", name, "--seconds", str(SECONDS), "--into", str(tmp_path)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS + START_S)
    found = {file.name: file.read_bytes().hex() for file in tmp_path.glob("*-*")}
    assert (ran.returncode, found) == (0, {}), ran.stderr[-3_000:]
