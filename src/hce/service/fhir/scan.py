"""One file of any form into what is in it and where: `scan`.

A hospital hands over what its system exports: one resource a file, Bundles (transaction, batch, collection, search result) or NDJSON (FHIR
Bulk Data). What is found is a *place*, not content: a folder may be larger than memory, so bytes are read again when they are sent.
Beside the place stands only what says whose the resource is: its names, whom it names, and the digest of its bytes.

Reading here is quick and lenient; `bundle.read_bundle` and the gate are strict and judge the same bytes later.

Names. An absolute fullUrl means the same everywhere. `urn:` names, and bare ids beside them, mean something inside their Bundle only. What
has no fullUrl is named `Type/id`, under `base` where one is given: the FHIR base URL the files came from. A reference is read from
where it stands. Inside a Bundle of its own names a bare one means what stands there; with `base` it has a second reading, under it.
Without, it has none outside: in another file the same bare name may be another system's other person.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any, BinaryIO, Final
from urllib.parse import unquote

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from hce.service.fhir.bundle import FHIR_ID, KEEPING_METHODS, MAX_NAME_CHARS, REST, TYPE_NAME, BundleBounds
from hce.service.fhir.catalogue import DEFINITIONS, DIRECTORY, NOT_KEPT, R4_TYPES, RULES, Json
from hce.service.fhir.identity import BY_IDENTIFIER
from hce.service.fhir.references import references_in, values_at

READ_TYPES: Final = frozenset({"transaction", "batch", "collection", "searchset"})
"""Bundles that hand over resources; a history holds old versions, a document and a message are attested wholes."""
SPACE: Final = b" \t\r\n"
"""White space of JSON."""
BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
"""Some systems put it before UTF-8; it is no part of a resource."""
LINE_READ_BYTES = 1 << 16

Key = str
"""What a resource is found by: an absolute URL, `Type/id`, `FILE#name` inside a Bundle, or `identifier|system|value`."""


class Place(Struct, frozen=True):
    """Where a resource's bytes are: in file number `file`, from `start`, `length` bytes."""

    file: int
    start: int
    length: int


class Found(Struct, frozen=True):
    """A resource that can be kept, should somebody be found whose it is."""

    place: Place
    entry: int
    """Position in the Bundle, or line in the NDJSON file, from 0."""
    type: str
    id: str
    full_url: str
    """As given, or made with `base`; "" when neither."""
    digest: bytes
    names: tuple[Key, ...]
    about: tuple[tuple[Key, ...], ...]
    """The patients it says it is about, each with the readings of that reference, likelier first."""
    refers: tuple[tuple[Key, ...], ...]
    """Everything it names, in the same way: what ties borrowed resources to their person."""
    updated: str
    """meta.lastUpdated, or ""."""


class Passed(Struct, frozen=True):
    """Something that is not handed over to be kept, by the code of the reason."""

    file: int
    entry: int
    """-1: the whole file."""
    type: str
    id: str
    code: str
    detail: str = ""


class ScanBounds(Struct, frozen=True):
    bundle: BundleBounds = BundleBounds()
    max_entries: int = 200_000
    """Of one Bundle: it is taken apart, so this is not a bound on what is sent."""


class _Outer(Struct, frozen=True):
    resource_type: str = msgspec.field(name="resourceType", default="")
    type: Any = ""
    entry: Raw = Raw()


class _Request(Struct, frozen=True):
    method: str = "POST"


class _Slot(Struct, frozen=True):
    full_url: str = msgspec.field(name="fullUrl", default="")
    resource: Raw = Raw()
    request: _Request = _Request()


