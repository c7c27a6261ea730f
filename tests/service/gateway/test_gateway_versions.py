"""What comes again: later versions amend, the same person is found, a killed enrolment leaves no second account, the house has its own."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from hce.service.gateway import practice as practice_module
from hce.service.gateway.importing import Finished, Planned, import_bundle, import_directory
from hce.service.gateway.people import NotThatPerson
from hce.service.gateway.practice import OWN_ACCOUNT, SOMEBODY_NEW, PatientUnknown, Practice
from hce.service.index.store import Patient
from hce.service.keyring.keyring import CustodialAccount
from hce.service.sdk.owner import Owner, OwnRecords
from hce.service.terms.records import MAX_PARENTS

Json = dict[str, Any]


def patient(name: str, **changes: Any) -> Json:
    return {
        "resourceType": "Patient",
        "id": name,
        "identifier": [{"system": "urn:test", "value": name}],
        "name": [{"family": name, "given": ["Test"]}],
        "birthDate": "1980-01-01",
        **changes,
    }


def observation(who: str, name: str, text: str, day: str = "2020-01-01") -> Json:
    return {
        "resourceType": "Observation",
        "id": name,
        "status": "final",
        "code": {"text": text},
        "subject": {"reference": f"Patient/{who}"},
        "effectiveDateTime": day,
    }


def bundle(*resources: Json) -> bytes:
    entries = [{"resource": resource} for resource in resources]
    return json.dumps({"resourceType": "Bundle", "type": "collection", "entry": entries}).encode()


async def brought(practice: Practice, content: bytes, patient_id: str | None = None) -> tuple[Planned, Finished]:
    events = [event async for event in import_bundle(practice, content, None, patient_id)]
    planned = next(event for event in events if isinstance(event, Planned))
    assert isinstance(events[-1], Finished)
    return planned, events[-1]


def account(practice: Practice, finished: Finished) -> Patient:
    found = practice.index.patient(finished.patient_id)
    assert found is not None
    return found


async def opened(practice: Practice, patient_id: str) -> OwnRecords:
    found = practice.index.patient(patient_id)
    assert found is not None
    assert found.custodial_id is not None
    keys = practice.keyring.custodial_keys(bytes.fromhex(found.custodial_id))
    return await Owner(practice.network, practice.clock, keys).read_own()


async def test_a_changed_resource_is_a_new_record_that_names_the_one_it_amends(practice: Practice) -> None:
    who = patient("amended")
    first, second = observation("amended", "o", "first"), observation("amended", "o", "second")
    _, before = await brought(practice, bundle(who, first, observation("amended", "other", "kept", "2020-02-02")))
    planned, after = await brought(practice, bundle(who, second))
    assert (planned.resources, planned.amended, planned.already_written, len(after.records)) == (1, 1, 1, 1)
    records = (await opened(practice, after.patient_id)).opened
    amendment = records[bytes.fromhex(after.records[0])].manifest
    (amended,) = amendment.parents
    assert amended.hex() in before.records
    assert [json.loads(item.content)["code"]["text"] for item in amendment.items] == ["second"]
    assert [json.loads(item.content)["code"]["text"] for item in records[amended].manifest.items] == ["first"]
    planned, nothing = await brought(practice, bundle(who, first))
    assert (planned.resources, nothing.records) == (0, []), "an old export takes nothing back"
    third = observation("amended", "o", "third")
    _, last = await brought(practice, bundle(who, third))
    manifest = (await opened(practice, last.patient_id)).opened[bytes.fromhex(last.records[0])].manifest
    assert manifest.parents == [bytes.fromhex(after.records[0])], "the latest version is amended, not the first"


async def test_a_record_amends_no_more_than_its_bound(practice: Practice) -> None:
    who, count = patient("many"), MAX_PARENTS + 4
    days = [f"2020-01-{day + 1:02}" for day in range(count)]
    await brought(practice, bundle(who, *(observation("many", f"o{day}", "first", days[day]) for day in range(count))))
    changed = [observation("many", f"o{day}", "second", "2021-01-01") for day in range(count)]
    _, after = await brought(practice, bundle(who, *changed))
    records = (await opened(practice, after.patient_id)).opened
    assert sorted(len(records[bytes.fromhex(name)].manifest.parents) for name in after.records) == [4, MAX_PARENTS]


async def test_somebody_who_says_little_is_found_again(practice: Practice) -> None:
    for name, unsaid in (("nobirth", {"birthDate", "name"}), ("noid", {"identifier"})):
        said = {key: value for key, value in patient(name).items() if key not in unsaid}
        _, first = await brought(practice, bundle(said))
        _, again = await brought(practice, bundle({**said, "active": True}))
        assert again.patient_id == first.patient_id


async def test_somebody_who_looks_like_a_patient_waits_for_a_person_to_say_that_he_is_new(practice: Practice) -> None:
    _, first = await brought(practice, bundle(patient("alike")))
    other = bundle({**patient("alike", identifier=[]), "id": "other"})
    with pytest.raises(NotThatPerson):
        await brought(practice, other)
    _, new = await brought(practice, other, SOMEBODY_NEW)
    assert new.patient_id != first.patient_id
    _, again = await brought(practice, other, SOMEBODY_NEW)
    assert again.patient_id == new.patient_id


async def test_an_enrolment_that_is_killed_leaves_no_second_account(practice: Practice, monkeypatch: pytest.MonkeyPatch) -> None:
    def accounts() -> list[CustodialAccount]:
        return [one for one in practice.keyring.custodial_accounts() if one.label == "Test orphan"]

    async def killed(*_: Any, **__: Any) -> Any:
        raise asyncio.CancelledError

    for moment in ("open_compartment", "_remember"):
        with monkeypatch.context() as patch:
            patch.setattr(practice_module.Practice, moment, killed if moment == "open_compartment" else lambda *_: 1 / 0)
            with pytest.raises((asyncio.CancelledError, ZeroDivisionError)):
                await brought(practice, bundle(patient("orphan")))
        assert len(accounts()) == 1
    _, done = await brought(practice, bundle(patient("orphan")))
    assert [one.account_id.hex() for one in accounts()] == [account(practice, done).custodial_id]


async def test_what_is_the_organisations_own_goes_into_an_account_of_its_own(practice: Practice) -> None:
    content = bundle({"resourceType": "Organization", "id": "o", "name": "Riverside"}, patient("intruder"))
    events = [event async for event in import_directory(practice, content)]
    assert isinstance(events[-1], Finished)
    assert (events[-1].patient_id, events[-1].resources, events[-1].problems) == (OWN_ACCOUNT, 1, 1)
    record = (await opened(practice, OWN_ACCOUNT)).opened[bytes.fromhex(events[-1].records[0])]
    assert (record.kind, [item.name for item in record.manifest.items]) == ("directory", ["Organization/o"])
    again = [event async for event in import_directory(practice, content)]
    assert isinstance(again[-1], Finished)
    assert again[-1].records == []
    assert OWN_ACCOUNT not in {one.patient_id for one in practice.people()}
    with pytest.raises(PatientUnknown):
        await brought(practice, bundle(patient("intruder")), OWN_ACCOUNT)
