"""What people read, in zh-CN and en: `app.*.json` for places in the app, `errors.*.json` for error codes; the same keys in both
languages (a test compares them).

A key is an error code (`grant.expired`) or a place in the app (`up.ready`). Texts hold {fields}; a missing key shows itself.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from hce.foundation.types.errors import HceError

LANGUAGES = ("en", "zh-CN")
PARTS = ("app", "errors")
STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Characters that a terminal obeys instead of showing: what others wrote could clear the screen and speak for us."""


def language() -> str:
    """From HCE_LANG, else the locale; English when in doubt."""
    wished = os.environ.get("HCE_LANG") or os.environ.get("LC_ALL") or os.environ.get("LANG") or ""
    return "zh-CN" if wished.lower().replace("_", "-").startswith("zh") else "en"


@cache
def catalogue(lang: str) -> dict[str, str]:
    """All texts of a language."""
    texts: dict[str, str] = {}
    for part in PARTS:
        texts |= json.loads(files(__package__).joinpath(f"{part}.{lang}.json").read_text("utf-8"))
    return texts


def say(key: str, /, **fields: Any) -> str:
    """The text of a key in the person's language; the key itself when there is none, so that nothing is silently empty."""
    text = catalogue(language()).get(key)
    if text is None:
        return key
    shown = {name: plain(value) if isinstance(value, str) else value for name, value in fields.items()}
    return text.format(**shown) if shown else text


def plain(text: str) -> str:
    """A text of others, with a name like `\\u001b` in the place of each character that would steer a terminal."""
    return STEERING.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def say_in_all(key: str, /, names: Mapping[str, str], **fields: Any) -> list[str]:
    """The text of a key in every language, for paper that whoever gets it must read; `names`: what {name} is called in each."""
    return [catalogue(lang)[key].format(name=names[lang], **fields) for lang in LANGUAGES]


def explain_with_fields(error: HceError) -> str:
    """The same with what is known besides: the log, the last words of a process, the path."""
    known = [error.detail, *(f"{name}: {value}" for name, value in error.fields.items())]
    return plain(" ".join([explain(error), *(part for part in known if part)]))


def explain(error: HceError) -> str:
    """An error for a person: what happened and what to do, then the code for whoever helps them."""
    return f"{say(error.code)} ({error.code})"
