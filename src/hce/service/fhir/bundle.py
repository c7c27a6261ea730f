"""A Bundle's bytes into entries that keep their exact bytes.

The Bundle is split by `msgspec.Raw`, so `Entry.content` is the very slice that was sent: white space, number spelling and member
order included. A record signs and keeps these bytes. Each resource is then parsed on its own, strictly (UTF-8, no member twice,
bounded depth), so that a broken one is named and the others go on. Only what breaks the outer JSON text itself refuses the whole Bundle.
"""

from __future__ import annotations

import json
import re
import zlib
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Raw, Struct

from hce.service.fhir.catalogue import NOT_KEPT, R4_TYPES, Json
from hce.service.fhir.errors import BundleMalformed, BundleTooLarge, BundleType, Problem
from hce.service.terms.records import MAX_INLINE_BYTES

MAX_BUNDLE_BYTES = 64 << 20
"""As sent, and again when unpacked."""
MAX_ENTRIES = 20_000
MAX_NAME_CHARS = 300
"""As `ContentItem.name`."""
REST = ("http://", "https://")
GZIP_MAGIC = b"\x1f\x8b"
BUNDLE_TYPES: Final = frozenset({"transaction", "batch", "collection"})
"""Bundles that hand over resources to keep."""
KEEPING_METHODS: Final = frozenset({"POST", "PUT"})
MAX_DEPTH = 100
"""Levels of objects and lists in a resource; real ones stay below 20."""
FHIR_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
TYPE_NAME = re.compile(r"[A-Za-z]{1,64}")


class BundleBounds(Struct, frozen=True):
    max_bundle_bytes: int = MAX_BUNDLE_BYTES
    max_entries: int = MAX_ENTRIES
    max_resource_bytes: int = MAX_INLINE_BYTES


class Entry(Struct, frozen=True):
    """One readable resource of a Bundle."""

    index: int
    type: str
    id: str
    """"" when the resource has none."""
    full_url: str
    """"" when the entry has none."""
    content: bytes
    """Exactly the Bundle's bytes of this resource."""
    resource: Json

    @property
    def name(self) -> str:
        return self.full_url or f"{self.type}/{self.id}"

    @property
    def names(self) -> tuple[str, ...]:
        """All its names, each of which no other entry may have."""
        return tuple(name for name in (self.full_url, f"{self.type}/{self.id}" if self.id else "") if name)

    @property
    def followed_as(self) -> tuple[str, ...]:
        """Names by which a resolved reference reaches it. What a server gave out is not reached by a bare `Type/id`: that could
        mean another server's."""
        return (self.full_url,) if self.full_url.startswith(REST) else self.names


class _Outer(Struct, frozen=True):
    resource_type: str = msgspec.field(name="resourceType")
    type: str
    entry: list[Raw] = []


class _Request(Struct, frozen=True):
    method: str = "POST"


class _Slot(Struct, frozen=True):
    full_url: Annotated[str, Meta(max_length=MAX_NAME_CHARS)] = msgspec.field(name="fullUrl", default="")
    resource: Raw = Raw()
    request: _Request = _Request()


class _DuplicateKey(ValueError):
    """An object names a member twice."""


def read_bundle(sent: bytes, bounds: BundleBounds) -> tuple[list[Entry], list[Problem]]:
    """The entries and the named problems, each in Bundle order. Not checked here: the FHIR structure of the resources.

    Errors: `fhir.bundle_malformed`, `fhir.bundle_type`, `fhir.bundle_too_large`.
    """
    entries: list[Entry] = []
    problems: list[Problem] = []
    taken: dict[str, int] = {}
    for index, raw in enumerate(_split(_unpack(sent, bounds.max_bundle_bytes), bounds.max_entries)):
        found = _read_entry(index, raw, bounds.max_resource_bytes)
        if isinstance(found, Entry):
            earlier = next((taken[name] for name in found.names if name in taken), None)
            if earlier is not None:
                found = problem_of(found, "fhir.duplicate", f"entry {earlier} has the same name")
            else:
                taken.update(dict.fromkeys(found.names, index))
        if isinstance(found, Entry):
            entries.append(found)
        else:
            problems.append(found)
    return entries, problems


def read_resource(content: bytes, max_bytes: int = MAX_INLINE_BYTES) -> Entry | Problem:
    """One resource that came alone, under its own type and id. Not checked here: its FHIR structure."""
    if len(content) > max_bytes:
        return Problem(0, "", "fhir.too_large", f"{len(content)} bytes, at most {max_bytes}")
    parsed = _parse(0, content)
    return parsed if isinstance(parsed, Problem) else _named(0, _Slot(), content, parsed)


