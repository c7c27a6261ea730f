"""The error codes of the code, collected by the tool that writes docs/errors.md."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

TOOL = Path(__file__).resolve().parents[3] / "tools" / "write_errors_md.py"


@pytest.fixture(scope="session")
def error_codes() -> set[str]:
    spec = importlib.util.spec_from_file_location("write_errors_md", TOOL)
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    return {row.code for row in tool.rows()}
