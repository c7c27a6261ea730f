"""A patient of the practice with records of his own."""

from __future__ import annotations

import os

from tests.service.running import bundle_of

from hce.service.gateway.importing import Finished, import_bundle
from hce.service.gateway.practice import Practice
from hce.service.sdk.owner import Owner
from hce.service.vault.granting import MadeGrant

FIRST_DAY, LAST_DAY = "1900-01-01", "2100-12-31"
NOTES = ["a", "b", "c"]


class Patient:
    """A custodial patient with records, and a grant to the practice."""

    def __init__(self, owner: Owner, made: MadeGrant, records: list[bytes]) -> None:
        self.owner = owner
        self.made = made
        self.records = records


async def written(practice: Practice) -> tuple[Owner, list[bytes]]:
    events = [event async for event in import_bundle(practice, bundle_of(os.urandom(6).hex(), NOTES))]
    last = events[-1]
    assert isinstance(last, Finished)
    patient = practice.index.patient(last.patient_id)
    assert patient is not None
    assert patient.custodial_id is not None
    keys = practice.keyring.custodial_keys(bytes.fromhex(patient.custodial_id))
    return Owner(practice.network, practice.clock, keys), [bytes.fromhex(name) for name in last.records]
