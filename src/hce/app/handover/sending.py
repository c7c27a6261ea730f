"""Sends what was sorted out: a few people side by side, each person's Bundles in order, again when the gateway was away.

An import may be killed anywhere and run again: the gateway leaves out what it has, by its bytes. So what fails for a passing reason (the
gateway was restarted, records of a broken import are not decided yet) is simply sent again for a while.

Nothing is taken to be there because nothing else was heard of it: of each Bundle the gateway must say of every entry that it was written,
was there, or is refused.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from hce.app.gateway_client import GatewayClient
from hce.app.handover.files import Files
from hce.foundation.types.errors import HceError, Refused
from hce.service.fhir.gate import default_gate
from hce.service.fhir.scan import Found, Passed, Place
from hce.service.fhir.sorting import ORGANISATION, Group, different_people

SIDE_BY_SIDE = 4
"""People whose Bundles are on their way at one time: while blocks are made for one, another is sealed."""
PATIENCE_S = 300.0
"""How long what fails for a passing reason is tried again while nothing becomes final: longer than a broken import can stay undecided."""
PAUSE_S = 2.0
UNREADABLE = "import.unreadable"
DEFINITION = "fhir.definition"


class PatientConflict(Refused):
    """Patients of one name that are not surely one person: nothing under that name can be said to be either's."""

    code = "fhir.patient_conflict"
    status = 409


class Unaccounted(Refused):
    """Of some resources of a Bundle the gateway said neither that they are in nor that they are refused."""

    code = "import.unaccounted"
    status = 409


class Sent(Struct):
    """What became of one group so far."""

    label: str
    """Who it is; until the gateway says so, where their Patient was found."""
    known: bool = False
    """The gateway knows whose it is."""
    custodial: bool = False
    records: int = 0
    resources: int = 0
    amended: int = 0
    refused: dict[int, Passed] = {}
    """By place in `Group.found`: what every part so far that holds it was told."""
    taken: set[int] = set()
    """Places of what a part brought in, or found there already."""
    before: tuple[int, int] = (0, 0)
    """Records and resources before the present attempt."""
    already: int = 0
    """Resources of parts that are through which the gateway had."""
    failure: HceError | None = None
    """Why the rest was not sent."""


Tell = Callable[[Group, Sent, bool], None]
"""Told after each step of a group, and with True when it is finished."""


async def known_names(client: GatewayClient) -> dict[str, str]:
    """Absolute names under which the gateway knows people -> patient_id; a name of two people is nobody's."""
    named = [(name, one["patient_id"]) for one in await client.get("/v1/patients") for name in one["called"]]
    times = Counter(name for name, _ in named)
    return {name: patient_id for name, patient_id in named if times[name] == 1}


async def send_all(client: GatewayClient, files: Files, groups: Sequence[Group], patient_id: str, tell: Tell) -> list[Sent]:
    """What became of each group, in order. Never raises for one of them."""
    room = asyncio.Semaphore(SIDE_BY_SIDE)

    async def send(group: Group) -> Sent:
        async with room:
            sent = Sent(files.called((group.patients or group.found)[0]))
            try:
                await _send_group(client, files, group, patient_id, sent, lambda: tell(group, sent, False))
            except HceError as error:
                sent.failure = error
            except OSError as error:
                sent.failure = Unreadable(error.strerror or "")
            tell(group, sent, True)
            return sent

    return await asyncio.gather(*map(send, groups))


class Unreadable(Refused):
    """A file cannot be read any more."""

    code = UNREADABLE


async def _send_group(
    client: GatewayClient, files: Files, group: Group, patient_id: str, sent: Sent, tell: Callable[[], None]
) -> None:
    if len(group.patients) > 1:
        _require_one_person(files, group)
    places = {one.place: number for number, one in enumerate(group.found)}
    known = group.patient_id or patient_id
    options = {"about": "organisation"} if group.name == ORGANISATION else {"patient_id": known} if known else {}
    for part in group.parts:
        bundle = await asyncio.to_thread(bundle_of, files, part)
        moved_s = time.monotonic()
        amended, written = sent.amended, sent.resources
        while True:
            try:
                problems: set[int] = set()
                said: dict[str, dict[str, Any]] = {}
                async for event in client.import_bundle(bundle, **options):
                    said[event["event"]] = event
                    _note(sent, event, part, places, amended, problems)
                    if event["event"] == "progress":
                        moved_s = time.monotonic()
                    tell()
                _require_account(said, len(part), len(problems))
                _settle(sent, {places[one.place] for one in part} - problems, sent.resources - written)
                break
            except HceError as error:
                if error.status < 500 or time.monotonic() - moved_s >= PATIENCE_S:
                    raise
                await asyncio.sleep(PAUSE_S)


def _require_account(said: dict[str, dict[str, Any]], entries: int, problems: int) -> None:
    """Raises `Unaccounted` unless the gateway's own counts are of every entry it was sent."""
    already = said.get("planned", {}).get("already_written", 0)
    accounted = already + said["finished"]["resources"] + problems
    if accounted != entries:
        raise Unaccounted(expected=entries, actual=accounted)


