"""A note of one clinician: checked and sealed as a draft, shown as the very bytes to be signed, signed on a second word, made final.

Nothing leaves this gateway and nothing is signed before that second word. It names the draft by the digest of those bytes, so that no other
than the shown ones can be signed by it. Drafts live in memory for a while; a draft that is given up leaves no trace.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator
from datetime import date, timedelta

from msgspec import Struct, structs

from hce.foundation.types.errors import NotFound, Refused
from hce.service.fhir.bundle import Entry, read_resource
from hce.service.fhir.catalogue import FHIR_JSON, kind_of
from hce.service.fhir.dating import clinical_day
from hce.service.fhir.errors import Problem
from hce.service.fhir.gate import default_gate
from hce.service.fhir.grouping import through_gate
from hce.service.fhir.identity import whose
from hce.service.gateway.importing import Sealed, digest_of, publish, settled, today_of
from hce.service.gateway.people import identity_of
from hce.service.gateway.practice import Practice
from hce.service.index.store import KnownResources, Patient, Resource, WrittenRecord
from hce.service.terms.grants import ContactCard
from hce.service.terms.records import ContentItem
from hce.service.terms.states import key_credential
from hce.service.vault.sealing import AuthoringSession, SealedRecord, make_batch

MAX_NOTE_BYTES = 128 << 10
NOTE_TYPES = frozenset({"DocumentReference", "Composition", "Observation"})
"""FHIR types a person writes by hand."""
COMPARTMENT_SYSTEM = "urn:hce:compartment"
"""The one way in which a note names its patient: no name or number of another house can be mistaken."""
DRAFT_LIFE_MS = 15 * 60_000
MAX_DRAFTS = 200
"""Over the whole staff; beyond it the oldest is given up."""


class NoteInvalid(Refused):
    """The note is no resource this gateway seals: the reason is that of an import's entry."""

    code = "note.invalid"
    status = 422


class NoteUnknown(NotFound):
    """There is no such draft: it was signed, it has run out, or other bytes than the shown ones were named."""

    code = "note.unknown"


class NoteOfAnotherAuthor(Refused):
    """Only who wrote a note corrects it."""

    code = "note.of_another_author"
    status = 403


class NoteOvertaken(Refused):
    """A newer version of the note was written meanwhile."""

    code = "note.overtaken"
    status = 409


class NoteWritten(Refused):
    """This very note is in the record already; it was not written twice."""

    code = "note.written"
    status = 409


class Draft(Struct, frozen=True):
    """A note that is sealed and not signed yet."""

    patient: Patient
    credential_id: bytes
    kind: str
    day: str
    item: ContentItem
    amends: bytes | None
    """Record that holds the version before."""
    session: AuthoringSession
    sealed: SealedRecord
    gone_ms: int
    """When it is given up."""

    @property
    def note_id(self) -> bytes:
        return hashlib.sha256(self.sealed.message).digest()


class Signed(Struct, frozen=True, tag_field="event", tag="signed"):
    """The clinician's key has signed; the nodes are told."""

    record_id: str
    signature: str
    """Of the shown bytes, by the key that the credential names."""


class Final(Struct, frozen=True, tag_field="event", tag="final"):
    """The record is final on the chain."""

    record_id: str
    height: int
    """A block by which it is."""


NoteEvent = Signed | Final


class Drafts:
    """Those of this process that wait for their second word."""

    def __init__(self, most: int = MAX_DRAFTS) -> None:
        self._most = most
        self._drafts: dict[bytes, Draft] = {}

    def put(self, draft: Draft, now_ms: int) -> None:
        self._drafts = {name: one for name, one in self._drafts.items() if now_ms < one.gone_ms}
        while len(self._drafts) >= self._most:
            del self._drafts[next(iter(self._drafts))]
        self._drafts[draft.note_id] = draft

    def take(self, note_id: bytes, now_ms: int) -> Draft:
        """A draft is signed once; raises `NoteUnknown`."""
        draft = self._drafts.pop(note_id, None)
        if draft is None or draft.gone_ms <= now_ms:
            raise NoteUnknown(note_id=note_id.hex())
        return draft


