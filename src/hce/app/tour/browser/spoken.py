"""The portal's own words: screens are found by what people read on them, in either language."""

from __future__ import annotations

import json
import re
from pathlib import Path

from hce.foundation.types.errors import Unavailable

WORDS = Path(__file__).parents[5] / "web" / "src" / "words"
"""Beside the sources. A wheel has them only inside the built page, where nobody can look them up."""
PARTS = ("shell", "common", "patient", "clinician")
FIELD = re.compile(r"\\{\w+\\}")


class WordsMissing(Unavailable):
    """The portal's words are not here: this is no checkout of the project."""

    code = "browser.no_words"


class Spoken:
    """One language of the portal."""

    def __init__(self, language: str) -> None:
        self.language = language
        self._texts: dict[str, str] = {}
        for part in PARTS:
            path = WORDS / f"{part}.{language}.json"
            if not path.exists():
                raise WordsMissing(path=str(path))
            self._texts |= json.loads(path.read_text("utf-8"))

    def text(self, key: str, **fields: str | int) -> str:
        """The text of a key, as the page says it: `count` chooses between one and many."""
        return self._found(key, fields.get("count")).format(**fields)

    def like(self, key: str, **known: str | int) -> re.Pattern[str]:
        """The text of a key with anything in the fields that are not known."""
        text = self._found(key, known.get("count"))
        for name, value in known.items():
            text = text.replace("{" + name + "}", str(value))
        return re.compile(FIELD.sub("(.+)", re.escape(text)))

    def _found(self, key: str, count: str | int | None) -> str:
        if key in self._texts:
            return self._texts[key]
        return self._texts[f"{key}_one" if count == 1 and self.language == "en" else f"{key}_other"]