def _settle(sent: Sent, taken: set[int], written: int) -> None:
    """A part is through. Several parts hold a resource that others are found by, and what one refuses another may take."""
    sent.already += len(taken - sent.taken) - written
    sent.taken |= taken
    for place in taken & sent.refused.keys():
        del sent.refused[place]


def _note(
    sent: Sent, event: dict[str, Any], part: Sequence[Found], places: dict[Place, int], amended: int, problems: set[int]
) -> None:
    """One event of one attempt. What became final unseen before an attempt broke off is found already there by the next."""
    if event["event"] == "planned":
        sent.label, sent.custodial, sent.known = event["label"] or sent.label, event["custodial"], True
        sent.amended = max(sent.amended, amended + event["amended"])
        sent.before = (sent.records, sent.resources)
    elif event["event"] == "problem":
        found = part[event["index"]]
        problem = Passed(found.place.file, found.entry, found.type, found.id, event["code"], event["detail"])
        problems.add(places[found.place])
        if places[found.place] not in sent.taken:
            sent.refused[places[found.place]] = problem
    elif event["event"] == "progress":
        sent.records = sent.before[0] + event["records_done"]
        sent.resources = sent.before[1] + event["resources_done"]


def _require_one_person(files: Files, group: Group) -> None:
    """A Patient that cannot be read may be anybody: what hangs on that name may be theirs."""
    patients = [json.loads(files.content(one)) for one in group.patients]
    if any(default_gate().fault_of(patient) for patient in patients) or different_people(patients):
        raise PatientConflict("Patients of one name are not surely one person; import their files one after another")


def bundle_of(files: Files, part: Sequence[Found]) -> bytes:
    """A collection Bundle around the exact bytes of some resources."""
    entries: list[bytes] = []
    for one in part:
        name = b'"fullUrl":' + msgspec.json.encode(one.full_url) + b"," if one.full_url else b""
        entries.append(b"{" + name + b'"resource":' + files.content(one) + b"}")
    return b'{"resourceType":"Bundle","type":"collection","entry":[' + b",\n".join(entries) + b"]}"


class Reject(Struct, frozen=True):
    """One line of the list of what was refused."""

    file: str
    entry: int
    """Position in the Bundle or line of the NDJSON file, from 0; -1 for a whole file."""
    type: str
    id: str
    code: str
    detail: str
    resources: int
    """How many resources this is about: more than one for a person nothing could be sent for."""


class Outcome(Struct, frozen=True):
    """What became of everything handed over: resources, already, repeated, definitions and refused add up to all that was in the files."""

    files: int
    aside: int
    """Files in the folders that are not JSON or NDJSON."""
    patients: int
    """People that something was sent for."""
    records: int
    resources: int
    """Written now, final."""
    amended: int
    """Of these, later versions of what was here."""
    already: int
    """Here before, as the gateway says; not those of a person whose import failed before it came to them."""
    repeated: int
    """The same name and bytes twice in what was handed over."""
    definitions: dict[str, int]
    """Not imported, by type: nobody's data."""
    problems: int
    """Resources refused."""
    refused: dict[str, int]
    """The same by code."""
    failed: int
    """People, or files, that nothing or not everything could be taken of."""
    rejects: list[Reject]


def outcome_of(
    files: Files, aside: int, groups: Sequence[Group], passed: Sequence[Passed], repeated: int, sent: Sequence[Sent]
) -> Outcome:
    rejects = [_reject(files, one, 1) for one in passed if one.code != DEFINITION]
    failed = 0
    for group, one in zip(groups, sent, strict=True):
        rejects += [_reject(files, problem, 1) for _, problem in sorted(one.refused.items())]
        if one.failure is None:
            continue
        failed += 1
        first = (group.patients or group.found)[0]
        named = Passed(first.place.file, first.entry, first.type, first.id, one.failure.code, one.failure.detail)
        rejects.append(_reject(files, named, len(group.found) - one.resources - one.already - len(one.refused)))
    refused: Counter[str] = Counter()
    for reject in rejects:
        refused[reject.code] += reject.resources
    return Outcome(
        files=len(files.sources),
        aside=aside,
        patients=sum(group.name != ORGANISATION and one.known for group, one in zip(groups, sent, strict=True)),
        records=sum(one.records for one in sent),
        resources=sum(one.resources for one in sent),
        amended=sum(one.amended for one in sent),
        already=sum(one.already for one in sent),
        repeated=repeated,
        definitions=dict(sorted(Counter(one.type for one in passed if one.code == DEFINITION).items())),
        problems=sum(refused.values()),
        refused=dict(sorted(refused.items())),
        failed=failed + len({one.file for one in passed if one.entry < 0}),
        rejects=rejects,
    )


def _reject(files: Files, one: Passed, resources: int) -> Reject:
    return Reject(files.sources[one.file].name, one.entry, one.type, one.id, one.code, one.detail, resources)
