"""Patients and the practice of a record measurement. Their keys live in this process, so that no gateway stands in between."""

from __future__ import annotations

from msgspec import Struct

from hce.app.bench.plan import secret_of
from hce.app.bench.stage import POWERS, Stage
from hce.app.tour.stage import Practice
from hce.foundation.crypto.secret import SecretBytes
from hce.foundation.crypto.sign import SigningKey
from hce.foundation.types.clock import SystemClock
from hce.service.fhir.grouping import PlannedRecord
from hce.service.sdk.owner import Owner
from hce.service.terms.grants import ContactCard, SignedToken
from hce.service.terms.payloads import CompartmentOpen
from hce.service.terms.states import KeyholderState
from hce.service.vault.compartments import CompartmentKeys
from hce.service.vault.sealing import AuthoringSession, Batch, make_batch


class Patient(Struct, frozen=True):
    """One open compartment."""

    owner: Owner
    card: ContactCard
    token: SignedToken


class SealTask(Struct, frozen=True):
    """What a process needs to seal a batch into one compartment: no object with a key in it can be sent to another process."""

    org_id: bytes
    credential_id: bytes
    person_secret: bytes
    card: ContactCard
    keyholders: KeyholderState
    nodes: int
    now_ms: int


async def open_practice(stage: Stage, seed: int) -> Practice:
    """A certified organisation with one clinician who reads and writes."""
    practice = Practice(stage.network)
    practice.person = SigningKey(person_secret(seed))
    await practice.certify(stage.home, "Measured Practice", POWERS)
    return practice


def person_secret(seed: int) -> bytes:
    """Of the practice's clinician."""
    return secret_of(seed, "clinician", 0)


async def open_patient(stage: Stage, practice: Practice, seed: int, number: int) -> Patient:
    """A compartment at the practice's expense, with a card and a write token for it."""
    keys = CompartmentKeys(SecretBytes(secret_of(seed, "patient", number)), 0)
    opening = CompartmentOpen(keys.owner_digest, keys.recovery_digest)
    await stage.network.transact("compartment.open", opening, practice.org_id, [("payer", practice.key)])
    owner = Owner(stage.network, SystemClock(), keys)
    return Patient(owner, (await owner.card()).card, owner.token(practice.org_id, number))


def seal_task(stage: Stage, practice: Practice, patient: Patient, seed: int) -> SealTask:
    return SealTask(
        org_id=practice.org_id,
        credential_id=practice.credential_id,
        person_secret=person_secret(seed),
        card=patient.card,
        keyholders=stage.network.genesis.keyholders,
        nodes=stage.nodes,
        now_ms=SystemClock().now_ms(),
    )


def seal_batch(task: SealTask, records: list[PlannedRecord]) -> Batch:
    """One session, one batch: sealed twice, dispersed."""
    key = SigningKey(task.person_secret)
    session = AuthoringSession(task.card.chain, task.org_id, task.credential_id, key, task.card, task.keyholders)
    for record in records:
        session.seal(record.items, record.kind, record.date, task.now_ms)
    return make_batch([session], task.nodes)


def bytes_of(records: list[PlannedRecord]) -> int:
    """Resource bytes."""
    return sum(len(item.content) for record in records for item in record.items)
