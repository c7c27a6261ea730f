"""Looks for a patient's words in everything the nodes have written: whole files, byte by byte."""

from __future__ import annotations

import json
import mmap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

MIN_CANARY_CHARS = 8
"""Shorter strings occur by chance in random bytes."""
MAX_CANARIES = 400
PUBLIC_PREFIXES = ("http://", "https://", "urn:oid:")
"""Names of code systems and the like are nobody's secret."""


def canaries_of(contents: Iterable[bytes]) -> list[bytes]:
    """Long strings of these FHIR resources: ids, names, addresses, texts. The longest first, at most MAX_CANARIES."""
    found: set[str] = set()
    for content in contents:
        found |= {text for text in _strings(json.loads(content)) if _telling(text)}
    chosen = sorted(found, key=lambda text: (-len(text), text))[:MAX_CANARIES]
    return [text.encode() for text in chosen]


def find_in_files(folder: Path, canaries: Iterable[bytes]) -> list[str]:
    """Files (relative) that hold any of the canaries."""
    wanted = list(canaries)
    hits: list[str] = []
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.stat().st_size:
            with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                if any(content.find(canary) >= 0 for canary in wanted):
                    hits.append(str(path.relative_to(folder)))
    return hits


def _telling(text: str) -> bool:
    return len(text) >= MIN_CANARY_CHARS and not text.startswith(PUBLIC_PREFIXES)


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _strings(item)
