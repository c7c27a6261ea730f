"""What people read exists in both languages, for every error and every place of the app, and nothing stands there unused."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from hce.app.words import LANGUAGES, PARTS, catalogue, explain, explain_with_fields, plain, say
from hce.foundation.types.errors import HceError

ROOT = Path(__file__).resolve().parents[3]
APP = ROOT / "src" / "hce" / "app"
WORDS = APP / "words"
SPEAKERS = frozenset({"say", "say_in_all", "tell", "Finding"})
"""Calls whose first argument is a key."""
SAME_IN_BOTH = frozenset({"cli.detail"})
"""Keys whose text is the same in both languages on purpose."""
HALF_WIDTH = re.compile("[\u4e00-\u9fff][,;:!?]|[,;:!?][\u4e00-\u9fff]")


def read(part: str, language: str) -> dict[str, str]:
    return json.loads((WORDS / f"{part}.{language}.json").read_text("utf-8"))


def placeholders(text: str) -> set[str]:
    return set(re.findall(r"{(\w+)", text))


def spoken_keys() -> Iterator[tuple[str, str]]:
    """(file, key) of every key the app names. A key that ends in * is the beginning of one that is put together."""
    for path in sorted(APP.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in SPEAKERS:
                for key in keys_in(node.args[0]):
                    yield str(path.relative_to(ROOT)), key
                    if name == "Finding":  # `hce doctor` says it so when the check failed
                        yield str(path.relative_to(ROOT)), f"{key}_bad"


def keys_in(argument: ast.expr) -> list[str]:
    """Keys an argument can be: a text, one of two texts, or the beginning of a text that is put together."""
    match argument:
        case ast.Constant(value=str(key)):
            return [key]
        case ast.IfExp(body=body, orelse=other):
            return keys_in(body) + keys_in(other)
        case ast.JoinedStr(values=[ast.Constant(value=str(beginning)), *_]):
            return [f"{beginning}*"]
    return []


def is_spoken(key: str, spoken: set[str]) -> bool:
    return key in spoken or any(one.endswith("*") and key.startswith(one[:-1]) for one in spoken)


@pytest.mark.parametrize("part", PARTS)
def test_both_languages_say_the_same_things(part: str) -> None:
    english, chinese = (read(part, language) for language in LANGUAGES)
    assert english.keys() == chinese.keys()
    for key in english:
        assert english[key].strip(), key
        assert chinese[key].strip(), key
        assert placeholders(english[key]) == placeholders(chinese[key]), key
        assert key in SAME_IN_BOTH or english[key] != chinese[key], key


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("language", LANGUAGES)
def test_keys_are_sorted_and_stand_once(part: str, language: str) -> None:
    raw = (WORDS / f"{part}.{language}.json").read_text("utf-8")
    keys = [key for key, _ in json.loads(raw, object_pairs_hook=list)]
    assert keys == sorted(set(keys))


def test_every_error_has_words_and_no_words_lack_their_error(error_codes: set[str]) -> None:
    assert error_codes == read("errors", "en").keys()


def test_an_error_is_explained_in_the_persons_language_with_its_code(monkeypatch: pytest.MonkeyPatch) -> None:
    class Met(HceError):
        code = "grant.revoked"

    monkeypatch.setenv("HCE_LANG", "en")
    assert explain(Met()) == "The owner has revoked this grant. Nothing more can be opened with it. (grant.revoked)"
    monkeypatch.setenv("HCE_LANG", "zh_CN.UTF-8")
    assert explain(Met()) == f"{read('errors', 'zh-CN')['grant.revoked']} (grant.revoked)"


def test_every_key_the_app_speaks_has_words() -> None:
    known = catalogue("en").keys()
    missing = [(file, key) for file, key in spoken_keys() if not (key in known or any(is_spoken(one, {key}) for one in known))]
    assert missing == []


def test_no_words_of_the_app_are_left_unspoken() -> None:
    spoken = {key for _, key in spoken_keys()}
    assert [key for key in read("app", "en") if not is_spoken(key, spoken)] == []


def test_chinese_sentences_have_chinese_punctuation() -> None:
    assert [key for key, text in read("errors", "zh-CN").items() if HALF_WIDTH.search(text)] == []


def test_an_error_is_told_in_sentences() -> None:
    english, chinese = (read("errors", language) for language in LANGUAGES)
    assert [key for key, text in english.items() if not (text[0].isupper() or text[0].isdigit()) or "  " in text] == []
    assert [key for key, text in chinese.items() if len(text) > 80] == []


def test_a_key_without_words_shows_itself() -> None:
    assert say("no.such.key") == "no.such.key"


def test_what_others_wrote_steers_no_terminal() -> None:
    """A lying server and a name in a file are shown as they are, and obeyed by nobody."""
    clearing, turning = "\x1b[2J\x1b[1;1HIt is the newest.\x07", "\u202eenod"
    for said in (say("cli.detail", detail=clearing + turning), explain_with_fields(HceError(clearing, path=turning))):
        assert not set(said) & {"\x1b", "\x07", "\u202e"}
        assert "\\u001b[2J" in said
    assert plain("甄示范\n\tn\u200d") == "甄示范\n\tn\u200d"
