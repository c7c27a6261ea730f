"""A clinician's note at the gateway: what is shown is what is signed, once, by a certified author, about the right person."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from tests.service.running import opened_owner

from hce.foundation.codec.dagcbor import decode, encode
from hce.foundation.crypto.secret import SecretBytes
from hce.foundation.crypto.sign import verify
from hce.service.gateway.http import make_app
from hce.service.gateway.notes import COMPARTMENT_SYSTEM, MAX_NOTE_BYTES, Drafts, NoteUnknown, draft_note
from hce.service.gateway.practice import Practice
from hce.service.sdk.owner import Owner
from hce.service.terms.payloads import CompartmentRotate
from hce.service.terms.states import key_record
from hce.service.vault.compartments import CompartmentKeys

TOKEN = "0f" * 32
DAY = "2024-05-06"


@pytest.fixture
async def http(practice: Practice) -> AsyncIterator[httpx.AsyncClient]:
    app = make_app(practice, SecretBytes(TOKEN.encode()), lambda: {"name": "Riverside"})
    headers = {"authorization": f"Bearer {TOKEN}"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway", headers=headers) as client:
        yield client


class Desk:
    """A doctor at work on one patient, who has keys of their own."""

    def __init__(self, http: httpx.AsyncClient, owner: Owner, patient_id: str, doctors: list[dict[str, Any]]) -> None:
        self.http, self.owner, self.patient_id = http, owner, patient_id
        self.doctor, self.other = (one["credential_id"] for one in doctors[:2])

    def note(self, text: str = "Blood pressure is well now.", note_id: str = "n1", **more: Any) -> dict[str, Any]:
        said = base64.b64encode(text.encode()).decode()
        subject = {"identifier": {"system": COMPARTMENT_SYSTEM, "value": self.owner.compartment_id.hex()}}
        return {
            "resourceType": "DocumentReference",
            "id": note_id,
            "status": "current",
            "subject": subject,
            "date": f"{DAY}T10:00:00Z",
            "content": [{"attachment": {"contentType": "text/plain", "data": said}}],
        } | more

    async def draft(self, resource: dict[str, Any] | bytes, author: str = "", **more: Any) -> httpx.Response:
        content = resource if isinstance(resource, bytes) else json.dumps(resource, ensure_ascii=False).encode()
        body = {
            "credential_id": author or self.doctor,
            "patient_id": self.patient_id,
            "content": base64.b64encode(content).decode(),
        }
        return await self.http.post("/v1/notes", json=body | more)

    async def sign(self, note_id: str) -> list[dict[str, Any]]:
        answer = await self.http.post(f"/v1/notes/{note_id}/sign", json={})
        assert answer.status_code == 200, answer.text
        return [json.loads(line) for line in answer.text.splitlines()]

    async def write(self, resource: dict[str, Any]) -> str:
        drafted = (await self.draft(resource)).json()
        record: str = (await self.sign(drafted["note_id"]))[-1]["record_id"]
        return record


@pytest.fixture
async def desk(http: httpx.AsyncClient, practice: Practice) -> Desk:
    owner = await opened_owner(practice)
    await owner.publish_card()
    token = encode(owner.token(practice.org_id, 1)).hex()
    patient = {"resourceType": "Patient", "id": "zhen", "name": [{"text": "Zhen"}], "birthDate": "1984-02-29"}
    enrolled = await http.post("/v1/patients", json={"patient": patient, "token": token})
    assert enrolled.status_code == 200, enrolled.text
    return Desk(http, owner, enrolled.json()["patient_id"], (await http.get("/v1/staff")).json())


def code_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


async def test_what_is_shown_is_signed_by_the_clinicians_key_and_stands_in_the_patients_record(
    desk: Desk, practice: Practice
) -> None:
    resource = json.dumps(desk.note(), indent=1).encode()
    drafted = (await desk.draft(resource)).json()
    assert practice.index.pending() == [], "nothing has left"
    message = bytes.fromhex(drafted["message"])
    assert drafted["note_id"] == hashlib.sha256(message).hexdigest()
    domain, chain, record_id, policy, _ = decode(message)
    assert (domain, chain) == ("hce/record/1", practice.network.chain)
    assert policy[1] == desk.owner.compartment_id
    assert (policy[3], policy[5].hex()) == (DAY, desk.doctor)

    signed, final = await desk.sign(drafted["note_id"])
    assert (signed["event"], final["event"]) == ("signed", "final")
    key = practice.keyring.clinician(bytes.fromhex(desk.doctor)).public
    assert verify(key, message, bytes.fromhex(signed["signature"]))
    assert signed["record_id"] == final["record_id"] == record_id.hex()
    state = (await practice.network.reader(key_record(record_id))).record(record_id)
    assert state is not None
    assert state.height <= final["height"]

    own = await desk.owner.read_own()
    assert own.refused == {}
    assert [item.content for item in own.opened[record_id].manifest.items] == [resource], "byte for byte"
    again = await desk.http.post(f"/v1/notes/{drafted['note_id']}/sign", json={})
    assert code_of(again) == (404, "note.unknown")


async def test_a_correction_names_what_it_replaces_and_only_the_author_makes_it(desk: Desk) -> None:
    first = await desk.write(desk.note())
    assert code_of(await desk.draft(desk.note())) == (409, "note.written")
    assert code_of(await desk.draft(desk.note("Another hand"), desk.other)) == (403, "note.of_another_author")
    drafted = (await desk.draft(desk.note("Corrected"))).json()
    assert drafted["amends"] == first
    second = (await desk.sign(drafted["note_id"]))[-1]["record_id"]
    opened = (await desk.owner.read_own()).opened
    assert [parent.hex() for parent in opened[bytes.fromhex(second)].manifest.parents] == [first]


async def test_of_two_drafts_of_one_correction_the_second_is_overtaken(desk: Desk) -> None:
    await desk.write(desk.note())
    one, two = [(await desk.draft(desk.note(text))).json()["note_id"] for text in ("this", "that")]
    await desk.sign(one)
    assert code_of(await desk.http.post(f"/v1/notes/{two}/sign", json={})) == (409, "note.overtaken")


async def test_a_note_is_about_this_patient_of_fhir_and_not_of_a_day_to_come(desk: Desk) -> None:
    note = desk.note()
    stranger = {"identifier": {"system": COMPARTMENT_SYSTEM, "value": os.urandom(32).hex()}}
    by_name = {"reference": "Patient/zhen"}
    refused: list[dict[str, Any] | bytes] = [
        note | {"subject": stranger},
        note | {"subject": by_name},
        {key: value for key, value in note.items() if key != "subject"},
        {key: value for key, value in note.items() if key != "content"},
        {key: value for key, value in note.items() if key != "date"},
        {key: value for key, value in note.items() if key != "id"},
        note | {"date": "2100-01-01T00:00:00Z"},
        note | {"resourceType": "Claim"},
        note | {"secret": 1},
        b"[]",
        b"{" * 200,
        json.dumps(note).encode()[:-1] + b',"id":"twice"}',
        json.dumps(note).encode() + b',{"resourceType":"Bundle"}',
    ]
    for resource in refused:
        assert code_of(await desk.draft(resource)) == (422, "note.invalid"), resource
    assert code_of(await desk.draft(b" " * (MAX_NOTE_BYTES + 1))) == (400, "malformed")


async def test_nobody_but_the_certified_staff_writes_and_only_for_people_enrolled_here(desk: Desk) -> None:
    assert code_of(await desk.draft(desk.note(), os.urandom(32).hex())) == (404, "keyring.not_found")
    assert code_of(await desk.draft(desk.note(), patient_id="nobody")) == (404, "patient.unknown")
    assert code_of(await desk.draft(desk.note(), more=1)) == (400, "malformed")
    assert code_of(await desk.http.post("/v1/notes/zz/sign", json={})) == (400, "malformed")


async def test_nothing_is_signed_that_is_sealed_to_keys_the_patient_has_given_up(desk: Desk, practice: Practice) -> None:
    first, second = [(await desk.draft(desk.note(text))).json()["note_id"] for text in ("this", "that")]
    old, new = desk.owner.keys, CompartmentKeys(SecretBytes(os.urandom(64)), 0, desk.owner.compartment_id)
    rotation = CompartmentRotate(desk.owner.compartment_id, new.owner_digest, new.recovery_digest)
    await practice.network.transact("compartment.rotate", rotation, None, [("recovery", old.recovery)])
    refused = await desk.http.post(f"/v1/notes/{first}/sign", json={})
    assert code_of(refused)[1] == "card.invalid"
    owner = Owner(practice.network, practice.clock, new, reading_epoch=1)
    await owner.publish_card()
    patient = {"resourceType": "Patient", "id": "zhen", "name": [{"text": "Zhen"}], "birthDate": "1984-02-29"}
    again = await desk.http.post("/v1/patients", json={"patient": patient, "token": encode(owner.token(practice.org_id, 2)).hex()})
    assert again.json()["patient_id"] == desk.patient_id
    assert code_of(await desk.http.post(f"/v1/notes/{second}/sign", json={})) == (404, "note.unknown")
    assert practice.index.pending() == practice.index.written(desk.patient_id) == []


async def test_drafts_run_out_and_the_oldest_gives_way(desk: Desk, practice: Practice) -> None:
    drafts, author, now_ms = Drafts(), bytes.fromhex(desk.doctor), practice.clock.now_ms()
    made = [await draft_note(practice, drafts, desk.patient_id, author, json.dumps(desk.note()).encode()) for _ in range(2)]
    with pytest.raises(NoteUnknown):
        drafts.take(made[0].note_id, made[0].gone_ms)
    drafts.put(made[0], now_ms)
    assert drafts.take(made[0].note_id, now_ms) == made[0]
    small = Drafts(most=1)
    for one in made:
        small.put(one, now_ms)
    with pytest.raises(NoteUnknown):
        small.take(made[0].note_id, now_ms)
    assert small.take(made[1].note_id, now_ms) == made[1]