class _Scanner(Struct, frozen=True):
    file: int
    base: str
    bounds: ScanBounds

    def whole(self, content: bytes) -> Iterator[Found | Passed]:
        """A file that is one JSON text."""
        try:
            outer = msgspec.json.decode(content, type=_Outer)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            yield Passed(self.file, -1, "", "", "fhir.not_json", "not a JSON object in UTF-8, or a Bundle of another shape")
            return
        if outer.resource_type != "Bundle":
            inner = content.strip(SPACE)
            yield self.resource(0, inner, content.index(inner), "", scoped=False)
        elif not isinstance(outer.type, str) or outer.type not in READ_TYPES:
            shown = outer.type if isinstance(outer.type, str) and TYPE_NAME.fullmatch(outer.type.replace("-", "")) else ""
            yield Passed(self.file, -1, "Bundle", "", "fhir.bundle_type", shown)
        elif (entries := _list_of(outer.entry) if bytes(outer.entry) else []) is None:
            yield Passed(self.file, -1, "Bundle", "", "fhir.no_resource", "its entries are no list")
        elif len(entries) > self.bounds.max_entries:
            yield Passed(self.file, -1, "Bundle", "", "fhir.bundle_too_large", f"more than {self.bounds.max_entries} entries")
        else:
            yield from self._entries(content, entries)

    def _entries(self, content: bytes, entries: list[Raw]) -> Iterator[Found | Passed]:
        """Entries keep their order in the text, so each is found from where the one before ended."""
        slots = [_slot(raw) for raw in entries]
        scoped = any(slot is not None and slot.full_url and not slot.full_url.startswith(REST) for slot in slots)
        at = 0
        for index, (raw, slot) in enumerate(zip(entries, slots, strict=True)):
            entry = bytes(raw)
            at = content.index(entry, at)
            if slot is None or len(slot.full_url) > MAX_NAME_CHARS:
                detail = f"not an object with resource, request and a fullUrl of at most {MAX_NAME_CHARS} characters"
                yield Passed(self.file, index, "", "", "fhir.entry", detail)
            elif not (inner := bytes(slot.resource)):
                yield Passed(self.file, index, "", "", "fhir.no_resource", "the entry has no resource")
            elif slot.request.method not in KEEPING_METHODS:
                yield Passed(self.file, index, "", "", "fhir.method", "only POST and PUT hand over a resource")
            else:
                yield self.resource(index, inner, at + entry.index(inner), slot.full_url, scoped)
            at += len(entry)

    def resource(self, index: int, content: bytes, start: int, full_url: str, scoped: bool) -> Found | Passed:
        if len(content) > self.bounds.bundle.max_resource_bytes:
            kind, given = _head(content)
            if kind not in DEFINITIONS and kind not in NOT_KEPT:
                limit = self.bounds.bundle.max_resource_bytes
                return Passed(self.file, index, kind, given, "fhir.too_large", f"{len(content)} bytes, at most {limit}")
            return Passed(self.file, index, kind, given, _class_code(kind))
        try:
            resource = msgspec.json.decode(content)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return Passed(self.file, index, "", "", "fhir.not_json", "not JSON in UTF-8, or nested too deeply")
        return self._named(index, content, start, full_url, scoped, resource)

    def _named(self, index: int, content: bytes, start: int, full_url: str, scoped: bool, resource: Any) -> Found | Passed:
        kind, given = _type_of(resource), _id_of(resource)
        if code := _class_code(kind):
            return Passed(self.file, index, kind, given, code)
        if not full_url and not given:
            return Passed(self.file, index, kind, "", "fhir.unnamed", "neither fullUrl nor id")
        if not full_url and self.base and not scoped:
            full_url = f"{self.base}/{kind}/{given}"
        whence = _Whence(self.file, kind, given, full_url, scoped, self.base)
        return Found(
            Place(self.file, start, len(content)),
            index,
            kind,
            given,
            full_url,
            hashlib.sha256(content).digest(),
            whence.names(resource),
            tuple(whence.about(resource)),
            tuple(dict.fromkeys(whence.readings(literal) for literal in references_in(resource))),
            next((stamp for stamp in values_at(resource, "meta.lastUpdated") if isinstance(stamp, str)), ""),
        )


class _Whence(Struct, frozen=True):
    """Where a resource stands: what it is called there, and what its references mean."""

    file: int
    type: str
    id: str
    full_url: str
    scoped: bool
    """Inside a Bundle that has names of its own."""
    base: str

    def names(self, resource: Json) -> tuple[Key, ...]:
        bare = f"{self.type}/{self.id}" if self.id else ""
        if self.full_url.startswith(REST):
            own = [self.full_url]
        elif self.scoped:
            own = [f"{self.file}#{name}" for name in (self.full_url, bare) if name]
        else:
            own = [bare]
        if self.type == "Patient":
            own += _identifier_keys(values_at(resource, "identifier"))
        return tuple(own)

    def readings(self, literal: str) -> tuple[Key, ...]:
        """What a reference can mean here, likelier first; nothing for a contained resource."""
        plain = literal.split("/_history/", 1)[0]
        if plain.startswith("#"):
            return ()
        if plain.startswith(REST):
            return (plain,)
        if plain.startswith(BY_IDENTIFIER):
            return (f"identifier|{unquote(plain.removeprefix(BY_IDENTIFIER))}",)
        if plain.startswith("urn:"):
            return (f"{self.file}#{plain}",)
        own_end = f"{self.type}/{self.id}"
        if self.full_url.startswith(REST) and self.full_url.endswith(own_end):
            return (self.full_url.removesuffix(own_end) + plain,)
        under_base = (f"{self.base}/{plain}",) if self.base else ()
        return (f"{self.file}#{plain}", *under_base) if self.scoped else under_base or (plain,)

    def about(self, resource: Json) -> Iterator[tuple[Key, ...]]:
        """Of a type in `RULES`: the references that say whose it is; a borrowed one may name its patient anywhere."""
        rule = RULES.get(self.type)
        if rule is None or self.type == "Patient":
            return
        for reference in values_at(resource, rule.patient) if rule.patient else ():
            if isinstance(reference, dict) and isinstance(literal := reference.get("reference"), str) and literal:
                yield self.readings(literal)
            elif isinstance(reference, dict) and isinstance(named := reference.get("identifier"), dict):
                yield _identifier_keys([named])


