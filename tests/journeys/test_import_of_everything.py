"""Everything there is, through the real thing: imported with kills in between, then read back in full, byte for byte.

All shared synthetic patients and the official FHIR R4 examples (npm `hl7.fhir.r4.examples`, in the folder HCE_SUITES) go through
`hce import` into real node processes. The import and the gateway are killed at random moments and the import is run again. Then every
resource is read by each owner without the keyholders (half of the people have seed words of their own, the others are custodial) and by a
clinician of another house under a grant. What was handed over is taken apart here by other code than the product's, and every piece is
accounted for.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import json
import os
import random
import re
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from hce.app.devnet import run
from hce.app.devnet.home import Home
from hce.app.devnet.people import certify
from hce.app.gateway_client import GatewayClient
from hce.app.preflight import free_ports
from hce.app.supervisor import Supervisor
from hce.app.tour.stage import FIRST_DAY, LAST_DAY, new_person
from hce.foundation.codec.dagcbor import decode_as, encode
from hce.foundation.crypto.words import seed_from_words
from hce.foundation.types.clock import SystemClock
from hce.service.gateway.practice import OWN_ACCOUNT
from hce.service.index.store import Index, Patient
from hce.service.keyring.keyring import Keyring
from hce.service.sdk.network import Network
from hce.service.sdk.owner import Owner
from hce.service.terms.genesis import Params
from hce.service.terms.grants import AccessRequest
from hce.service.vault.compartments import CompartmentKeys

ROOT = Path(__file__).parents[2]
SYNTHEA = Path(os.environ.get("HCE_SHARED", ROOT.parent / "shared")) / "data/synthea-r4"
EXAMPLES = Path(os.environ.get("HCE_SUITES", "-")) / "hl7.fhir.r4.examples/package"
BASE = "http://hl7.org/fhir"
NODES = int(os.environ.get("HCE_IMPORT_NODES", "4"))
BLOCK_MS = int(os.environ.get("HCE_IMPORT_BLOCK_MS", "500"))
KILLS = int(os.environ.get("HCE_IMPORT_KILLS", "12"))
SEED = int(os.environ.get("HCE_IMPORT_SEED", "4"))
KILL_WITHIN_S = 12.0
LIMIT_S = 1_800
"""Only a hang reaches this."""
HOSPITAL, CLINIC = "riverside", "oldtown"
SPACE = re.compile(rb"[ \t\r\n]*")

Sums = Counter[bytes]
"""Digests of exact bytes, counted."""


class Scene:
    """The network, and who is on it."""

    def __init__(self, home: Home, supervisor: Supervisor, network: Network, http: httpx.AsyncClient) -> None:
        self.home, self.supervisor, self.network, self._http = home, supervisor, network, http
        self.words: dict[bytes, str] = {}
        """Compartment -> seed words, of those who have some."""

    def client(self, name: str) -> GatewayClient:
        return GatewayClient.at(self.home.network()["gateways"][name], self.home.gateway(name))

    async def releases(self) -> float:
        """Key parts released so far by all nodes."""
        pages = [(await self._http.get(url + "/metrics")).text for url in self.home.network()["nodes"]]
        lines = [line for page in pages for line in page.splitlines() if line.startswith("hce_releases_total{")]
        return sum(float(line.split()[-1]) for line in lines)

    async def enrol(self, patient: dict[str, Any]) -> None:
        """A person with fresh seed words, known to the hospital."""
        person = new_person(self.network, "en")
        keys = person.owner.keys
        async with self.client(HOSPITAL) as hospital:
            digests = {"owner_digest": keys.owner_digest.hex(), "recovery_digest": keys.recovery_digest.hex()}
            await hospital.post("/v1/compartments", digests)
            org_id = bytes.fromhex((await hospital.get("/v1/status"))["org_id"])
            card, token = await person.owner.publish_card(), person.owner.token(org_id, 1)
            await hospital.post("/v1/patients", {"patient": patient, "card": encode(card).hex(), "token": encode(token).hex()})
        self.words[person.owner.compartment_id] = person.words

    async def import_once(self, *paths: Path) -> asyncio.subprocess.Process:
        arguments = ["-m", "hce.app.cli", "import", *map(str, paths), "--home", str(self.home.root), "--base", BASE, "--json"]
        environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "HCE_LANG": "en"}
        pipe = asyncio.subprocess.PIPE
        return await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=pipe, stderr=pipe, env=environment)

    def owners(self, folder: Path) -> list[tuple[Patient, Owner]]:
        """Everybody's owner side: from their words, or, for custodial accounts, from the gateway's keyring. The gateway is stopped."""
        index = Index(self.home.gateway(HOSPITAL) / "index.sqlite")
        copy = shutil.copytree(self.home.gateway(HOSPITAL) / "keyring", folder / "keyring")
        found: list[tuple[Patient, Owner]] = []
        with Keyring.open(copy) as keyring:
            for patient in index.patients():
                if patient.custodial_id is None:
                    keys = CompartmentKeys(seed_from_words(self.words[patient.compartment_id]), 0)
                else:
                    keys = keyring.custodial_keys(bytes.fromhex(patient.custodial_id))
                found.append((patient, Owner(self.network, SystemClock(), keys)))
        index.close()
        return found


@asynccontextmanager
async def scene_of(folder: Path) -> AsyncIterator[Scene]:
    home = Home(folder / "run")
    run.create(home, free_ports(run.port_count(NODES)), NODES, Params(block_interval_ms=BLOCK_MS))
    supervisor = Supervisor(home.logs)
    try:
        nodes, gateways = run.plans(home)
        await run.start_all(supervisor, nodes, lambda key, **fields: pytest.fail(f"{key} {fields}"))
        async with AsyncExitStack() as stack:
            http = await stack.enter_async_context(httpx.AsyncClient(trust_env=False, timeout=30))
            network = await stack.enter_async_context(await Network.join([plan.url for plan in nodes], home.genesis()))
            await network.started()
            for name in (HOSPITAL, CLINIC):
                await certify(home, network, name)
            for plan in gateways:
                await supervisor.start(plan)
            yield Scene(home, supervisor, network, http)
    finally:
        await supervisor.stop_all()


def pieces_of(path: Path) -> Iterator[bytes]:
    """The exact bytes of every resource in a file: the Bundle's entries, or the whole file. Written apart from the product's reader."""
    raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    text = raw.decode()
    whole = json.loads(text)
    if whole.get("resourceType") != "Bundle":
        yield text.strip().encode()
        return
    at = 0
    for entry in whole.get("entry", []):
        if "resource" not in entry:
            continue
        at = _next_resource(text, at, entry["resource"])
        _, end = json.JSONDecoder().raw_decode(text, at)
        yield text[at:end].encode()
        at = end


def _next_resource(text: str, at: int, wanted: Any) -> int:
    """Where the next member "resource" begins whose value is the wanted one."""
    while True:
        at = text.index('"resource"', at) + len('"resource"')
        colon = re.compile(r"[ \t\r\n]*:[ \t\r\n]*").match(text, at)
        if colon is None:
            continue
        try:
            value, _ = json.JSONDecoder().raw_decode(text, colon.end())
        except ValueError:
            continue
        if value == wanted:
            return colon.end()


def digest(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


async def finished(process: asyncio.subprocess.Process) -> dict[str, Any]:
    out, err = await asyncio.wait_for(process.communicate(), LIMIT_S)
    assert out, err.decode()[-3_000:]
    outcome: dict[str, Any] = json.loads(out)
    return outcome


async def import_with_kills(scene: Scene, paths: list[Path], chance: random.Random) -> tuple[int, int]:
    """How often the import and the gateway were killed."""
    killed = Counter[str]()
    while killed.total() < KILLS:
        process = await scene.import_once(*paths)
        done = asyncio.create_task(process.communicate())
        await asyncio.wait({done}, timeout=chance.uniform(0.5, KILL_WITHIN_S))
        if done.done():
            break
        if chance.random() < 0.5:
            killed["gateway"] += 1
            await scene.supervisor.kill(f"gateway-{HOSPITAL}")
            await scene.supervisor.restart(f"gateway-{HOSPITAL}")
            await asyncio.wait({done}, timeout=chance.uniform(0.5, KILL_WITHIN_S))
        if not done.done():
            killed["import"] += 1
            process.send_signal(signal.SIGKILL)
        await done
    return killed["import"], killed["gateway"]


async def read_as_owners(scene: Scene, owners: list[tuple[Patient, Owner]]) -> dict[bytes, Sums]:
    """Compartment -> digests of all that its owner opens; both locks are checked, no keyholder is asked."""
    opened: dict[bytes, Sums] = {}
    before = await scene.releases()
    for patient, owner in owners:
        own = await owner.read_own()
        assert not own.refused, (patient.label, {error.code for error in own.refused.values()})
        assert own.both_locks_checked == len(own.opened)
        contents = [item.content for record in own.opened.values() for item in record.manifest.items]
        opened[patient.compartment_id] = Counter(map(digest, contents))
    assert await scene.releases() == before, "no keyholder released anything"
    return opened


async def read_as_clinician(scene: Scene, owners: list[tuple[Patient, Owner]]) -> dict[bytes, Sums]:
    """The same under a grant to the clinic, through its gateway."""
    opened: dict[bytes, Sums] = {}
    async with scene.client(CLINIC) as clinic:
        (doctor, *_) = await clinic.get("/v1/staff")
        terms = {"credential_id": doctor["credential_id"], "purpose": "treatment", "date_from": FIRST_DAY, "date_to": LAST_DAY}
        for patient, owner in owners:
            asked = decode_as(AccessRequest, bytes.fromhex((await clinic.post("/v1/access-requests", terms))["request"]))
            made = await owner.grant(asked, lasts_ms=3_600_000, date_from=FIRST_DAY, date_to=LAST_DAY)
            await clinic.post("/v1/grants/collect")
            await owner.wait_granted(made)
            read = await clinic.post(f"/v1/grants/{made.grant_id.hex()}/read", {"reason": "everything"})
            assert not read["refused"], (patient.label, read["refused"])
            contents = [base64.b64decode(item["content"]) for record in read["records"] for item in record["items"]]
            opened[patient.compartment_id] = Counter(map(digest, contents))
    return opened


def account_for(paths: list[Path], outcome: dict[str, Any], opened: Counter[bytes]) -> dict[str, int]:
    """Every piece of every file is opened, or refused by name, or a definition; what is opened was handed over."""
    sources = [path for folder in paths for path in sorted(folder.iterdir())]
    passed = Counter(json.loads(piece).get("resourceType") for path in sources for piece in _readable(path))
    handed = Counter(digest(piece) for path in sources for piece in _readable(path))
    assert not opened.keys() - handed.keys(), "bytes that nobody handed over"
    refused = sum(outcome["refused"].values())
    definitions = sum(outcome["definitions"].values())
    assert all(outcome["definitions"][kind] <= passed[kind] for kind in outcome["definitions"])
    not_opened = sum((handed - Counter(dict.fromkeys(opened, 1 << 30))).values())
    whole_files = sum(reject["entry"] < 0 for reject in outcome["rejects"])
    without_resource = outcome["refused"].get("fhir.no_resource", 0)
    assert not_opened == definitions + refused - whole_files - without_resource
    return {"handed": handed.total(), "opened": opened.total(), "definitions": definitions, "refused": refused}


def _readable(path: Path) -> Iterator[bytes]:
    """Pieces of files whose form is taken; a message or a document stands as one."""
    if path.name.startswith("Bundle-") and json.loads(path.read_bytes())["type"] not in {
        "transaction",
        "batch",
        "collection",
        "searchset",
    }:
        return
    yield from pieces_of(path)


@pytest.mark.slow
@pytest.mark.skipif("HCE_SOAK" not in os.environ, reason="everything there is takes minutes: make soak")
@pytest.mark.skipif(not SYNTHEA.is_dir(), reason=f"NOT TESTED: no shared patients under {SYNTHEA} (set HCE_SHARED)")
@pytest.mark.skipif(not EXAMPLES.is_dir(), reason=f"NOT TESTED: no official examples under {EXAMPLES} (set HCE_SUITES)")
async def test_everything_is_imported_once_through_kills_and_read_back_byte_for_byte(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    paths = [SYNTHEA, EXAMPLES]
    async with scene_of(tmp_path) as scene:
        people = [path for path in sorted(SYNTHEA.iterdir()) if "Information" not in path.name]
        for path in people[::2]:
            entries = json.loads(gzip.decompress(path.read_bytes()))["entry"]
            await scene.enrol(next(one["resource"] for one in entries if one["resource"]["resourceType"] == "Patient"))

        start = time.monotonic()
        kills = await import_with_kills(scene, paths, chance)
        last = await finished(await scene.import_once(*paths))
        took_s = time.monotonic() - start
        again = await finished(await scene.import_once(*paths))
        assert (again["records"], again["resources"]) == (0, 0), "nothing twice"
        assert again["already"] == last["already"] + last["resources"]
        assert (again["refused"], again["definitions"]) == (last["refused"], last["definitions"])

        await scene.supervisor.stop(f"gateway-{HOSPITAL}")
        owners = scene.owners(tmp_path)
        by_owner = await read_as_owners(scene, owners)
        by_clinician = await read_as_clinician(scene, owners)
        assert by_clinician == by_owner
        assert all(set(sums.values()) <= {1} for sums in by_owner.values()), "nothing twice in any account"
        total = sum(by_owner.values(), Counter[bytes]())
        assert total.total() == again["already"]
        figures = account_for(paths, again, total)
        assert sum(patient.custodial_id is None for patient, _ in owners) == len(people[::2])
        assert OWN_ACCOUNT in {patient.patient_id for patient, _ in owners}
        print(
            f"\nnodes {NODES}, block {BLOCK_MS} ms, seed {SEED}; import killed {kills[0]} times, gateway {kills[1]} times; {took_s:.0f} s"
            f" with kills; accounts {len(owners)}; {figures}; refused {again['refused']}"
        )
