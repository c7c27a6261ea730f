"""A patient whose keys live in another language: web/sdk, run by Node, against real nodes and gateways.

Python plays the hospital, the clinic and the power cut. The keys, the proofs and the plaintext of the patient are Node's alone.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.web.device import PATIENCE_S, Device, Refused
from tests.web.node import ROOT, bundled

from hce.app.devnet.home import Home
from hce.app.devnet.run import port_count
from hce.app.gateway_client import GatewayClient
from hce.app.preflight import free_ports
from hce.app.tour.patient import patient_of, resources_of
from hce.app.up import running
from hce.service.sdk.errors import Remote
from hce.service.terms.genesis import Params, genesis_cid

NODES = 4
PARAMS = Params(block_interval_ms=200, anchor_blocks=8)
BUNDLE = ROOT / "src/hce/app/devnet/bundles/zhen-shifan.json"


@pytest.mark.slow
async def test_a_patient_in_typescript_lives_the_life_of_a_record(tmp_path: Path) -> None:
    script = bundled(tmp_path / "js", ROOT / "web/sdk/tests/live/patient.ts")
    home = Home(tmp_path / "home")
    bundle = BUNDLE.read_bytes()
    async with running(home, PARAMS, NODES, free_ports(port_count(NODES)), _silent) as supervisor:
        described = home.network()
        at = {"urls": " ".join(described["nodes"]), "genesis": genesis_cid(home.genesis()).hex()}
        async with (
            GatewayClient.at(described["gateways"]["riverside"], home.gateway("riverside")) as hospital,
            GatewayClient.at(described["gateways"]["oldtown"], home.gateway("oldtown")) as clinic,
        ):
            async with Device.new(script) as phone:
                account = await phone.does("begin", language="zh-CN", **at)
                assert account["opened"] is False
                patient_id = await _receives_a_record(phone, account, hospital, bundle)
                later = await _has_the_last_word_on_what_comes_in(phone, hospital, patient_id, bundle)
                grant = await _lets_the_clinic_read(phone, clinic)
                await _clinic_reads(clinic, grant, bundle, later)
                log = await phone.does("log")
                assert log["complete"], log["findings"]
                assert [read["name"] for read in log["reads"]] == ["Dr. Ana Keller 安娜·凯勒"]
                assert await phone.does("revoke", grant=grant) > 0
                with pytest.raises(Remote, match="revoked"):
                    await clinic.post(f"/v1/grants/{grant}/read", {"reason": "once more", "records": []})
                await _sees_the_receipts_on_chain(phone)
            await supervisor.kill("node-3")
            async with Device.new(script) as new_phone:
                await _recovers(new_phone, account["words"], at, {**_as_hex(bundle), **_as_hex(later)}, grant)
                await _erases(new_phone)


async def _receives_a_record(phone: Device, account: dict[str, Any], hospital: GatewayClient, bundle: bytes) -> str:
    digests = {name: account[name] for name in ("owner_digest", "recovery_digest")}
    opened = await hospital.post("/v1/compartments", digests)
    assert opened["compartment_id"] == account["compartment"]
    org_id = (await hospital.get("/v1/status"))["org_id"]
    enrolled = await hospital.post("/v1/patients", {"patient": patient_of(bundle), **await phone.does("card", org_id=org_id)})
    patient_id: str = enrolled["patient_id"]
    await _imports(hospital, bundle, patient_id)
    record = await phone.does("record")
    assert record["refused"] == {}
    assert record["items"] == _as_hex(bundle), "byte for byte what the hospital wrote"
    assert await phone.does("waiting") == [], "the token lets the hospital write"
    return patient_id


async def _has_the_last_word_on_what_comes_in(phone: Device, hospital: GatewayClient, patient_id: str, bundle: bytes) -> bytes:
    """Without the token in force, what the hospital writes waits until the patient takes it."""
    await phone.does("revoke_token")
    later = _one_more(bundle)
    await _imports(hospital, later, patient_id)
    assert await phone.does("waiting") == [1]
    assert (await phone.does("record"))["items"] == _as_hex(bundle)
    await phone.does("accept")
    assert await phone.does("waiting") == []
    assert (await phone.does("record"))["items"] == {**_as_hex(bundle), **_as_hex(later)}
    return later


async def _imports(hospital: GatewayClient, bundle: bytes, patient_id: str) -> None:
    events = [event async for event in hospital.import_bundle(bundle, patient_id=patient_id)]
    assert events[-1]["event"] == "finished", events[-1]


async def _lets_the_clinic_read(phone: Device, clinic: GatewayClient) -> str:
    [doctor] = await clinic.get("/v1/staff")
    asked = {"credential_id": doctor["credential_id"], "purpose": "treatment", "date_from": "1900-01-01", "date_to": "2100-12-31"}
    request = (await clinic.post("/v1/access-requests", asked))["request"]
    granted = await phone.does("grant", request=request, language="en")
    assert granted["shown"].startswith("You let Dr. Ana Keller 安娜·凯勒 (")
    assert "records dated 1900-01-01 to 2100-12-31, for treatment" in granted["shown"]
    grant: str = granted["grant"]
    return grant


async def _clinic_reads(clinic: GatewayClient, grant: str, *bundles: bytes) -> None:
    """Python opens what was granted by TypeScript."""
    read = await clinic.post(f"/v1/grants/{grant}/read", {"reason": "follow-up", "records": []})
    assert read["refused"] == {}
    assert {item["name"] for record in read["records"] for item in record["items"]} == {
        name for one in bundles for name in _as_hex(one)
    }


async def _sees_the_receipts_on_chain(phone: Device) -> None:
    """Each node says its list on chain when its period is over."""
    deadline = asyncio.get_running_loop().time() + PATIENCE_S
    while (found := await phone.does("anchors"))["waiting"] or found["unanswered"]:
        assert asyncio.get_running_loop().time() < deadline, found
    assert found["missing"] == []
    assert found["anchored"] >= 3, "a receipt of each of at least two thirds of the nodes"


async def _recovers(phone: Device, words: str, at: dict[str, str], items: dict[str, str], grant: str) -> None:
    """Twelve words and nothing else: the record, the log, and the power to end what the log tells of."""
    account = await phone.does("begin", words=words.replace(" ", ""), **at)
    assert account["opened"] is True
    assert (await phone.does("record"))["items"] == items, "with one of four nodes down"
    log = await phone.does("log_from_words")
    assert (log["complete"], log["grants"], log["on_chain"]) == (True, [grant], 1), log["findings"]
    assert log["own_reads"] > 0, "reading one's own record is noted too"
    with pytest.raises(Refused, match=r"grant\.revoked"):
        await phone.does("revoke", grant=grant)


async def _erases(phone: Device) -> None:
    assert sorted(await phone.does("erase")) == [0, 1, 2], "every living node signs that it forgot the keys"
    record = await phone.does("record")
    assert record["items"] == {}
    assert set(record["refused"].values()) == {"record.envelope_missing"}


def _one_more(bundle: bytes) -> bytes:
    """The same patient, byte for byte, and one observation more than before."""
    person = next(one for one in msgspec.json.decode(bundle, type=_Entries).entry if b'"Patient"' in bytes(one.resource))
    observation = {
        "resourceType": "Observation",
        "status": "final",
        "code": {"text": "body weight"},
        "subject": {"reference": person.fullUrl},
        "effectiveDateTime": "2024-05-06",
        "valueQuantity": {"value": 61.5, "unit": "kg"},
    }
    name = "urn:uuid:7b1f0a52-3a51-4c0e-9a37-4ff3a1c4b0aa"
    posted = {"method": "POST", "url": "Observation"}
    entries = [person, {"fullUrl": name, "resource": observation, "request": posted}]
    return msgspec.json.encode({"resourceType": "Bundle", "type": "transaction", "entry": entries})


class _Entry(msgspec.Struct):
    fullUrl: str
    resource: msgspec.Raw
    request: dict[str, str]


class _Entries(msgspec.Struct):
    entry: list[_Entry]


def _as_hex(bundle: bytes) -> dict[str, str]:
    """Name -> exact bytes of what becomes a record."""
    return {name: content.hex() for name, content in resources_of(bundle).items()}


def _silent(key: str, **fields: Any) -> None:
    """Nobody watches."""