def scan(file: BinaryIO, number: int, lines: bool, base: str = "", bounds: ScanBounds | None = None) -> Iterator[Found | Passed]:
    """What is in one seekable file of unpacked bytes, in its order; `lines` for NDJSON. Nothing raises but the file itself."""
    scanner = _Scanner(number, base.rstrip("/"), bounds or ScanBounds())
    if lines:
        yield from _scan_lines(file, scanner)
        return
    limit = scanner.bounds.bundle.max_bundle_bytes
    content = file.read(limit + 1)
    if len(content) > limit:
        yield Passed(number, -1, "", "", "fhir.bundle_too_large", f"more than {limit} bytes")
    elif content.startswith(BYTE_ORDER_MARK):
        yield from (_moved(one, len(BYTE_ORDER_MARK)) for one in scanner.whole(content.removeprefix(BYTE_ORDER_MARK)))
    else:
        yield from scanner.whole(content)


def _moved(one: Found | Passed, by: int) -> Found | Passed:
    if isinstance(one, Passed):
        return one
    return replace(one, place=Place(one.place.file, one.place.start + by, one.place.length))


def _scan_lines(file: BinaryIO, scanner: _Scanner) -> Iterator[Found | Passed]:
    limit = scanner.bounds.bundle.max_resource_bytes
    start = 0
    for index, line in enumerate(_lines(file, limit + 2)):
        size = line if isinstance(line, int) else len(line)
        if isinstance(line, int):
            yield Passed(scanner.file, index, "", "", "fhir.too_large", f"{size} bytes, at most {limit}")
        elif content := line.removeprefix(BYTE_ORDER_MARK if start == 0 else b"").strip(SPACE):
            yield scanner.resource(index, content, start + line.index(content), "", scoped=False)
        start += size


def _lines(file: BinaryIO, limit: int) -> Iterator[bytes | int]:
    """Lines, or the length of one that is longer than the limit: it is not held in memory."""
    while line := file.readline(limit):
        if line.endswith(b"\n") or len(line) < limit:
            yield line
            continue
        size = len(line)
        while rest := file.readline(LINE_READ_BYTES):
            size += len(rest)
            if rest.endswith(b"\n"):
                break
        yield size


def _identifier_keys(identifiers: list[Any]) -> tuple[Key, ...]:
    """Those with a system and a value; old and temporary ones pick nobody."""
    found: list[Key] = []
    for one in identifiers:
        if not isinstance(one, dict) or one.get("use") in ("old", "temp"):
            continue
        system, value = one.get("system"), one.get("value")
        if isinstance(system, str) and isinstance(value, str) and system.strip() and value.strip():
            found.append(f"identifier|{system.strip()}|{value.strip()}")
    return tuple(found)


def _class_code(kind: str) -> str:
    """Why a resource of this type is never kept, "" when it may be."""
    if kind in RULES or kind in DIRECTORY:
        return ""
    if kind in DEFINITIONS:
        return "fhir.definition"
    return "fhir.type_not_kept" if kind in R4_TYPES else "fhir.unknown_type"


def _list_of(raw: Raw) -> list[Raw] | None:
    try:
        return msgspec.json.decode(raw, type=list[Raw])
    except msgspec.DecodeError:
        return None


def _slot(raw: Raw) -> _Slot | None:
    try:
        return msgspec.json.decode(raw, type=_Slot)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


class _Head(Struct, frozen=True):
    resource_type: str = msgspec.field(name="resourceType", default="")
    id: str = ""


def _head(content: bytes) -> tuple[str, str]:
    """Type and id of a resource that is too large to be taken whole."""
    try:
        head = msgspec.json.decode(content, type=_Head)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return "", ""
    return _type_of({"resourceType": head.resource_type}), _id_of({"id": head.id})


def _type_of(resource: Any) -> str:
    kind = resource.get("resourceType") if isinstance(resource, dict) else ""
    return kind if isinstance(kind, str) and TYPE_NAME.fullmatch(kind) else ""


def _id_of(resource: Any) -> str:
    given = resource.get("id") if isinstance(resource, dict) else ""
    return given if isinstance(given, str) and FHIR_ID.fullmatch(given) else ""
