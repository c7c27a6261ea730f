"""References between resources of one Bundle, and to the one patient."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from hce.service.fhir.bundle import FHIR_ID, REST, Entry
from hce.service.fhir.catalogue import Json

BINARY_URL: Final = re.compile(rf"(https?://.+/)?Binary/{FHIR_ID.pattern}(/_history/.+)?|urn:.+")
"""An Attachment's url that may name a Binary beside it (FHIR R4, Attachment.url); every other one leads out of what is handed over."""


def values_at(node: Any, path: str) -> list[Any]:
    """Everything at a dotted path, in order; lists on the way are walked."""
    found = [node]
    for step in path.split("."):
        flat = [inner for item in found for inner in (item if isinstance(item, list) else [item])]
        found = [item[step] for item in flat if isinstance(item, dict) and step in item]
    return [inner for item in found for inner in (item if isinstance(item, list) else [item])]


def references_in(node: Any) -> Iterator[str]:
    """Every literal reference in a resource and every Binary an attachment points to, in document order."""
    waiting = [node]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            if isinstance(target := item.get("reference"), str):
                yield target
            if isinstance(url := item.get("url"), str) and BINARY_URL.fullmatch(url):
                yield url
            waiting.extend(reversed(item.values()))
        elif isinstance(item, list):
            waiting.extend(reversed(item))


def resolved(reference: str, source: Entry) -> str:
    """The full name a reference means: without version, and on the server its source came from.

    Source: FHIR R4, Bundle, "Resolving references in Bundles".
    """
    plain = reference.split("/_history/", 1)[0]
    if plain.startswith((*REST, "urn:", "#")) or not source.full_url.startswith(REST):
        return plain
    own_end = f"{source.type}/{source.id}"
    return source.full_url.removesuffix(own_end) + plain if source.full_url.endswith(own_end) else plain


def names_of(entries: Iterable[Entry]) -> dict[str, Entry]:
    return {name: entry for entry in entries for name in entry.followed_as}


def ties_of(entries: Iterable[Entry], by_name: Mapping[str, Entry]) -> dict[int, list[int]]:
    """Who names whom, both ways, by entry index."""
    ties: dict[int, list[int]] = {}
    for entry in entries:
        for reference in references_in(entry.resource):
            if (target := by_name.get(resolved(reference, entry))) and target.index != entry.index:
                ties.setdefault(entry.index, []).append(target.index)
                ties.setdefault(target.index, []).append(entry.index)
    return ties


def nearest(sources: Iterable[int], ties: Mapping[int, list[int]], reachable: Iterable[int]) -> dict[int, int]:
    """For each entry in reach of a source the source nearest to it along ties; at equal distance the earlier source."""
    found = {source: source for source in sources}
    open_entries = set(reachable) - found.keys()
    waiting = deque(found)
    while waiting:
        here = waiting.popleft()
        for there in ties.get(here, ()):
            if there in open_entries:
                open_entries.discard(there)
                found[there] = found[here]
                waiting.append(there)
    return found


def encounter_of(entry: Entry, by_name: Mapping[str, Entry]) -> str | None:
    """Name of the encounter a resource belongs to; an Encounter belongs to itself. Claims name theirs in their items."""
    if entry.type == "Encounter":
        return entry.name
    direct = [*values_at(entry.resource, "encounter.reference"), *values_at(entry.resource, "item.encounter.reference")]
    for reference in (*direct, *values_at(entry.resource, "context.encounter.reference"), *_context(entry.resource)):
        name = resolved(reference, entry)
        target = by_name.get(name)
        if target and target.type == "Encounter":
            return target.name
    return resolved(direct[0], entry) if direct else None


def _context(resource: Json) -> list[str]:
    """`context` is a Reference to an Encounter or an EpisodeOfCare in older-shaped types; only an Encounter counts."""
    return values_at(resource, "context.reference")
