"""Steady work for a network that is being killed: transactions, sealed records, imports through a gateway; and what was reported final.

Only what a client was told is final counts as promised. What a client heard nothing of, or an error, may be there or not.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
import uuid
from itertools import count
from pathlib import Path

from msgspec import Struct

from hce.app.bench.content import batches_of, planned_records
from hce.app.bench.people import Patient, SealTask, open_patient, open_practice, seal_task
from hce.app.bench.plan import Item
from hce.app.bench.signing import SigningTask, sign_items
from hce.app.bench.stage import Stage, found
from hce.app.gateway_client import GatewayClient
from hce.app.tour.stage import Practice
from hce.foundation.crypto.sign import SigningKey
from hce.foundation.types.errors import HceError
from hce.service.fhir.grouping import PlannedRecord
from hce.service.sdk.author import Author
from hce.service.terms.transactions import parse
from hce.service.vault.sealing import AuthoringSession, Batch, make_batch

TRANSACTIONS_PER_S = 8
RECORDS_PER_BATCH = 3
RECORD_PAUSE_S = 1.0
PATIENTS = 4
IMPORT_RESOURCES = 4
VALID_FOR_BLOCKS = 300
GRANT_LIFE_MS = 24 * 3_600_000
RETRY_S = 0.3

Items = list[tuple[str, bytes]]
"""(name, bytes) of a record's resources."""


class Promised(Struct):
    """What clients were told is final."""

    transactions: set[bytes] = set()
    """Signed bytes."""
    records: dict[bytes, Items] = {}
    """Record id -> what was written into it."""
    observations: list[str] = []
    """Ids of resources imported through the gateway, each exactly once."""
    unanswered: int = 0
    """Asked for and never heard of: may be final or not."""


class Load:
    """Runs until cancelled. Every client tries again what only failed because nodes were gone."""

    def __init__(self, stage: Stage, seed: int) -> None:
        self._stage = stage
        self._seed = seed
        self.promised = Promised(set(), {}, [])
        self.practice: Practice
        self.patients: list[Patient] = []

    async def prepare(self) -> None:
        """An organisation that pays, a practice that writes, patients to write for."""
        await found(self._stage, self._seed, 0)
        self.practice = await open_practice(self._stage, self._seed)
        opening = (open_patient(self._stage, self.practice, self._seed, number) for number in range(PATIENTS))
        self.patients = list(await asyncio.gather(*opening))

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._transact(tasks))
            tasks.create_task(self._write())
            tasks.create_task(self._import())

    async def _transact(self, tasks: asyncio.TaskGroup) -> None:
        for number in count():
            tasks.create_task(self._grant(number))
            await asyncio.sleep(1 / TRANSACTIONS_PER_S)

    async def _grant(self, number: int) -> None:
        network, genesis = self._stage.network, self._stage.network.genesis
        valid_until = max(1, network.light.height) + VALID_FOR_BLOCKS
        expires_ms = int(time.time() * 1_000) + GRANT_LIFE_MS
        task = SigningTask(self._seed, genesis.chain, genesis.eip155_id, valid_until, expires_ms)
        (raw,) = sign_items(task, [Item("grant", number * 2)])
        try:
            await network.submit(raw, parse(raw, genesis.chain).id)
        except HceError:
            self.promised.unanswered += 1
        else:
            self.promised.transactions.add(raw)

    async def _write(self) -> None:
        author = Author(self._stage.network, self.practice.org_id, self.practice.key)
        planned = await asyncio.to_thread(planned_records, self._stage.home.root)
        for number, records in zip(count(), batches_of(planned, RECORDS_PER_BATCH), strict=False):
            patient = self.patients[number % PATIENTS]
            task = seal_task(self._stage, self.practice, patient, self._seed)
            written, batch = await asyncio.to_thread(_seal, task, records)
            try:
                await author.publish(batch, {patient.token.token.feed: patient.token})
            except HceError:
                self.promised.unanswered += 1
            else:
                self.promised.records |= written
            await asyncio.sleep(RECORD_PAUSE_S)

    async def _import(self) -> None:
        home = self._stage.home
        name, url = next(iter(home.network()["gateways"].items()))
        for number in count():
            bundle, names = _bundle(self._seed, number)
            await _import_once(url, home.gateway(name), bundle)
            self.promised.observations += names
            await asyncio.sleep(RECORD_PAUSE_S)


def _seal(task: SealTask, records: list[PlannedRecord]) -> tuple[dict[bytes, Items], Batch]:
    """Record id -> what is in it; and the batch to publish."""
    key = SigningKey(task.person_secret)
    session = AuthoringSession(task.card.chain, task.org_id, task.credential_id, key, task.card, task.keyholders)
    written = {
        session.seal(one.items, one.kind, one.date, task.now_ms).record_id: [(item.name, item.content) for item in one.items]
        for one in records
    }
    return written, make_batch([session], task.nodes)


async def _import_once(url: str, folder: Path, bundle: bytes) -> None:
    """Imports again until the gateway says that it is finished with all of it."""
    finished = False
    while not finished:
        try:
            async with GatewayClient.at(url, folder) as client:
                events = [event async for event in client.import_bundle(bundle)]
            finished = events[-1]["event"] == "finished"
        except (HceError, json.JSONDecodeError):  # it was killed, perhaps in the middle of a line
            await asyncio.sleep(RETRY_S)


def _bundle(seed: int, number: int) -> tuple[bytes, list[str]]:
    """A Bundle of one patient, always the same, with a visit that is new; ids of its observations."""
    chance = random.Random(f"{seed} {number}")
    patient = str(uuid.UUID(int=random.Random(seed).getrandbits(128)))
    names = [str(uuid.UUID(int=chance.getrandbits(128))) for _ in range(IMPORT_RESOURCES)]
    person = {
        "resourceType": "Patient",
        "id": patient,
        "identifier": [{"system": "https://example.org/crash", "value": f"CRASH-{seed}"}],
        "name": [{"family": "Crash", "given": ["Test"]}],
        "gender": "other",
        "birthDate": "1970-01-01",
    }
    resources = [person, *(_observation(name, patient, chance) for name in names)]
    entries = [
        {"fullUrl": f"urn:uuid:{one['id']}", "resource": one, "request": {"method": "POST", "url": one["resourceType"]}}
        for one in resources
    ]
    return json.dumps({"resourceType": "Bundle", "type": "transaction", "entry": entries}).encode(), names


def _observation(name: str, patient: str, chance: random.Random) -> dict[str, object]:
    return {
        "resourceType": "Observation",
        "id": name,
        "status": "final",
        "code": {"text": "Body weight"},
        "subject": {"reference": f"urn:uuid:{patient}"},
        "effectiveDateTime": f"2020-{chance.randint(1, 12):02}-{chance.randint(1, 28):02}T08:00:00Z",
        "valueQuantity": {"value": chance.randint(40, 120), "unit": "kg"},
    }
