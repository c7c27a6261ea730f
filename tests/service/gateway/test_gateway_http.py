"""The gateway's HTTP face on a running network: the token guards it, an import streams its events, a read gives contents and entries."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from tests.service.running import DAY_MS, bundle_of

from hce.foundation.codec.dagcbor import decode_as
from hce.foundation.crypto.secret import SecretBytes
from hce.service.gateway.http import make_app
from hce.service.gateway.practice import Practice
from hce.service.sdk.owner import Owner
from hce.service.terms.grants import AccessRequest

TOKEN = "0f" * 32


@pytest.fixture
async def http(practice: Practice) -> AsyncIterator[httpx.AsyncClient]:
    app = make_app(practice, SecretBytes(TOKEN.encode()), lambda: {"name": "Riverside"})
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://gateway", headers={"authorization": f"Bearer {TOKEN}"}
    ) as http:
        yield http


async def events_of(http: httpx.AsyncClient, bundle: bytes, **options: str) -> list[dict[str, Any]]:
    answer = await http.post("/v1/import", content=bundle, params=options)
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.text.splitlines()]


async def test_nothing_but_the_status_is_said_without_the_token(http: httpx.AsyncClient) -> None:
    for headers in ({"authorization": ""}, {"authorization": "Bearer wrong"}):
        assert (await http.get("/v1/patients", headers=headers)).json()["code"] == "gateway.unauthorised"
        assert (await http.get("/v1/status", headers=headers)).status_code == 200


async def test_a_fault_of_the_gateway_is_named_to_the_portals_pages(practice: Practice) -> None:
    def broken() -> dict[str, Any]:
        raise KeyError("secret of the house")

    for portal in ("http://portal.example", None):
        app = make_app(practice, SecretBytes(TOKEN.encode()), broken, portal)
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            answer = await client.get("/v1/status", headers={"origin": "http://portal.example"})
        assert (answer.status_code, answer.json()["code"]) == (500, "internal")
        assert answer.headers.get("access-control-allow-origin") == portal


async def test_an_import_by_a_stranger_is_refused_before_its_first_line(http: httpx.AsyncClient) -> None:
    answer = await http.post("/v1/import", content=bundle_of("stranger", ["a"]), params={"author": os.urandom(32).hex()})
    assert (answer.status_code, answer.json()["code"]) == (404, "keyring.not_found")


@pytest.mark.parametrize("path", ["/v1/patients", "/v1/claims", "/v1/claims/finish"])
async def test_a_body_with_a_broken_letter_is_malformed(http: httpx.AsyncClient, path: str) -> None:
    answer = await http.post(path, content=b'{"signed": "\xff", "token": ""}')
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed")


async def test_what_is_imported_granted_and_read_comes_back_as_it_was(http: httpx.AsyncClient, practice: Practice) -> None:
    told = await events_of(http, bundle_of(f"web-{os.urandom(4).hex()}", ["a", "b"]))
    assert [event["event"] for event in told] == ["planned", "progress", "finished"]
    (patient,) = practice.index.patients()
    assert patient.custodial_id is not None
    owner = Owner(practice.network, practice.clock, practice.keyring.custodial_keys(bytes.fromhex(patient.custodial_id)))

    doctor = (await http.get("/v1/staff")).json()[0]
    wish = {"credential_id": doctor["credential_id"], "purpose": "treatment", "date_from": "1900-01-01", "date_to": "2100-12-31"}
    request = decode_as(AccessRequest, bytes.fromhex((await http.post("/v1/access-requests", json=wish)).json()["request"]))
    made = await owner.grant(request, lasts_ms=DAY_MS, date_from="1900-01-01", date_to="2100-12-31")
    assert (await http.post("/v1/grants/collect")).json() == {"grants": [made.grant_id.hex()], "refused": {}}
    (held,) = (await http.get("/v1/grants")).json()
    assert (held["grant_id"], held["patient_id"], held["revoked"]) == (made.grant_id.hex(), patient.patient_id, False)

    read = (await http.post(f"/v1/grants/{made.grant_id.hex()}/read", json={"reason": "visit"})).json()
    assert {record["record_id"] for record in read["records"]} == set(told[-1]["records"])
    assert len(read["entry_ids"]) == 1
    notes = [json.loads(base64.b64decode(item["content"])) for record in read["records"] for item in record["items"]]
    assert {note["code"]["text"] for note in notes if note["resourceType"] == "Observation"} == {"a", "b"}

    await owner.revoke(made.grant_id, made.body.nonce)
    refused = await http.post(f"/v1/grants/{made.grant_id.hex()}/read", json={"reason": "again"})
    assert (refused.status_code, refused.json()["code"]) == (403, "grant.revoked")
    assert [grant["revoked"] for grant in (await http.get("/v1/grants")).json()] == [True]


async def test_a_request_is_listed_with_its_wishes_until_a_grant_answers_it(http: httpx.AsyncClient, practice: Practice) -> None:
    await events_of(http, bundle_of(f"wish-{os.urandom(4).hex()}", ["a"]))
    (patient,) = practice.index.patients()
    assert patient.custodial_id is not None
    owner = Owner(practice.network, practice.clock, practice.keyring.custodial_keys(bytes.fromhex(patient.custodial_id)))
    doctor = (await http.get("/v1/staff")).json()[0]["credential_id"]
    terms = {"credential_id": doctor, "purpose": "treatment", "date_from": "2020-01-01", "date_to": "2030-12-31"}
    wish = {"patient_id": patient.patient_id, "lasts_days": 7, "reason": "follow-up"}
    for wrong, code in (
        ({"patient_id": "nobody"}, (404, "patient.unknown")),
        ({"reason": "x" * 121}, (400, "malformed")),
        ({"lasts_days": -1}, (400, "malformed")),
        ({"date_to": "2019-12-31"}, (400, "malformed")),
    ):
        answer = await http.post("/v1/access-requests", json=terms | wrong)
        assert (answer.status_code, answer.json()["code"]) == code
    request = (await http.post("/v1/access-requests", json=terms | wish)).json()["request"]
    (listed,) = (await http.get("/v1/access-requests")).json()
    assert {**terms, **wish, "request": request, "grant_id": "", "mode": "read"}.items() <= listed.items()
    asked = decode_as(AccessRequest, bytes.fromhex(request))
    made = await owner.grant(asked, lasts_ms=DAY_MS, date_from="2020-01-01", date_to="2020-12-31")
    await http.post("/v1/grants/collect")
    assert [one["grant_id"] for one in (await http.get("/v1/access-requests")).json()] == [made.grant_id.hex()]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/access-requests", {"credential_id": "zz"}),
        ("/v1/compartments", {"owner_digest": "11"}),
        (f"/v1/grants/{'00' * 32}/read", {"reason": "x", "more": 1}),
        ("/v1/grants/zz/read", {"reason": "x"}),
    ],
)
async def test_what_is_not_as_documented_is_malformed(http: httpx.AsyncClient, path: str, body: dict[str, Any]) -> None:
    answer = await http.post(path, json=body)
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed")
