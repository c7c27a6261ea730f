"""People who come at the same time: surely different ones do not wait for each other's blocks, one who comes twice gets one account."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from hce.service.fhir.identity import PatientIdentity
from hce.service.gateway.practice import Practice

PATIENCE_S = 60.0


def person(name: str, born: str) -> PatientIdentity:
    return PatientIdentity((f"Patient/{name}",), (f"{name} test",), born, (("urn:strangers", name),), f"{name} Test")


async def test_strangers_are_taken_in_side_by_side(practice: Practice, monkeypatch: pytest.MonkeyPatch) -> None:
    together, opening, opened = asyncio.Event(), 0, practice.open_compartment

    async def open_together(*digests: bytes) -> bytes:
        nonlocal opening
        opening += 1
        if opening == 2:
            together.set()
        await together.wait()
        return await opened(*digests)

    monkeypatch.setattr(practice, "open_compartment", open_together)
    async with asyncio.timeout(PATIENCE_S):
        one, other = await asyncio.gather(
            practice.patient_for(person("uma", "1970-01-01"), None), practice.patient_for(person("vera", "1981-02-02"), None)
        )
    assert one.compartment_id != other.compartment_id


async def test_one_stranger_who_comes_twice_at_once_gets_one_account(practice: Practice) -> None:
    identity = person("wim", "1990-03-03")
    first, again = await asyncio.gather(practice.patient_for(identity, None), practice.patient_for(identity, None))
    assert first == again


async def test_a_failed_enrolment_lets_the_next_one_try(practice: Practice, monkeypatch: pytest.MonkeyPatch) -> None:
    identity, opened, failed = person("xena", "1991-04-04"), practice.open_compartment, False

    async def fails_once(*digests: bytes) -> Any:
        nonlocal failed
        if not failed:
            failed = True
            raise ConnectionError
        return await opened(*digests)

    monkeypatch.setattr(practice, "open_compartment", fails_once)
    first, second = await asyncio.gather(
        practice.patient_for(identity, None), practice.patient_for(identity, None), return_exceptions=True
    )
    assert isinstance(first, ConnectionError)
    assert not isinstance(second, BaseException)
