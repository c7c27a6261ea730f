"""The structural gate: is this a FHIR R4 resource of the type it says?

Each resource is checked against the definition of its own type, not against the schema's `oneOf` over all types: faster, and the
fault found is the one a person would name. Not checked: invariants, slices, terminology, whether references lead anywhere, and
whether a required *primitive* is there (FHIR lets an extension stand in for it, so the published schema requires none).
A fault names a place and a rule, never a value.
"""

from __future__ import annotations

import functools
import gzip
import json
import re
import zlib
from pathlib import Path
from typing import Any

import jsonschema_rs
from msgspec import Struct

from hce.service.fhir.catalogue import R4_TYPES, Json
from hce.service.fhir.errors import SchemaCorrupt, SchemaMissing

SCHEMA_PATH = Path(__file__).with_name("fhir.schema.json.gz")
MAX_CONTAINED = 256
ELEMENT_NAME = re.compile(r"_?[A-Za-z][A-Za-z0-9]{0,63}")

REASONS = {
    "required": "a required element is missing",
    "additionalProperties": "an element that this type does not have",
    "type": "the wrong JSON type",
    "enum": "a code outside the required set",
    "const": "the wrong fixed value",
    "pattern": "the wrong form for this data type",
}


class Fault(Struct, frozen=True):
    """Where and why, without the value."""

    path: str
    """JSON pointer inside the resource; "" is the resource itself."""
    reason: str


class Gate:
    """Holds one compiled validator per resource type, compiled at first use (about 10 ms each)."""

    def __init__(self, schema: Json) -> None:
        self._schema = schema
        self._validators: dict[str, Any] = {}

    def fault_of(self, resource: Json) -> Fault | None:
        """The first fault of a resource, or of a resource it contains; or None. Which type it is, is for the caller to ask."""
        if fault := self._fault(resource):
            return fault
        contained = resource.get("contained", [])
        if len(contained) > MAX_CONTAINED:
            return Fault("/contained", f"more than {MAX_CONTAINED} contained resources")
        return next((fault for place, inner in enumerate(contained) if (fault := self._contained_fault(place, inner))), None)

    def _contained_fault(self, place: int, inner: Json) -> Fault | None:
        path = f"/contained/{place}"
        if "contained" in inner:
            return Fault(path + "/contained", "a contained resource contains another")
        fault = self._fault(inner)
        return Fault(path + fault.path, fault.reason) if fault else None

    def _fault(self, resource: Json) -> Fault | None:
        name = resource.get("resourceType")
        if not isinstance(name, str) or name not in R4_TYPES:
            return Fault("/resourceType", "not a FHIR R4 resource type")
        validator = self._validator(name)
        try:
            if validator.is_valid(resource):
                return None
            return _describe(next(validator.iter_errors(resource)))
        except ValueError:
            # The validator takes no text with half a surrogate pair.
            return Fault("", "text that is not Unicode")

    def _validator(self, name: str) -> Any:
        if name not in self._validators:
            # The plain regex engine is linear in its input; a hostile value cannot make it backtrack.
            self._validators[name] = jsonschema_rs.Draft6Validator(
                {**self._schema, "$ref": f"#/definitions/{name}"},
                pattern_options=jsonschema_rs.RegexOptions(),
                validate_formats=False,
            )
        return self._validators[name]


def _describe(error: Any) -> Fault:
    rule = error.kind.name
    reason = REASONS.get(rule, f"breaks the rule {rule}")
    if rule == "required":
        reason = f"{reason}: {error.kind.property}"
    if rule == "additionalProperties":
        reason = f"{reason}: {', '.join(sorted(_element(name) for name in error.kind.unexpected)[:4])}"
    return Fault("".join(f"/{_element(step)}" for step in error.instance_path), reason)


def _element(step: str | int) -> str:
    """A step of a path; names that no FHIR element could have are not repeated, they may be data."""
    text = str(step)
    return text if isinstance(step, int) or ELEMENT_NAME.fullmatch(text) else "?"


def load_gate(path: Path = SCHEMA_PATH) -> Gate:
    """Reads the built schema. Errors: `fhir.schema_missing` (run `make install`), `fhir.schema_corrupt`."""
    try:
        packed = path.read_bytes()
    except FileNotFoundError as absent:
        raise SchemaMissing("the FHIR schema is not built; run `make install`", path=path.name) from absent
    try:
        schema = json.loads(gzip.decompress(packed))
        complete = schema["definitions"].keys() >= R4_TYPES
    except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError, AttributeError) as broken:
        raise SchemaCorrupt("the FHIR schema cannot be read; run `make install`", path=path.name) from broken
    if not complete:
        raise SchemaCorrupt("the FHIR schema lacks resource types; run `make install`", path=path.name)
    return Gate(schema)


@functools.cache
def default_gate() -> Gate:
    """The built schema, loaded at first use and kept for the life of the process."""
    return load_gate()
