"""A hospital's folder, as its system left it, through the import and the gateway on a real node; read back by owners and under a grant."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.service.running import OneNode
from typer.testing import CliRunner, Result

from hce.app.cli.main import app_of
from hce.app.gateway import bearer_token
from hce.app.gateway_client import GatewayClient
from hce.app.handover.files import Files, find_sources
from hce.app.handover.sending import Outcome, known_names, outcome_of, send_all
from hce.app.preflight import free_ports
from hce.app.serving import serving
from hce.foundation.codec.dagcbor import decode_as
from hce.foundation.crypto.secret import SecretBytes
from hce.service.fhir.scan import Found, Passed
from hce.service.fhir.sorting import sort_out
from hce.service.gateway.http import make_app
from hce.service.gateway.practice import Practice
from hce.service.sdk.owner import Owner
from hce.service.terms.grants import AccessRequest

TOKEN = "0e" * 32
Json = dict[str, Any]


def patient(name: str) -> Json:
    """Other people in each test: custodial accounts outlive an index."""
    number = [{"system": "urn:handover", "value": os.urandom(8).hex()}]
    return {"resourceType": "Patient", "id": name, "identifier": number, "name": [{"text": name}], "birthDate": "1970-01-01"}


def result(name: str, who: str, **changes: Any) -> Json:
    subject = {"reference": f"Patient/{who}"}
    return {"resourceType": "Observation", "id": name, "status": "final", "code": {"text": "x"}, "subject": subject, **changes}


@pytest.fixture
async def client(practice: Practice) -> AsyncIterator[GatewayClient]:
    (port,) = free_ports(1)
    face = make_app(practice, SecretBytes(TOKEN.encode()), dict)
    async with serving(face, port), GatewayClient(f"http://127.0.0.1:{port}", TOKEN) as client:
        yield client


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Lines of a bulk export, a search result, single files, a packed file; and what does not belong there."""
    made = tmp_path / "export"
    (made / "deep").mkdir(parents=True)

    def write(name: str, content: bytes) -> None:
        (made / name).write_bytes(content)

    def lines(*resources: Json) -> bytes:
        return b"".join(json.dumps(one).encode() + b"\n" for one in resources)

    write("Patient.ndjson", lines(patient("ann"), patient("ben")))
    write("Observation.ndjson", lines(result("a1", "ann"), result("b1", "ben"), result("s1", "stranger"), {"resourceType": "Obs"}))
    write("deep/more.ndjson.gz", gzip.compress(lines(result("a2", "ann", effectiveDateTime="2020-02-02"), result("a1", "ann"))))
    found = [{"fullUrl": "http://ehr.example/Patient/cat", "resource": patient("cat")}]
    found += [{"fullUrl": "http://ehr.example/Observation/c1", "resource": result("c1", "cat", note=[{"text": "  spaced "}])}]
    write("search.json", json.dumps({"resourceType": "Bundle", "type": "searchset", "entry": found}, indent=3).encode())
    write("organisation.json", b'{"resourceType":"Organization","id":"org","name":"Handover House"}')
    write("definition.json", b'{"resourceType":"ValueSet","id":"v","status":"active"}')
    write("invalid.json", json.dumps(result("a3", "ann", colour="blue")).encode())
    write("broken.json.gz", gzip.compress(b"{}")[:-4])
    write("notes.txt", b"not ours")
    return made


async def handed_over(client: GatewayClient, *paths: Path, patient_id: str = "", base: str = "") -> Outcome:
    sources, aside = find_sources(paths)
    found: list[Found] = []
    passed: list[Passed] = []
    with Files(sources) as files:
        for number in range(len(sources)):
            for one in files.look_through(number, base):
                (found if isinstance(one, Found) else passed).append(one)  # type: ignore[arg-type]  # sorted by what it is
        result = sort_out(found, known=await known_names(client))
        sent = await send_all(client, files, result.groups, patient_id, lambda *_: None)
        return outcome_of(files, aside, result.groups, [*passed, *result.passed], result.repeated, sent)