def problem_of(entry: Entry, code: str, detail: str) -> Problem:
    return Problem(entry.index, entry.type, code, detail, entry.id)


def _unpack(sent: bytes, max_bytes: int) -> bytes:
    if len(sent) > max_bytes:
        raise BundleTooLarge("bytes as sent", limit=max_bytes, actual=len(sent))
    if not sent.startswith(GZIP_MAGIC):
        return sent
    unzip = zlib.decompressobj(wbits=31)
    try:
        plain = unzip.decompress(sent, max_bytes + 1)
    except zlib.error as broken:
        raise BundleMalformed("not gzip") from broken
    if len(plain) > max_bytes:
        raise BundleTooLarge("bytes unpacked", limit=max_bytes)
    if not unzip.eof or unzip.unused_data:
        raise BundleMalformed("gzip is cut short or followed by other bytes")
    return plain


def _split(plain: bytes, max_entries: int) -> list[Raw]:
    try:
        outer = msgspec.json.decode(plain, type=_Outer)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as broken:
        raise BundleMalformed("not a JSON Bundle with a list of entries") from broken
    if outer.resource_type != "Bundle":
        raise BundleMalformed("not a Bundle")
    if outer.type not in BUNDLE_TYPES:
        raise BundleType("only a transaction, batch or collection is read")
    if len(outer.entry) > max_entries:
        raise BundleTooLarge("entries", limit=max_entries, actual=len(outer.entry))
    return outer.entry


def _read_entry(index: int, raw: Raw, max_resource_bytes: int) -> Entry | Problem:
    try:
        slot = msgspec.json.decode(raw, type=_Slot)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Problem(index, "", "fhir.entry", "not an object with resource, request and a fullUrl of at most 300 characters")
    content = bytes(slot.resource)
    if not content:
        return Problem(index, "", "fhir.no_resource", "the entry has no resource")
    if len(content) > max_resource_bytes:
        return Problem(index, "", "fhir.too_large", f"{len(content)} bytes, at most {max_resource_bytes}")
    parsed = _parse(index, content)
    return parsed if isinstance(parsed, Problem) else _named(index, slot, content, parsed)


def _parse(index: int, content: bytes) -> Json | Problem:
    try:
        resource = json.loads(content.decode(), object_pairs_hook=_object)
    except _DuplicateKey:
        return Problem(index, "", "fhir.duplicate_key", "an object names a member twice")
    except RecursionError:
        return Problem(index, "", "fhir.too_deep", f"nested deeper than {MAX_DEPTH}")
    except ValueError:
        return Problem(index, "", "fhir.not_json", "not JSON in UTF-8")
    if not isinstance(resource, dict):
        return Problem(index, "", "fhir.no_resource", "the resource is not an object")
    return Problem(index, "", "fhir.too_deep", f"nested deeper than {MAX_DEPTH}") if _deeper_than(resource, MAX_DEPTH) else resource


def _deeper_than(node: Any, levels: int) -> bool:
    """Level by level, so that the answer does not depend on how deep the caller's own stack is."""
    level = [node]
    for _ in range(levels):
        level = [
            inner
            for item in level
            for inner in (item.values() if isinstance(item, dict) else item if isinstance(item, list) else ())
        ]
        if not level:
            return False
    return True


def _named(index: int, slot: _Slot, content: bytes, resource: Json) -> Entry | Problem:
    """The type and names of a parsed resource: what every later problem is reported under."""
    kind, given = resource.get("resourceType"), resource.get("id", "")
    shown = kind if isinstance(kind, str) and TYPE_NAME.fullmatch(kind) else ""
    if shown not in R4_TYPES:
        return Problem(index, shown, "fhir.unknown_type", "not a FHIR R4 resource type")
    if not isinstance(given, str) or (given and not FHIR_ID.fullmatch(given)):
        return Problem(index, shown, "fhir.invalid", "/id: the wrong form for this data type")
    entry = Entry(index, shown, given, slot.full_url, content, resource)
    if shown in NOT_KEPT:
        return problem_of(entry, "fhir.type_not_kept", "this type is not one person's record")
    if slot.request.method not in KEEPING_METHODS:
        return problem_of(entry, "fhir.method", "only POST and PUT hand over a resource")
    if not entry.names:
        return problem_of(entry, "fhir.unnamed", "neither fullUrl nor id")
    if given and slot.full_url.startswith(REST) and not slot.full_url.endswith(f"/{shown}/{given}"):
        return problem_of(entry, "fhir.name_mismatch", "fullUrl does not end in the resource's type and id")
    return entry


def _object(pairs: list[tuple[str, Any]]) -> Json:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise _DuplicateKey
    return made
