"""What the documents name exists: functions, files, links."""

from __future__ import annotations

import ast
import os
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
SOURCE = ROOT / "src" / "hce"
PAGES = sorted([*DOCS.rglob("*.md"), *ROOT.glob("README*.md")])
WALKS = ("life-of-a-record.md", "life-of-a-grant.md")
MIN_HOPS = {"life-of-a-record.md": 18, "life-of-a-grant.md": 17}
NOT_OURS = frozenset({".git", ".venv", "node_modules", "run", "__pycache__"})
SUFFIXES = "py|md|mjs|json|toml|txt|gz"


@cache
def project_files() -> frozenset[str]:
    """Files of the project, by path from the root; what is built, installed or run is no part of it."""
    found: set[str] = set()
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [name for name in folders if name not in NOT_OURS]
        found |= {str((Path(folder) / name).relative_to(ROOT)) for name in files}
    return frozenset(found)


@cache
def names_in(path: Path) -> frozenset[str]:
    """Functions, classes and methods (`Class.method`) of a file."""
    found: set[str] = set()
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.ClassDef):
            found.add(node.name)
            found |= {
                f"{node.name}.{inner.name}" for inner in node.body if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef)
            }
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
    return frozenset(found)


def functions_named(page: Path) -> list[tuple[str, str]]:
    return re.findall(r"`([\w/.]+\.py):([\w.]+)`", page.read_text("utf-8"))


@pytest.mark.parametrize("page", WALKS)
def test_every_function_of_the_walk_exists(page: str) -> None:
    named = functions_named(DOCS / page)
    missing = [f"{file}:{name}" for file, name in named if not (SOURCE / file).is_file() or name not in names_in(SOURCE / file)]
    assert missing == []
    assert len(named) >= MIN_HOPS[page]


@pytest.mark.parametrize("page", WALKS)
def test_every_hop_names_where_it_happens_and_they_are_numbered_in_order(page: str) -> None:
    hops = re.findall(r"^\| (\d+) \|[^|]*\|([^|]*)\|", (DOCS / page).read_text("utf-8"), flags=re.MULTILINE)
    assert [int(number) for number, _ in hops] == list(range(1, MIN_HOPS[page] + 1))
    assert [number for number, where in hops if ".py:" not in where] == []


@pytest.mark.parametrize("page", WALKS)
def test_a_walk_takes_ten_minutes(page: str) -> None:
    assert len((DOCS / page).read_text("utf-8").split()) < 2_500


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_a_page_names_exists(page: Path) -> None:
    named = set(re.findall(rf"`([\w.-]+(?:/[\w.-]+)+\.(?:{SUFFIXES}))[:`]", page.read_text("utf-8")))
    known = project_files()
    assert [name for name in sorted(named) if not any(one == name or one.endswith(f"/{name}") for one in known)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text("utf-8"))
    local = [target for target in targets if "://" not in target and not target.startswith("mailto:")]
    assert [target for target in local if not (page.parent / target).exists()] == []


def test_decisions_are_numbered_without_gaps_and_have_their_three_parts() -> None:
    pages = sorted((DOCS / "adr").glob("*.md"))
    assert [int(page.name[:4]) for page in pages] == list(range(1, len(pages) + 1))
    for page in pages:
        text = page.read_text("utf-8")
        assert text.startswith(f"# {page.name[:4]} "), page.name
        assert [part for part in ("**Context.**", "**Decision.**", "**Consequence.**") if part not in text] == [], page.name
