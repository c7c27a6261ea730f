"""docs/attacks.md names tests that exist."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "attacks.md").read_text("utf-8")


@cache
def functions_of(file: str) -> frozenset[str]:
    """Test functions of a file; none when there is no such file."""
    path = ROOT / file
    if not path.is_file():
        return frozenset()
    functions = {
        node.name for node in ast.parse(path.read_text("utf-8")).body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    return frozenset(name for name in functions if name.startswith("test_"))


def test_every_attack_has_a_test_that_exists() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith("| attack ")]
    named = [re.search(r"`(tests/[\w/]+\.py)::(test_\w+)` \|$", row) for row in rows]
    assert [row for row, found in zip(rows, named, strict=True) if found is None] == []
    pairs = [(found[1], found[2]) for found in named if found is not None]
    assert [f"{file}::{name}" for file, name in pairs if name not in functions_of(file)] == []
    assert len(set(pairs)) == len(pairs)


def test_the_attacks_every_release_must_withstand_are_listed() -> None:
    for attack in (
        "an old grant body under a new id",
        "more records than the entry committed to",
        "an opening replayed",
        "a swapped envelope",
        "re-registered capsule",
        "a prevote used as a precommit",
        "a transaction re-signed to run twice",
    ):
        assert attack in PAGE, attack
