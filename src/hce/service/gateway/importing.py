"""FHIR Bundles become records: checked, matched to a person, grouped, sealed, published; nothing twice.

One Bundle is one walk: plan (pure), find the person, drop resources that were written before, seal by visit, publish in batches. A
resource that was here under the same name with other bytes is a later version: its record names the one it amends.
Three batches are in flight at one time: while they become final the next is sealed. A batch that fails stops the walk with its reason;
what was final before stays, and importing the same Bundle again goes on where it stopped. Nothing is written twice, wherever a kill
falls: what is on its way is in the index with the last block that may hold it, and the chain is asked before anything else is written.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from itertools import groupby

from msgspec import Struct

from hce.foundation.codec.dagcbor import decode_as
from hce.foundation.types.errors import Unavailable
from hce.service.fhir.directory import plan_directory
from hce.service.fhir.grouping import ImportPlan, PlannedRecord, plan_import
from hce.service.gateway.people import identity_of
from hce.service.gateway.practice import Practice
from hce.service.index.store import KnownResources, Patient, PendingRecord, Resource, WrittenRecord
from hce.service.sdk.author import Author, NotDurable
from hce.service.sdk.errors import Failed
from hce.service.terms.grants import SignedToken
from hce.service.terms.records import MAX_PARENTS, ContentItem
from hce.service.terms.states import key_record
from hce.service.vault.sealing import AuthoringSession, Batch, make_batch

BATCH_RECORDS = 200
"""Records published together: nodes flush and vouch once for all of them; a third of what the per-transaction steps allow."""
BATCH_BYTES = 4 << 20
"""Resource bytes published together."""
IN_FLIGHT = 3
SETTLE_WAIT_S = 30.0
"""How long an import waits for what an earlier one left undecided."""
SETTLE_POLL_S = 0.5


class ImportUndecided(Unavailable):
    """Records of an import that broke off may still become final; until that is known, nothing is written for this person."""

    code = "import.undecided"


class Progress(Struct, frozen=True, tag_field="event", tag="progress"):
    """What a person watching sees."""

    records_done: int
    records_total: int
    resources_done: int


class Planned(Struct, frozen=True, tag_field="event", tag="planned"):
    patient_id: str
    label: str
    custodial: bool
    records: int
    resources: int
    already_written: int
    shared: int
    amended: int = 0
    """Of the resources: later versions of some that are here already."""


class EntryProblem(Struct, frozen=True, tag_field="event", tag="problem"):
    """One entry that was not imported; the others go on."""

    index: int
    type: str
    code: str
    detail: str


class Finished(Struct, frozen=True, tag_field="event", tag="finished"):
    """What came of it."""

    patient_id: str
    records: list[str]
    """record ids, hex."""
    resources: int
    problems: int


Event = Planned | EntryProblem | Progress | Finished


class Sealed(Struct, frozen=True):
    """A batch with what the index shall know of it."""

    batch: Batch
    written: list[tuple[WrittenRecord, list[Resource]]]
    resources: int


async def import_bundle(
    practice: Practice, bundle: bytes, author: bytes | None = None, patient_id: str | None = None
) -> AsyncGenerator[Event, None]:
    """Events of one import. Raises what refuses the whole Bundle; a broken entry is an event and stops nothing."""
    if author is not None:
        await practice.require_author(author)
    known = None if patient_id is None else practice.index.patient(patient_id)
    identity = None if known is None else identity_of(known)
    plan = await asyncio.to_thread(plan_import, bundle, today=today_of(practice), known=identity)
    patient = await practice.patient_for(plan.identity, patient_id)
    async with aclosing(_write(practice, plan, patient, author)) as events:
        async for event in events:
            yield event


async def import_directory(practice: Practice, bundle: bytes, author: bytes | None = None) -> AsyncGenerator[Event, None]:
    """The same for what the organisation keeps about itself, into its own compartment."""
    if author is not None:
        await practice.require_author(author)
    own = await practice.own_account()
    plan = await asyncio.to_thread(plan_directory, bundle, identity_of(own), today_of(practice))
    async with aclosing(_write(practice, plan, own, author)) as events:
        async for event in events:
            yield event


async def _write(practice: Practice, plan: ImportPlan, patient: Patient, author: bytes | None) -> AsyncGenerator[Event, None]:
    """What of a plan is not written yet, as one account's records."""
    async with practice.writing_for(patient.patient_id):
        patient = practice.index.patient(patient.patient_id) or patient  # who took their account over meanwhile
        await settled(practice, patient.patient_id)
        for problem in plan.problems:
            yield EntryProblem(problem.index, problem.type, problem.code, problem.detail)
        fresh, repeated, amended = not_yet_written(plan, practice.index.known_resources(patient.patient_id))
        yield Planned(
            patient.patient_id,
            patient.label,
            patient.custodial_id is not None,
            len(fresh),
            sum(len(record.items) for record in fresh),
            repeated,
            plan.shared_count,
            amended,
        )
        credential_id = author or await practice.writer()
        names: list[str] = []
        resources = 0
        async with aclosing(_publish(practice, patient, credential_id, _batches(fresh))) as publishing:
            async for done in publishing:
                names += [record.record_id.hex() for record, _ in done.written]
                resources += done.resources
                yield Progress(len(names), len(fresh), resources)
    yield Finished(patient.patient_id, names, resources, len(plan.problems))


