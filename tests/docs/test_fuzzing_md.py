"""docs/fuzzing.md lists every file that decodes something: as a border with its targets, or as one that reads our own disk."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from tests.fuzz.borders import BY_NAME

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "fuzzing.md").read_text("utf-8")
SOURCE = ROOT / "src" / "hce"
OURS = {"decode", "decode_as", "convert", "rlp_decode"}
THEIRS = {"msgspec.json.decode", "json.loads", "x509.load_der_x509_certificate", "tarfile.open", "libipld.decode_dag_cbor"}


def decodes(path: Path) -> bool:
    """Whether it calls a decoder, of the codec or of a library."""
    tree = ast.parse(path.read_text("utf-8"))
    froms = (node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and "codec" in (node.module or ""))
    imported = {alias.asname or alias.name for node in froms for alias in node.names if alias.name in OURS}
    calls = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    return bool(calls & (imported | THEIRS))


def rows(heading: str) -> list[list[str]]:
    section = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    return [line.strip("|").split("|") for line in section.splitlines() if line.startswith("| ") and "`" in line]


def named(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def test_every_file_that_decodes_stands_in_exactly_one_table() -> None:
    borders = [file for row in rows("Borders") for file in named(row[1])]
    own = [file for row in rows("Own disk and own words") for file in named(row[0])]
    assert len(set(borders + own)) == len(borders + own)
    decoding = {str(path.relative_to(SOURCE)) for path in SOURCE.rglob("*.py") if decodes(path)}
    assert decoding - set(borders + own) == set()
    assert [file for file in borders + own if not (SOURCE / file).is_file()] == []


def test_every_target_is_named_and_every_name_is_a_target() -> None:
    targets = [name for row in rows("Borders") for name in named(row[2]) if not name.startswith("tests/")]
    assert sorted(set(targets)) == sorted(BY_NAME)
    files = [name for row in rows("Borders") for name in named(row[2]) if name.startswith("tests/")]
    assert [name for name in files if not (ROOT / name).is_file()] == []