async def test_a_folder_is_taken_once_and_accounted_for(client: GatewayClient, folder: Path) -> None:
    first = await handed_over(client, folder)
    assert (first.files, first.aside, first.patients, first.resources, first.repeated) == (8, 1, 3, 8, 1)
    assert first.definitions == {"ValueSet": 1}
    assert first.refused == {
        "fhir.bundle_malformed": 1,
        "fhir.invalid": 1,
        "fhir.patient_unknown": 1,
        "fhir.unknown_type": 1,
    }
    assert {(one.file, one.entry, one.code) for one in first.rejects} == {
        ("broken.json.gz", -1, "fhir.bundle_malformed"),
        ("invalid.json", 0, "fhir.invalid"),
        ("Observation.ndjson", 2, "fhir.patient_unknown"),
        ("Observation.ndjson", 3, "fhir.unknown_type"),
    }
    assert first.failed == 1, "one file"
    again = await handed_over(client, folder)
    assert (again.records, again.resources, again.already) == (0, 0, 8)
    assert again.refused == first.refused
    (folder / "Observation.ndjson").write_bytes(json.dumps(result("a1", "ann", status="amended")).encode())
    (folder / "deep/more.ndjson.gz").unlink()
    changed = await handed_over(client, folder)
    assert (changed.resources, changed.amended) == (1, 1)


async def test_what_was_handed_over_is_read_back_byte_for_byte(client: GatewayClient, folder: Path, practice: Practice) -> None:
    await handed_over(client, folder)
    handed = [line for name in ("Patient", "Observation") for line in (folder / f"{name}.ndjson").read_bytes().splitlines()]
    handed += gzip.decompress((folder / "deep/more.ndjson.gz").read_bytes()).splitlines()
    search = (folder / "search.json").read_text()
    (doctor, *_) = await client.get("/v1/staff")
    terms = {"credential_id": doctor["credential_id"], "purpose": "treatment", "date_from": "1900-01-01", "date_to": "2100-01-01"}
    opened: set[bytes] = set()
    for person in practice.people():
        assert person.custodial_id is not None
        owner = Owner(practice.network, practice.clock, practice.keyring.custodial_keys(bytes.fromhex(person.custodial_id)))
        own = {item.content for record in (await owner.read_own()).opened.values() for item in record.manifest.items}
        request = decode_as(AccessRequest, bytes.fromhex((await client.post("/v1/access-requests", terms))["request"]))
        made = await owner.grant(request, lasts_ms=3_600_000, date_from="1900-01-01", date_to="2100-01-01")
        await client.post("/v1/grants/collect")
        await owner.wait_granted(made)
        read = await client.post(f"/v1/grants/{made.grant_id.hex()}/read", {"reason": "a sample of everything"})
        assert {base64.b64decode(item["content"]) for record in read["records"] for item in record["items"]} == own
        opened |= own
    assert len(opened) == 7
    for content in opened:
        assert content in handed or content.decode() in search


async def test_an_export_of_what_changed_finds_its_people_under_the_servers_names(client: GatewayClient, tmp_path: Path) -> None:
    whole, changed = tmp_path / "whole.ndjson", tmp_path / "changed.ndjson"
    gil = patient("gil")
    whole.write_bytes(b"\n".join(json.dumps(one).encode() for one in (gil, result("g1", "gil"))))
    changed.write_bytes(b"\n".join(json.dumps(result(*one)).encode() for one in (("g2", "gil"), ("s2", "stranger"))))
    base = f"https://{os.urandom(4).hex()}.example/fhir"
    assert (await handed_over(client, whole, base=base)).resources == 2
    assert (await handed_over(client, changed)).refused == {"fhir.patient_unknown": 2}, "a bare name could be of any server"
    outcome = await handed_over(client, changed, base=base)
    assert (outcome.resources, outcome.patients, outcome.refused) == (1, 1, {"fhir.patient_unknown": 1})
    moved = f"https://{os.urandom(4).hex()}.example/fhir"
    assert (await handed_over(client, whole, base=moved)).resources == 0, "the same bytes are not written under another name"
    changed.write_bytes(json.dumps(result("g3", "gil")).encode())
    assert (await handed_over(client, changed, base=moved)).resources == 1, "the person is known under both servers' names"


async def test_a_person_nothing_can_be_said_of_stops_nobody_else(client: GatewayClient, tmp_path: Path) -> None:
    nameless = {"resourceType": "Patient", "id": "nameless"}
    for name, resource in {"n": nameless, "o": result("o", "nameless"), "p": patient("dora"), "q": result("q", "dora")}.items():
        (tmp_path / f"{name}.json").write_bytes(json.dumps(resource).encode())
    outcome = await handed_over(client, tmp_path)
    assert (outcome.resources, outcome.refused, outcome.failed) == (2, {"patient.unidentifiable": 2}, 1)


async def test_two_people_of_one_name_are_both_left_out(client: GatewayClient, tmp_path: Path) -> None:
    eve = patient("eve")
    for number, resource in enumerate([eve, {**eve, "birthDate": "1999-09-09"}, result("e", "eve")]):
        (tmp_path / f"{number}.json").write_bytes(json.dumps(resource).encode())
    assert (await handed_over(client, tmp_path)).refused == {"fhir.patient_conflict": 3}


