"""web/sdk passes its own tests, keeps the house rules, stays small, and calls errors as the server does."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tests.web.node import ROOT, WEB, run_node

SDK = WEB / "sdk"
SOURCES = sorted((SDK / "src").rglob("*.ts"))
FILES = sorted(path for folder in ("src", "tests", "tools") for path in (SDK / folder).rglob("*.*s"))
WORDS = [ROOT / f"src/hce/app/words/errors.{language}.json" for language in ("en", "zh-CN")]
MAX_LINES, MAX_COLUMNS = 400, 140
MAX_PATIENT_BYTES = 56 * 1024
"""What a patient's page gives to the SDK, gzipped, of its 140 KB; word lists come when they are needed."""
PERMISSIVE = {"MIT", "Apache-2.0", "ISC", "BSD-3-Clause", "0BSD"}
CODE = re.compile(r'"((?:[a-z]+\.)[a-z_]+|malformed|not_found|too_large)"')
"""A literal that is spelled like an error code."""
NO_CODES = {"organisation.vote", "organisation.revoke", "credential.issue", "credential.revoke", "compartment.open"} | {
    "compartment.rotate",
    "record.commit",
    "grant.open",
    "grant.revoke",
    "access.open",
    "anchor.post",
    "portal.vote",
    "act.accept",
    "act.reject",
    "act.erase",
    "record.kind",
}
"""Kinds of transactions and keys of sentences are spelled alike."""


def code_of(path: Path) -> str:
    """Without comments."""
    return re.sub(r"//.*|/\*[\s\S]*?\*/", "", path.read_text("utf-8"))


def test_the_sdk_passes_its_own_tests() -> None:
    said = run_node(SDK / "tools/test.mjs")
    assert "# fail 0" in said
    assert int(re.findall(r"^# pass (\d+)", said, re.MULTILINE)[0]) > 50


def test_only_keys_touches_the_platforms_cryptography() -> None:
    users = {path.relative_to(SDK / "src").parts[0] for path in SOURCES if re.search(r"\bsubtle\b|\bCryptoKey\b", code_of(path))}
    assert users == {"keys"}
    random = [path.name for path in SOURCES if "getRandomValues" in code_of(path)]
    assert random == ["random.ts"]


def test_nothing_is_left_untyped_unlogged_or_stored() -> None:
    forbidden = re.compile(
        r"[:<]\s*any\b|\bas any\b|@ts-|\bconsole\b|localStorage|indexedDB|\beval\b|new Function|innerHTML|Math\.random|\bdebugger\b"
    )
    assert [path.name for path in SOURCES if forbidden.search(code_of(path))] == []


def test_every_error_has_words_in_both_languages() -> None:
    said = {code for path in SOURCES for code in CODE.findall(code_of(path))} - NO_CODES
    assert len(said) > 50
    for words in WORDS:
        assert sorted(said - json.loads(words.read_text("utf-8")).keys()) == []


def test_files_are_short_and_lines_can_be_read() -> None:
    texts = {path.relative_to(SDK): path.read_text("utf-8").splitlines() for path in FILES}
    assert [str(path) for path, lines in texts.items() if len(lines) > MAX_LINES] == []
    assert [f"{path}:{at}" for path, lines in texts.items() for at, line in enumerate(lines, 1) if len(line) > MAX_COLUMNS] == []


def test_the_sdk_leans_on_few_pinned_permissive_libraries() -> None:
    manifest, web = json.loads((SDK / "package.json").read_text()), json.loads((WEB / "package.json").read_text())
    assert {name: web["dependencies"][name] for name in manifest["dependencies"]} == manifest["dependencies"]
    used = {found for path in SOURCES for found in re.findall(r'(?:from|import\()\s*"(@?[^."][^"]*)"', code_of(path))}
    assert {"/".join(name.split("/")[:2]) for name in used} == set(manifest["dependencies"])
    locked = json.loads((WEB / "package-lock.json").read_text())["packages"]
    for name, version in manifest["dependencies"].items():
        found = locked[f"node_modules/{name}"]
        assert (found["version"], found["license"] in PERMISSIVE) == (version, True)
    assert [name for name, found in locked.items() if name and "integrity" not in found] == []
    assert "resolved" not in (WEB / "package-lock.json").read_text()


def test_the_sdk_stays_small() -> None:
    size = json.loads(run_node(SDK / "tools/size.mjs"))
    assert size["patient"] <= MAX_PATIENT_BYTES, size