async def draft_note(practice: Practice, drafts: Drafts, patient_id: str, credential_id: bytes, content: bytes) -> Draft:
    """Checks a resource and seals it, to be shown. Raises `NoteInvalid`, `NoteOfAnotherAuthor`, `NoteWritten`, `patient.unknown`,
    `credential.not_certified`, `card.invalid`.
    """
    key = await practice.require_author(credential_id)
    patient = practice.enrolled(patient_id)
    entry, day = _checked(practice, patient, content)
    item = ContentItem(entry.name, FHIR_JSON, entry.content)
    amends = _version_before(practice.index.known_resources(patient_id), item)
    if amends is not None:
        await _require_same_author(practice, patient_id, amends, key.public)
    card = await practice.card_to_seal(patient)
    session = AuthoringSession(
        practice.network.chain, practice.org_id, credential_id, key, card, practice.network.genesis.keyholders
    )
    now_ms = practice.clock.now_ms()
    kind = kind_of(entry.resource)
    sealed = await asyncio.to_thread(session.seal, [item], kind, day, now_ms, [] if amends is None else [amends])
    draft = Draft(patient, credential_id, kind, day, item, amends, session, sealed, now_ms + DRAFT_LIFE_MS)
    drafts.put(draft, now_ms)
    return draft


async def sign_note(practice: Practice, drafts: Drafts, note_id: bytes) -> AsyncGenerator[NoteEvent, None]:
    """Signs what was shown and makes it final. Raises `NoteUnknown`, `NoteOvertaken`, `NoteWritten`, `import.undecided`, and what nodes
    refuse; after any of these a new draft is made.
    """
    draft = drafts.take(note_id, practice.clock.now_ms())
    patient_id, sealed = draft.patient.patient_id, draft.sealed
    async with practice.writing_for(patient_id):
        await settled(practice, patient_id)
        if _version_before(practice.index.known_resources(patient_id), draft.item) != draft.amends:
            raise NoteOvertaken(name=draft.item.name)
        key = await practice.require_author(draft.credential_id)
        patient = practice.enrolled(patient_id)
        if _keys_of(await practice.card_to_seal(patient)) != _keys_of(draft.session.card):
            raise NoteUnknown("sealed to keys that the patient has given up", note_id=note_id.hex())
        batch = await asyncio.to_thread(make_batch, [draft.session], len(practice.network.genesis.nodes))
        yield Signed(sealed.record_id.hex(), key.sign(sealed.message).hex())
        record = WrittenRecord(sealed.record_id, patient_id, draft.kind, draft.day, draft.credential_id, 0)
        inside = [Resource(digest_of(draft.item.content), draft.item.name)]
        await publish(practice, patient, Sealed(batch, [(record, inside)], len(inside)))
    yield Final(sealed.record_id.hex(), practice.network.light.height)


def _keys_of(card: ContactCard) -> tuple[bytes, bytes, bytes]:
    return card.owner_key, card.reading_key, card.root_key


def _checked(practice: Practice, patient: Patient, content: bytes) -> tuple[Entry, str]:
    """The resource and its day: of a type people write, structurally FHIR R4, about this patient, not of a day to come."""
    found = read_resource(content, MAX_NOTE_BYTES)
    entry = found if isinstance(found, Entry) else _refuse(found)
    if entry.type not in NOTE_TYPES:
        raise NoteInvalid("a type that is not written by hand", type=entry.type, expected=sorted(NOTE_TYPES))
    _, problems = through_gate([entry], default_gate())
    named = structs.replace(identity_of(patient), called=(), identifiers=((COMPARTMENT_SYSTEM, patient.compartment_id.hex()),))
    for problem in problems or [one for one in (whose(entry, named),) if one is not None]:
        _refuse(problem)
    day = clinical_day(entry.resource)
    if day is None:
        raise NoteInvalid("no day", reason="fhir.undated")
    tomorrow = (date.fromisoformat(today_of(practice)) + timedelta(days=1)).isoformat()  # east of here it may be that already
    if day > tomorrow:
        raise NoteInvalid("of a day to come", day=day)
    return entry, day


def _refuse(problem: Problem) -> Entry:
    raise NoteInvalid(problem.detail, reason=problem.code)


def _version_before(known: KnownResources, item: ContentItem) -> bytes | None:
    if digest_of(item.content) in known.digests:
        raise NoteWritten(name=item.name)
    return known.latest.get(item.name)


async def _require_same_author(practice: Practice, patient_id: str, record_id: bytes, person_key: bytes) -> None:
    """A credential is renewed each year; the person's key stays."""
    author = next(one.author for one in practice.index.written(patient_id) if one.record_id == record_id)
    state = (await practice.network.reader(key_credential(author))).credential(author)
    if state is None or state.body.person_key != person_key:
        raise NoteOfAnotherAuthor(record_id=record_id.hex())