async def test_a_second_patient_of_one_name_who_cannot_be_read_may_be_somebody_else(client: GatewayClient, tmp_path: Path) -> None:
    """Two systems' exports in one folder: without the check the first of that name would get the other's results."""
    broken = {**patient("eli"), "birthDate": "9 September 1999", "name": [{"family": "Another"}]}
    for number, resource in enumerate([patient("eli"), broken, result("theirs", "eli")]):
        (tmp_path / f"{number}.json").write_bytes(json.dumps(resource).encode())
    outcome = await handed_over(client, tmp_path)
    assert (outcome.resources, outcome.refused) == (0, {"fhir.patient_conflict": 3})


@pytest.mark.parametrize("named_by", [0, 1])
async def test_what_only_one_version_of_a_resource_names_is_counted_once(
    named_by: int, client: GatewayClient, tmp_path: Path
) -> None:
    """The versions are sent one after another; beside the one that does not name it a medicine is nobody's."""
    subject = {"reference": "Patient/ivy"}
    order = {"resourceType": "MedicationRequest", "id": "r", "status": "active", "intent": "order", "subject": subject}
    medicines = [{"medicationReference": {"reference": "Medication/m"}}, {"medicationCodeableConcept": {"text": "x"}}]
    versions = [{**order, **medicines[number ^ named_by]} for number in range(2)]
    for number, resource in enumerate([patient("ivy"), *versions, {"resourceType": "Medication", "id": "m"}]):
        (tmp_path / f"{number}.json").write_bytes(json.dumps(resource).encode())
    outcome = await handed_over(client, tmp_path)
    assert (outcome.resources, outcome.already, outcome.refused) == (4, 0, {})


async def test_a_file_that_changes_meanwhile_is_named(client: GatewayClient, tmp_path: Path) -> None:
    path = tmp_path / "f.json"
    path.write_bytes(json.dumps(patient("fay")).encode())
    sources, _ = find_sources([path])
    with Files(sources) as files:
        found = [one for one in files.look_through(0, "") if isinstance(one, Found)]
        path.write_bytes(path.read_bytes().replace(b"fay", b"ray"))
        (sent,) = await send_all(client, files, sort_out(found).groups, "", lambda *_: None)
    assert sent.failure is not None
    assert sent.failure.code == "import.source_changed"


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    sources, aside = find_sources([tmp_path / "none.json"])
    with Files(sources) as files:
        (passed,) = files.look_through(0, "")
    assert isinstance(passed, Passed)
    assert (passed.code, aside) == ("import.unreadable", 0)


@pytest.fixture
async def home(node: OneNode, practice: Practice) -> AsyncIterator[str]:
    """The network's folder while its hospital's gateway answers where the folder says."""
    url = node.home.network()["gateways"]["riverside"]
    token = SecretBytes(bearer_token(node.home.gateway("riverside")).encode())
    async with serving(make_app(practice, token, dict), urlsplit(url).port or 0):
        yield str(node.home.root)


async def typed(*arguments: str) -> Result:
    """The command line, in a thread: it has an event loop of its own."""
    command = ["import", *arguments]
    return await asyncio.to_thread(lambda: CliRunner().invoke(app_of(["import"]), command, catch_exceptions=False))


async def test_the_command_says_what_became_of_everything(
    home: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HCE_LANG", "en")
    rejects = tmp_path / "rejects.ndjson"
    told = await typed(str(folder), "--home", home, "--rejects", str(rejects))
    assert told.exit_code == 1, "a file cannot be read"
    words = " ".join(told.output.split())
    assert "8 resources of 3 patients are final, from 8 files." in words
    assert "1 are definitions for software and nobody's data; they are not imported (ValueSet)." in words
    assert "fhir.patient_unknown" in words
    assert "Observation.ndjson[2] Observation/s1" in words
    lines = [json.loads(line) for line in rejects.read_bytes().splitlines()]
    assert {(line["file"], line["entry"], line["code"]) for line in lines} >= {("invalid.json", 0, "fhir.invalid")}
    assert rejects.stat().st_mode & 0o077 == 0, "names of files and people's ids are for whoever ran it"
    (folder / "broken.json.gz").unlink()
    told = await typed(str(folder), "--home", home, "--json")
    assert told.exit_code == 3, "some resources are refused"
    outcome = json.loads(told.stdout)
    assert (outcome["resources"], outcome["already"], outcome["problems"]) == (0, 8, 3)
    told = await typed(str(folder / "search.json"), "--home", home)
    assert told.exit_code == 0
    monkeypatch.setenv("HCE_LANG", "zh-CN")
    assert "先前已经写入" in (await typed(str(folder / "search.json"), "--home", home)).output
