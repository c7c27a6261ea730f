"""What tests of the SDK share."""

from __future__ import annotations

import pytest
from tests.service.running import DAY_MS
from tests.service.sdk.patients import FIRST_DAY, LAST_DAY, Patient, written

from hce.service.gateway import granted
from hce.service.gateway.granted import collect
from hce.service.gateway.practice import Practice


@pytest.fixture
async def patient(practice: Practice) -> Patient:
    owner, records = await written(practice)
    credential_id = await practice.writer()
    request = await granted.ask(practice, credential_id, "treatment", "read", FIRST_DAY, LAST_DAY)
    made = await owner.grant(request, lasts_ms=DAY_MS, date_from=FIRST_DAY, date_to=LAST_DAY)
    assert (await collect(practice)).grants == [made.grant_id.hex()]
    return Patient(owner, made, records)
