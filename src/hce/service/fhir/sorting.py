"""Whose is what: the places `scan` found become one group for each person, and one for the organisation itself.

A resource goes to the patient it says it is about, by a name that leads to exactly one Patient among those handed over, or by an absolute
name under which the gateway knows somebody (an export of what changed holds no Patient that did not change). A borrowed
one (a medicine, a file, a device) goes to everybody whose resource names it, else to the one person whose resource it names. What leads to
nobody is passed by name. The gateway checks all of it again, strictly, before anything is sealed: a mistake here is refused there.

The same name with the same bytes is one resource. The same name with other bytes is a later version: by `meta.lastUpdated` where all
versions have one, else in the order handed over. A group is cut into parts that are sent one after another; a later part holds the later
versions, and beside them everything else, because dates and encounters are found through what stands beside (what was written before is
left out by its bytes).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime

from msgspec import Struct

from hce.service.fhir.bundle import BundleBounds, Entry
from hce.service.fhir.catalogue import DIRECTORY, RULES, STOCK, Json
from hce.service.fhir.identity import Match, identify, same_person, the_same_entry
from hce.service.fhir.scan import Found, Key, Passed

ENVELOPE_BYTES = 400
"""What an entry adds to its resource in a Bundle, at most: fullUrl and punctuation."""
ORGANISATION = ""
"""Name of the organisation's own group."""


class Group(Struct, frozen=True):
    """What is sent for one person, or for the organisation: Bundles, one after another."""

    name: Key
    """Of the Patient; `ORGANISATION` for the organisation's own."""
    patients: list[Found]
    """Versions of the Patient, oldest first; none for the organisation."""
    parts: list[list[Found]]
    """Each with exactly one Patient, first; with none for the organisation, and for somebody the gateway knows."""
    patient_id: str = ""
    """Set when the Patient was not handed over: whom the gateway knows under this name."""

    @property
    def found(self) -> list[Found]:
        """Every resource once, in the order handed over."""
        once = {one.place: one for part in self.parts for one in part}
        return sorted(once.values(), key=lambda one: (one.place.file, one.place.start))


class Sorted(Struct, frozen=True):
    groups: list[Group]
    """In the order of their first resource; the organisation's own last."""
    passed: list[Passed]
    repeated: int
    """Resources whose name and bytes were handed over before."""


def sort_out(found: Sequence[Found], bounds: BundleBounds | None = None, known: Mapping[Key, str] | None = None) -> Sorted:
    """Groups of everything found, in the order found. `known`: absolute names of patients -> patient_id at the gateway."""
    limits = bounds or BundleBounds()
    people = _People(found, known or {})
    owners, passed = _owners(found, people)
    groups: list[Group] = []
    repeated = 0
    for name, members in owners.items():
        versions, again = _versions(members)
        repeated += again
        patients = next((chain for chain in versions if chain[0].type == "Patient"), [])
        patient_id = "" if patients else (known or {}).get(name, "")
        groups.append(Group(name, patients, list(_parts(versions, patients, patient_id, limits)), patient_id))
    groups.sort(key=lambda group: group.name == ORGANISATION)
    return Sorted(groups, passed, repeated)


def different_people(patients: Iterable[Json]) -> bool:
    """Whether Patients of one name are not surely one person: two systems may give the same id to two people."""
    identities = [identify(Entry(0, "Patient", "of-one-name", "", b"", patient)) for patient in patients]
    return any(
        same_person(identities[0], other).match is not Match.YES and not the_same_entry(identities[0], other)
        for other in identities[1:]
    )


class _People:
    """Who is among those handed over or known, by every name and identifier; one that means two people means nobody."""

    def __init__(self, found: Iterable[Found], known: Iterable[Key]) -> None:
        self._named: dict[Key, Key] = {name: name for name in known}
        by_identifier: dict[Key, set[Key]] = {}
        for one in found:
            if one.type != "Patient":
                continue
            for key in one.names:
                if key.startswith("identifier|"):
                    by_identifier.setdefault(key, set()).add(one.names[0])
                else:
                    self._named[key] = one.names[0]
        self._named |= {key: next(iter(names)) for key, names in by_identifier.items() if len(names) == 1}

    def meant(self, readings: Iterable[Key]) -> Key | None:
        return next((self._named[key] for key in readings if key in self._named), None)

    def among(self, references: Iterable[tuple[Key, ...]]) -> set[Key]:
        return {name for readings in references if (name := self.meant(readings)) is not None}


def _owners(found: Sequence[Found], people: _People) -> tuple[dict[Key, list[Found]], list[Passed]]:
    """Group name -> its resources, in order."""
    placed: dict[int, set[Key]] = {}
    loose: dict[int, Found] = {}
    passed: list[Passed] = []
    for index, one in enumerate(found):
        if one.type == "Patient":
            placed[index] = {one.names[0]}
        elif one.type in DIRECTORY:
            placed[index] = {ORGANISATION}
        elif RULES[one.type].borrowed:
            loose[index] = one
        elif (name := next((meant for readings in one.about if (meant := people.meant(readings))), None)) is not None:
            placed[index] = {name}
        else:
            passed.append(_no_owner(one))
    passed += _place_borrowed(found, people, placed, loose)
    owners: dict[Key, list[Found]] = {}
    for index in sorted(placed):
        for name in sorted(placed[index]):
            owners.setdefault(name, []).append(found[index])
    return owners, passed


