"""Rules of the portal's source that a reader should not have to check: what it may touch, what it says in two languages, what it weighs."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

from tests.web.node import ROOT, WEB, run_node

from hce.app.portal.bundle import VERSION, bundle_hash, read_bundle

SOURCE = WEB / "src"
FILES = sorted(path for path in SOURCE.rglob("*") if path.suffix in {".ts", ".tsx", ".css"})
CODE = [path for path in FILES if path.suffix != ".css" and "tests" not in path.parts]
WORDS = ROOT / "src/hce/app/words"
MAX_LINES, MAX_COLUMNS = 400, 140
PLURAL = re.compile(r"_(one|other)$")
KEY = re.compile(r"""say\(\s*"([a-z0-9.-]+)\"""")


def code_of(path: Path) -> str:
    """Without comments."""
    return re.sub(r"(?<!:)//.*|/\*[\s\S]*?\*/", "", path.read_text("utf-8"))


def words_of(language: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in ("shell", "common", "patient", "clinician"):
        texts = json.loads((SOURCE / f"words/{part}.{language}.json").read_text("utf-8"))
        assert found.keys().isdisjoint(texts), "a key is in one part"
        found |= texts
    return found


def test_the_portal_passes_its_own_tests() -> None:
    said = run_node(WEB / "tools/portal-test.mjs")
    assert "# fail 0" in said
    assert int(re.findall(r"^# pass (\d+)", said, re.MULTILINE)[0]) >= 14


def test_both_languages_say_the_same_things_with_the_same_fields() -> None:
    english, chinese = words_of("en"), words_of("zh-CN")
    assert {PLURAL.sub("", key) for key in english} == {PLURAL.sub("", key) for key in chinese}
    fields = {key: set(re.findall(r"{(\w+)}", text)) for key, text in english.items()}
    for key, text in chinese.items():
        assert set(re.findall(r"{(\w+)}", text)) == fields[key], key
    assert [key for key in english if key.endswith("_one") and PLURAL.sub("_other", key) not in english] == []


def test_every_word_that_is_said_exists_and_no_error_code_is_said_twice() -> None:
    said = {key for path in CODE for key in KEY.findall(code_of(path))}
    english = words_of("en")
    known = {PLURAL.sub("", key) for key in english}
    assert len(said) > 100
    assert sorted(said - known) == []
    for language in ("en", "zh-CN"):
        assert english.keys().isdisjoint(json.loads((WORDS / f"errors.{language}.json").read_text("utf-8")))


def test_secrets_and_markup_stay_where_they_belong() -> None:
    forbidden = re.compile(
        r"\bsubtle\b|innerHTML|dangerouslySet|insertAdjacentHTML|document\.write|\beval\(|new Function|\bconsole\b|sessionStorage"
        r"|document\.cookie|Math\.random|[:<]\s*any\b|\bas any\b|@ts-|\bdebugger\b|postMessage|sendBeacon|WebSocket|EventSource"
    )
    assert [path.name for path in CODE if forbidden.search(code_of(path))] == []
    assert [path.name for path in CODE if "localStorage" in code_of(path)] == ["preferences.ts"]
    assert [path.name for path in CODE if "indexedDB" in code_of(path)] == ["here.ts"]
    assert [path.name for path in CODE if re.search(r"\bfetch\(", code_of(path))] == ["portal.ts"]


def test_nothing_names_a_foreign_place() -> None:
    """But the name of an XML vocabulary and of a FHIR code system, which nobody asks for."""
    addresses = re.compile(r"https?://(?!www\.w3\.org/2000/svg|loinc\.org\")")
    named = [*FILES, WEB / "index.html", *(SOURCE / "design").glob("*.svg")]
    assert [path.name for path in named if "tests" not in path.parts and addresses.search(code_of(path))] == []
    built = {
        path: content.decode("utf-8", "replace") for path, content in read_bundle().items() if path.endswith((".html", ".css"))
    }
    assert [
        path for path, text in built.items() if re.search(r"""(?:src|href)=["']?https?:|url\(["']?https?:|@import""", text)
    ] == []


def test_colours_and_fonts_are_tokens() -> None:
    """White paper and black ink of a QR code are what a camera needs, not a matter of taste."""
    colour = re.compile(r"#[0-9a-f]{3,8}\b|rgb\(|hsl\(", re.IGNORECASE)
    for path in FILES:
        if path.suffix == ".css" and path.name != "tokens.css":
            assert set(colour.findall(path.read_text("utf-8"))) <= {"#fff", "#000"}, path.name


def test_files_are_short_and_lines_can_be_read() -> None:
    texts = {path.relative_to(SOURCE): path.read_text("utf-8").splitlines() for path in FILES}
    assert [str(path) for path, lines in texts.items() if len(lines) > MAX_LINES] == []
    assert [f"{path}:{at}" for path, lines in texts.items() for at, line in enumerate(lines, 1) if len(line) > MAX_COLUMNS] == []


def test_the_same_sources_give_the_same_bytes(tmp_path: Path) -> None:
    """No date, no path, no luck in what is built; so a hash can be compared."""
    first, second = _built(tmp_path / "first"), _built(tmp_path / "elsewhere" / "second")
    assert bundle_hash(first) == bundle_hash(second)
    assert first.keys() > {"index.html", "manifest.json"}


def _built(folder: Path) -> dict[str, bytes]:
    run_node(WEB / "node_modules/vite/bin/vite.js", "build", WEB, "--outDir", folder, "--emptyOutDir")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_version_that_is_published_is_that_of_the_sources() -> None:
    """The chain names it beside the bundle's hash."""
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == VERSION
    assert json.loads((WEB / "package.json").read_text())["version"] == VERSION


def test_the_portal_stays_light() -> None:
    """Fails by its exit code when a part is beyond its bound."""
    assert set(json.loads(run_node(WEB / "tools/portal-size.mjs"))) == {"shell", "patient", "clinician", "words"}