async def settle(practice: Practice, patient_id: str | None = None) -> int:
    """Asks the chain what became of records that were on their way when an import broke off; how many are still undecided.

    A commit names the last block that may hold it. A record that is on the chain was written; one that is not, once the chain has
    passed that block, never will be.
    """
    waiting = practice.index.pending(patient_id)
    written: list[tuple[WrittenRecord, list[Resource]]] = []
    dropped: list[bytes] = []
    if waiting:
        height = await practice.network.head()  # before the states, which then are of this block or a later one
        reader = await practice.network.reader(*(key_record(one.record_id) for one in waiting))
        for one in waiting:
            state = reader.record(one.record_id)
            if state is not None:
                record = WrittenRecord(one.record_id, one.patient_id, one.kind, one.day, one.author, state.height)
                written.append((record, one.resources))
            elif height > one.valid_until:
                dropped.append(one.record_id)
        practice.index.settle(written, dropped)
    return len(waiting) - len(written) - len(dropped)


async def settled(practice: Practice, patient_id: str) -> None:
    """Waits until nothing of this person is undecided, so that nothing is written twice; raises `ImportUndecided` after a while."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + SETTLE_WAIT_S
    while undecided := await settle(practice, patient_id):
        if loop.time() >= deadline:
            raise ImportUndecided(records=undecided)
        await asyncio.sleep(SETTLE_POLL_S)


async def _publish(
    practice: Practice, patient: Patient, credential_id: bytes, parts: Sequence[list[PlannedRecord]]
) -> AsyncGenerator[Sealed, None]:
    """Seals and publishes part by part, keeping IN_FLIGHT batches on their way; yields what is final, in order."""
    waiting: list[asyncio.Task[Sealed]] = []
    try:
        for part in parts:
            sealed = await _seal(practice, patient, credential_id, part)
            waiting.append(asyncio.create_task(publish(practice, patient, sealed)))
            if len(waiting) == IN_FLIGHT:
                yield await waiting.pop(0)
        while waiting:
            yield await waiting.pop(0)
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def publish(practice: Practice, patient: Patient, sealed: Sealed) -> Sealed:
    """Makes a batch of this person's records final; the same with the block they are in by now.

    It is in the index as pending before anybody is sent it, and leaves it only as written, or as dead.
    """
    author = Author(practice.network, practice.org_id, practice.keys.signing, practice.outbox.keep)
    token = decode_as(SignedToken, patient.token)
    valid_until = await practice.network.head() + practice.commit_valid_blocks
    practice.index.put_pending([_pending(record, inside, valid_until) for record, inside in sealed.written])
    try:
        await author.publish(sealed.batch, {token.token.feed: token}, valid_until)
    except (NotDurable, Failed):
        practice.index.settle([], [record.record_id for record, _ in sealed.written])
        raise
    height = practice.network.light.height
    written = [(_at(record, height), inside) for record, inside in sealed.written]
    practice.index.settle(written)
    return Sealed(sealed.batch, written, sealed.resources)


async def _seal(practice: Practice, patient: Patient, credential_id: bytes, part: list[PlannedRecord]) -> Sealed:
    """One batch; the work of sealing runs beside the event loop."""
    now_ms = practice.clock.now_ms()
    card = await practice.card_to_seal(patient)
    key = await practice.require_author(credential_id)
    keyholders = practice.network.genesis.keyholders

    def work() -> Sealed:
        sessions: list[AuthoringSession] = []
        written: list[tuple[WrittenRecord, list[Resource]]] = []
        for _, visit in groupby(part, key=lambda record: record.encounter):
            session = AuthoringSession(practice.network.chain, practice.org_id, credential_id, key, card, keyholders)
            for planned in visit:
                sealed = session.seal(planned.items, planned.kind, planned.date, now_ms, planned.parents)
                record = WrittenRecord(sealed.record_id, patient.patient_id, planned.kind, planned.date, credential_id, 0)
                written.append((record, [Resource(digest_of(item.content), item.name) for item in planned.items]))
            sessions.append(session)
        nodes = len(practice.network.genesis.nodes)
        return Sealed(make_batch(sessions, nodes), written, sum(len(record.items) for record in part))

    return await asyncio.to_thread(work)


def _batches(records: Sequence[PlannedRecord]) -> list[list[PlannedRecord]]:
    """In order of visits, so that one visit is one session wherever it fits."""
    ordered = sorted(records, key=lambda record: (record.encounter or "", record.date))
    parts: list[list[PlannedRecord]] = []
    size = 0
    for record in ordered:
        record_bytes = sum(len(item.content) for item in record.items)
        if not parts or len(parts[-1]) == BATCH_RECORDS or size + record_bytes > BATCH_BYTES:
            parts.append([])
            size = 0
        parts[-1].append(record)
        size += record_bytes
    return parts


def not_yet_written(plan: ImportPlan, known: KnownResources) -> tuple[list[PlannedRecord], int, int]:
    """The plan without resources whose exact bytes this account already has here; how many were left out, how many are later versions.

    A later version stands in a record that names the one it amends. Bytes that were here before are never written again, so an old export
    imported after a newer one takes nothing back.
    """
    fresh: list[PlannedRecord] = []
    repeated = amended = 0
    for record in plan.records:
        items = [item for item in record.items if digest_of(item.content) not in known.digests]
        repeated += len(record.items) - len(items)
        amended += sum(item.name in known.latest for item in items)
        fresh += [
            PlannedRecord(record.kind, record.date, record.compartment, part, record.encounter, parents)
            for part, parents in _with_parents(items, known.latest)
        ]
    return fresh, repeated, amended


def _with_parents(items: Sequence[ContentItem], latest: dict[str, bytes]) -> list[tuple[list[ContentItem], list[bytes]]]:
    """Items with the records they amend, cut where a record would amend too many."""
    parts: list[tuple[list[ContentItem], list[bytes]]] = []
    for item in items:
        parent = latest.get(item.name)
        if not parts or (parent is not None and parent not in parts[-1][1] and len(parts[-1][1]) == MAX_PARENTS):
            parts.append(([], []))
        parts[-1][0].append(item)
        if parent is not None and parent not in parts[-1][1]:
            parts[-1][1].append(parent)
    return parts


def today_of(practice: Practice) -> str:
    return datetime.fromtimestamp(practice.clock.now_ms() / 1_000, UTC).date().isoformat()


def digest_of(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


def _at(record: WrittenRecord, height: int) -> WrittenRecord:
    return WrittenRecord(record.record_id, record.patient_id, record.kind, record.day, record.author, height)


def _pending(record: WrittenRecord, inside: list[Resource], valid_until: int) -> PendingRecord:
    return PendingRecord(
        record.record_id,
        record.patient_id,
        record.kind,
        record.day,
        record.author,
        b"".join(one.digest for one in inside),
        valid_until,
        [one.name for one in inside],
    )