def _place_borrowed(
    found: Sequence[Found], people: _People, placed: dict[int, set[Key]], loose: Mapping[int, Found]
) -> Iterator[Passed]:
    """Directly named people first, then whoever's resources name it, then whose resources it names; the rest stays without a person."""
    by_name = {key: index for index, one in enumerate(found) for key in one.names}
    targets = {index: _targets(one, by_name) for index, one in enumerate(found) if index in placed or index in loose}
    lost: dict[int, Passed] = {}
    for index, one in loose.items():
        named = people.among((*one.about, *one.refers))
        if len(named) == 1:
            placed[index] = named
        elif named or _names_a_stranger(one):
            code = "fhir.wrong_patient" if named else "fhir.patient_unknown"
            lost[index] = _passed(one, code, f"names {len(named)} of the patients handed over")
    _spread(placed, targets, loose, lost)
    for index, one in loose.items():
        if index in placed or index in lost:
            continue
        named = {name for target in targets[index] for name in placed.get(target, ()) if name != ORGANISATION}
        if len(named) == 1:
            placed[index] = named
            _spread(placed, targets, loose, lost)
        elif named:
            lost[index] = _passed(one, "fhir.wrong_patient", "names resources of several patients")
    for index, one in loose.items():
        if index in placed or index in lost:
            continue
        if one.type in STOCK:
            placed[index] = {ORGANISATION}
        else:
            lost[index] = _passed(one, "fhir.no_patient", "names no patient, and nothing of a patient's names it")
    yield from lost.values()


def _spread(
    placed: dict[int, set[Key]], targets: Mapping[int, list[int]], loose: Mapping[int, Found], lost: Mapping[int, Passed]
) -> None:
    """A borrowed resource that names nobody itself belongs to everybody whose resource names it, from one to the next."""
    sure = {index for index in placed if index in loose}
    waiting = [index for index, names in placed.items() if names != {ORGANISATION}]
    while waiting:
        here = waiting.pop()
        for there in targets.get(here, ()):
            if there in loose and there not in lost and there not in sure and not placed[here] <= placed.get(there, set()):
                placed[there] = placed.get(there, set()) | placed[here]
                waiting.append(there)


def _targets(one: Found, by_name: Mapping[Key, int]) -> list[int]:
    meant = (next((by_name[key] for key in readings if key in by_name), None) for readings in one.refers)
    return [index for index in meant if index is not None]


def _names_a_stranger(one: Found) -> bool:
    return any("Patient/" in key for readings in (*one.about, *one.refers) for key in readings)


def _no_owner(one: Found) -> Passed:
    if not one.about:
        return _passed(one, "fhir.no_patient", f"/{RULES[one.type].patient.replace('.', '/')} names nobody that can be checked")
    if not any(one.about):
        return _passed(one, "fhir.no_patient", "the patient is inside the resource, without an account of their own")
    return _passed(one, "fhir.patient_unknown", f"/{RULES[one.type].patient.replace('.', '/')}")


def _passed(one: Found, code: str, detail: str) -> Passed:
    return Passed(one.place.file, one.entry, one.type, one.id, code, detail)


def _versions(members: Sequence[Found]) -> tuple[list[list[Found]], int]:
    """For each name its versions, oldest first; how many were the same again."""
    chains: dict[Key, list[Found]] = {}
    repeated = 0
    for one in members:
        chain = chains.setdefault(_sent_name(one), [])
        if any(other.digest == one.digest for other in chain):
            repeated += 1
        else:
            chain.append(one)
    return [_oldest_first(chain) for chain in chains.values()], repeated


def _oldest_first(chain: list[Found]) -> list[Found]:
    """By the moment, not by its text: the same moment has another text in another time zone."""
    moments = [(_moment(one.updated), one) for one in chain]
    dated = [(moment, one) for moment, one in moments if moment is not None]
    return [one for _, one in sorted(dated, key=lambda pair: pair[0])] if len(dated) == len(chain) else chain


def _moment(stamp: str) -> datetime | None:
    """Of a FHIR instant; None for what is none."""
    try:
        moment = datetime.fromisoformat(stamp)
    except ValueError:
        return None
    return None if moment.tzinfo is None else moment


def _sent_name(one: Found) -> Key:
    """What the gateway will call it, and keep apart by: `bundle.Entry.name`."""
    return one.full_url or f"{one.type}/{one.id}"


def _parts(
    versions: Sequence[Sequence[Found]], patients: Sequence[Found], patient_id: str, limits: BundleBounds
) -> Iterator[list[Found]]:
    lines = _lines([chain for chain in versions if chain[0].type != "Patient"])
    for layer in range(max([len(patients), *map(len, lines)], default=0)):
        head = [patients[min(layer, len(patients) - 1)]] if patients else []
        # Things of the organisation are tied to nothing beside them: a later part holds the later versions alone.
        members = [line[min(layer, len(line) - 1)] for line in lines if patients or patient_id or layer < len(line)]
        yield from (head + part for part in _cut(members, limits))


def _lines(chains: Sequence[Sequence[Found]]) -> list[list[Found]]:
    """What cannot stand in one Bundle together, in turn: versions, and names that differ in their server only."""
    lines: dict[Key, list[Found]] = {}
    for chain in chains:
        lines.setdefault(f"{chain[0].type}/{chain[0].id}" if chain[0].id else chain[0].full_url, []).extend(chain)
    return list(lines.values())


def _cut(members: Sequence[Found], limits: BundleBounds) -> Iterator[list[Found]]:
    """Parts that keep the bounds of a Bundle, with room for the Patient; one without members for a Patient alone."""
    part: list[Found] = []
    room = limits.max_bundle_bytes - limits.max_resource_bytes - 2 * ENVELOPE_BYTES
    size = 0
    for one in members:
        if part and (len(part) == limits.max_entries - 1 or size + one.place.length + ENVELOPE_BYTES > room):
            yield part
            part, size = [], 0
        part.append(one)
        size += one.place.length + ENVELOPE_BYTES
    yield part
