"""Writes docs/errors.md from the code: every error code, whose fault it is, its HTTP status, its English sentence.

    .venv/bin/python tools/write_errors_md.py

`make test` fails while the file on disk is not what this gives.
"""

from __future__ import annotations

import ast
import importlib
import json
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, get_args

import hce
from hce.foundation.types.errors import Corrupt, HceError, PeerFault, Refused, Unavailable
from hce.service.fhir.errors import PROBLEM_CODES
from hce.service.vault.auditing import FindingCode

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "hce"
TARGET = ROOT / "docs" / "errors.md"
WORDS = SOURCE / "app" / "words" / "errors.en.json"

FAULTS: tuple[tuple[type[HceError], str], ...] = (
    (Refused, "the request"),
    (Unavailable, "nobody: later"),
    (PeerFault, "another machine"),
    (Corrupt, "this machine's disk"),
)
"""Base class -> who is at fault. The first that fits is said."""

HEAD = """# Errors

Written by `tools/write_errors_md.py`; a test compares. A code is stable: it is the `code` (and, with `hce:` before it, the `type`) of
the problem document (RFC 9457) that node and gateway answer with, the label in logs, and the key of the sentence that people read,
here in English and in `src/hce/app/words/errors.zh-CN.json` in Chinese.

Who is at fault: **the request** asked for something the rules do not allow, and nothing was changed; **nobody: later** means that
the same request may succeed when it is made again; **another machine** sent what no honest one sends; **this machine's disk** gave back
something else than was written. Codes marked *entry* name one refused entry of an imported Bundle, codes marked *log* one finding of
the owner's audit; neither is the answer to a request. A transaction that is final and failed carries its code in its receipt.

| code | at fault | HTTP | in words |
|---|---|---|---|
"""


class Row(NamedTuple):
    code: str
    fault: str
    status: str


def import_everything() -> None:
    """Error classes exist once their module is imported; `__main__` modules would run."""
    for module in pkgutil.walk_packages(hce.__path__, "hce."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)


def classes_of(base: type[HceError] = HceError) -> Iterator[type[HceError]]:
    """The whole tree, those of HCE only: tests have subclasses of their own."""
    yield base
    for child in base.__subclasses__():
        if child.__module__.startswith("hce."):
            yield from classes_of(child)


def codes_said_to_remote() -> set[str]:
    """Codes without a class: what a client calls an answer that is none, `Remote("node.bad_answer", ...)`."""
    found: set[str] = set()
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Remote" and node.args:
                first = node.args[0]
                if isinstance(first, ast.Constant) and isinstance(first.value, str):
                    found.add(first.value)
    return found


def rows() -> list[Row]:
    """One row a code, sorted."""
    import_everything()
    faults: dict[str, set[str]] = {}
    statuses: dict[str, set[int]] = {}
    for one in classes_of():
        faults.setdefault(one.code, set()).add(next((words for base, words in FAULTS if issubclass(one, base)), "this program"))
        statuses.setdefault(one.code, set()).add(one.status)
    found = [
        Row(code, ", ".join(sorted(faults[code])), " or ".join(str(status) for status in sorted(statuses[code]))) for code in faults
    ]
    found += [Row(code, "another machine", "its own") for code in codes_said_to_remote() - faults.keys()]
    found += [Row(code, "the request", "*entry*") for code in PROBLEM_CODES.keys() - faults.keys()]
    found += [Row(code, "see words", "*log*") for code in set(get_args(FindingCode)) - faults.keys()]
    return sorted(found)


def page() -> str:
    """The whole file."""
    words: dict[str, str] = json.loads(WORDS.read_text("utf-8"))
    return HEAD + "".join(f"| `{row.code}` | {row.fault} | {row.status} | {words[row.code]} |\n" for row in rows())


if __name__ == "__main__":
    TARGET.write_text(page(), "utf-8")
