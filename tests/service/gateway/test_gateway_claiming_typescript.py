"""The same claim from the other language: a device in TypeScript, a gateway on a socket, a real node."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import pytest
from tests.service.running import OneNode, bundle_of, identity_of_person
from tests.web.device import Device, Refused
from tests.web.node import ROOT, bundled

from hce.app.preflight import free_ports
from hce.app.serving import serving
from hce.foundation.codec.dagcbor import decode_as, encode
from hce.foundation.crypto.secret import SecretBytes
from hce.foundation.crypto.words import seed_from_words
from hce.service.gateway import granted
from hce.service.gateway.claiming import Claims
from hce.service.gateway.granted import collect
from hce.service.gateway.http import make_app
from hce.service.gateway.importing import Finished, import_bundle
from hce.service.gateway.practice import Practice
from hce.service.index.store import Patient
from hce.service.sdk.handovers import find_owner
from hce.service.terms.genesis import genesis_cid
from hce.service.terms.grants import SignedCard, SignedToken

NOTES = ["a", "b"]
COLLECT_S = 0.2


async def _writes(practice: Practice, name: str, notes: list[str]) -> str:
    events = [event async for event in import_bundle(practice, bundle_of(name, notes))]
    assert isinstance(events[-1], Finished)
    return events[-1].patient_id


async def _grants(practice: Practice, phone: Device, request: str) -> dict[str, str]:
    """The gateway looks into its inbox while the device waits for the grant to be final."""
    giving = asyncio.ensure_future(phone.does("grant", request=request, language="en"))
    while not giving.done():
        await collect(practice)
        await asyncio.wait([giving], timeout=COLLECT_S)
    given: dict[str, str] = await giving
    return given


async def test_a_device_in_typescript_claims_reads_grants_and_is_found_again(
    node: OneNode, practice: Practice, tmp_path: Path
) -> None:
    script = bundled(tmp_path / "js", ROOT / "web/sdk/tests/live/patient.ts")
    name = os.urandom(6).hex()
    patient_id = await _writes(practice, name, NOTES)
    card = await Claims(practice).print_card(patient_id)
    [port] = free_ports(1)
    at = {"urls": node.url, "genesis": genesis_cid(node.home.genesis()).hex()}
    desk = {"gateway": f"http://127.0.0.1:{port}", "code": card.code, "org_id": card.org_id}
    async with serving(make_app(practice, SecretBytes(b"0f" * 32), dict), port), Device.new(script) as phone:
        begun = await phone.does("begin", language="en", **at)
        words = begun["words"]
        with pytest.raises(Refused, match="code_unreadable"):
            await phone.does("claim", words=words, **desk | {"code": "AAAAA-AAAAA-AAAAA-AAAAA"})
        claimed = await phone.does("claim", words=words, **desk)
        assert claimed["before"] != claimed["compartment"]
        assert (await phone.does("claim", words=words, **desk))["compartment"] == claimed["compartment"], "again is no harm"
        found = practice.index.patient(patient_id)
        assert found is not None
        assert (found.custodial_id, found.compartment_id.hex()) == (None, claimed["compartment"])
        await _writes(practice, name, [*NOTES, "new"])
        record = await phone.does("record")
        assert (len(record["items"]), record["refused"]) == (4, {})
        assert await phone.does("waiting") == [], "the hospital was allowed to write on"
        request = await granted.ask(practice, await practice.writer(), "treatment", "read", "1900-01-01", "2100-12-31")
        given = await _grants(practice, phone, encode(request).hex())
        read = await granted.read(practice, bytes.fromhex(given["grant"]), [], "all of it")
        assert (len(read.opened), read.refused) == (4, {}), "the keys of before went along with the grant"
        assert (await phone.does("log"))["complete"]
    await practice.open_compartment(bytes.fromhex(begun["owner_digest"]), bytes.fromhex(begun["recovery_digest"]))  # a decoy
    async with Device.new(script) as other:
        strange = await other.does("begin", language="en", **at)
        assert await other.does("find", words=strange["words"]) is None
        assert await other.does("find", words=words) == claimed["compartment"]
        assert json.dumps(await other.does("record"), sort_keys=True) == json.dumps(record, sort_keys=True)
        assert len(await other.does("erase")) == 2, "one receipt for each feed there is something in"
        assert (await other.does("record"))["items"] == {}


async def test_new_words_from_a_device_in_typescript_are_found_by_both_languages(
    node: OneNode, practice: Practice, tmp_path: Path
) -> None:
    script = bundled(tmp_path / "js", ROOT / "web/sdk/tests/live/patient.ts")
    at = {"urls": node.url, "genesis": genesis_cid(node.home.genesis()).hex()}
    async with Device.new(script) as phone:
        account = await phone.does("begin", language="en", **at)
        words = account["words"]
        opened = await practice.open_compartment(bytes.fromhex(account["owner_digest"]), bytes.fromhex(account["recovery_digest"]))
        given = await phone.does("card", org_id=practice.org_id.hex())
        patient = await _enrolled(practice, given)
        await _writes_for(practice, patient, NOTES)
        renewed = await phone.does("renew", words=words, language="en")
        new_words = renewed["words"]
        assert renewed["compartment"] == opened.hex()
        assert renewed["shown"].startswith("You replace the keys of your account")
        assert len((await phone.does("record"))["items"]) == 3
        with pytest.raises(Refused, match=r"owner\.replaced"):
            await phone.does("find", words=words)
    found = await find_owner(practice.network, practice.clock, seed_from_words(new_words))
    assert found is not None
    read = await found.owner.read_own()
    assert (len(read.opened), read.refused) == (3, {})


async def _enrolled(practice: Practice, given: dict[str, str]) -> Patient:
    card = decode_as(SignedCard, bytes.fromhex(given["card"]))
    token = decode_as(SignedToken, bytes.fromhex(given["token"]))
    return await practice.enrol(identity_of_person("renewed"), card, token)


async def _writes_for(practice: Practice, patient: Patient, notes: list[str]) -> None:
    bundle = bundle_of("renewed", notes)
    events = [event async for event in import_bundle(practice, bundle, patient_id=patient.patient_id)]
    assert isinstance(events[-1], Finished)
