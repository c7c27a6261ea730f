"""docs/errors.md is what the code says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PRINT = "import runpy; print(runpy.run_path('tools/write_errors_md.py')['page'](), end='')"


def test_the_list_of_errors_is_up_to_date() -> None:
    done = subprocess.run([sys.executable, "-c", PRINT], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == (ROOT / "docs" / "errors.md").read_text("utf-8"), "run: .venv/bin/python tools/write_errors_md.py"
