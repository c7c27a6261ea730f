"""An organisation opens accounts for people who have none: without a token, within its bound, for pages of the portal alone."""

from __future__ import annotations

import os

import httpx
import msgspec
import pytest
from tests.service.running import ManualClock

from hce.foundation.codec.dagcbor import encode
from hce.foundation.crypto.secret import SecretBytes
from hce.foundation.types.errors import NotFound
from hce.service.fhir.identity import PatientIdentity
from hce.service.gateway.http import make_app
from hce.service.gateway.practice import Practice
from hce.service.gateway.welcome import HOUR_MS, NoWelcome, Welcome, WelcomesUsedUp
from hce.service.sdk.owner import Owner
from hce.service.vault.compartments import CompartmentKeys
from hce.service.vault.errors import CardInvalid

PORTAL = "http://localhost:7180"
TOKEN = "0f" * 32
SOMEBODY = PatientIdentity(("somebody",), (), "1984-02-29", (), "Somebody")


def http_of(practice: Practice, per_hour: int) -> httpx.AsyncClient:
    app = make_app(practice, SecretBytes(TOKEN.encode()), dict, PORTAL, per_hour)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway")


def somebody(practice: Practice) -> Owner:
    return Owner(practice.network, practice.clock, CompartmentKeys(SecretBytes(os.urandom(64)), 0))


def digests(owner: Owner) -> dict[str, str]:
    return {"owner_digest": owner.keys.owner_digest.hex(), "recovery_digest": owner.keys.recovery_digest.hex()}


async def test_a_stranger_gets_an_account_without_a_token(practice: Practice) -> None:
    owner = somebody(practice)
    async with http_of(practice, 2) as http:
        answer = await http.post("/v1/welcome", json=digests(owner))
        assert answer.json() == {"compartment_id": owner.compartment_id.hex()}, answer.text
        assert await owner.compartment() is not None
        assert (await http.post("/v1/welcome", json=digests(owner))).status_code == 200, "opening it again finds it open"
        used_up = await http.post("/v1/welcome", json=digests(somebody(practice)))
        assert (used_up.status_code, used_up.json()["code"]) == (429, "gateway.welcomes_used_up")


async def test_what_was_opened_an_hour_ago_counts_no_more(practice: Practice, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = ManualClock()
    monkeypatch.setattr(practice, "clock", clock)
    welcome = Welcome(practice, 1)
    keys = somebody(practice).keys
    await welcome.open(keys.owner_digest, keys.recovery_digest)
    with pytest.raises(WelcomesUsedUp):
        await welcome.open(keys.owner_digest, keys.recovery_digest)
    clock.ahead_ms += HOUR_MS
    await welcome.open(keys.owner_digest, keys.recovery_digest)


async def test_an_organisation_that_welcomes_nobody_pays_for_nobody(practice: Practice) -> None:
    with pytest.raises(NoWelcome):
        await Welcome(practice, 0).open(bytes(32), bytes(32))


async def test_only_pages_of_the_portal_may_ask(practice: Practice) -> None:
    async with http_of(practice, 1) as http:
        ours = await http.get("/v1/status", headers={"origin": PORTAL})
        assert ours.headers["access-control-allow-origin"] == PORTAL
        theirs = await http.get("/v1/status", headers={"origin": "http://elsewhere.example"})
        assert "access-control-allow-origin" not in theirs.headers
        wish = {"origin": PORTAL, "access-control-request-method": "POST", "access-control-request-headers": "content-type"}
        assert (await http.options("/v1/welcome", headers=wish)).status_code == 200


async def test_nothing_is_done_for_a_page_of_another_origin(practice: Practice) -> None:
    """Plain text is asked for without a question beforehand: a page need not read the answer to have spent an opening."""
    owner = somebody(practice)
    async with http_of(practice, 1) as http:
        for origin in ("http://elsewhere.example", "null", "http://elsewhere.example:7150"):
            for path in ("/v1/welcome", "/v1/claims", "/v1/claims/finish"):
                headers = {"origin": origin, "content-type": "text/plain"}
                refused = await http.post(path, content=msgspec.json.encode(digests(owner)), headers=headers)
                assert (refused.status_code, refused.json()["code"]) == (403, "gateway.foreign_page")
        with pytest.raises(NotFound):
            await owner.compartment()
        assert (await http.post("/v1/welcome", json=digests(owner), headers={"origin": PORTAL})).status_code == 200


async def test_a_person_is_enrolled_by_token_alone_once_their_card_is_published(practice: Practice) -> None:
    owner = somebody(practice)
    await practice.open_compartment(owner.keys.owner_digest, owner.keys.recovery_digest)
    token = owner.token(practice.org_id, 1)
    with pytest.raises(CardInvalid):
        await practice.enrol(SOMEBODY, None, token)
    card = await owner.publish_card()
    patient = await practice.enrol(SOMEBODY, None, token)
    assert (patient.compartment_id, patient.card, patient.custodial_id) == (owner.compartment_id, encode(card), None)
