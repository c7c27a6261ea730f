"""Words of a patient, planted in names, notes and attachments, are in no node's file, log or memory of what was said, however spelled.

Two real nodes. Everything between them is recorded in the clear by a proxy that holds both link keys, and everything between the
gateway's side and each node by a plain one: no TLS hides anything from this test. What is compressed before it is sent would hide;
nothing of HCE compresses, and the recordings show the values of known words, so that an empty search means something.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import pytest
from tests.service.running import DAY_MS, ManualClock, certified

from hce.app.devnet import run
from hce.app.devnet.damage import damage_shards
from hce.app.devnet.home import Home
from hce.app.gateway import read_settings
from hce.app.lifeline import SUPERVISED
from hce.app.preflight import free_ports
from hce.app.tour.canary import find_in_files
from hce.foundation.codec.dagcbor import decode_as
from hce.foundation.crypto.secret import SecretBytes
from hce.network.link.certificates import NodeCertificates, tls_contexts
from hce.service.gateway.http import make_app
from hce.service.gateway.practice import Practice
from hce.service.gateway.securing import Outbox
from hce.service.index.store import Index
from hce.service.keyring.keyring import Keyring
from hce.service.sdk.network import Network
from hce.service.sdk.owner import Owner
from hce.service.terms.genesis import Params
from hce.service.terms.grants import AccessRequest

NODES, BLOCK_MS, START_S = 2, 150, 60.0
NAME, NOTE, ATTACHED = "Zephyrine Quillfeather", "the canary sang at dusk 晚霞 of her pale knee", "an attachment, only for 青 eyes"
REASON, PATIENT = "because the canary asked", "canary-zq-1"
TOKEN = "0f" * 32
MIN_BYTES = 8
"""Shorter pieces occur by chance."""


def spellings(word: str) -> Iterator[bytes]:
    """Ways in which a text is written by programs: encodings, base64 at each offset, hex, JSON and URL escapes."""
    plain = word.encode()
    yield plain
    for coding in ("utf-16-le", "utf-16-be", "utf-32-le", "gb18030"):
        yield word.encode(coding)
    for raw in (plain, word.encode("utf-16-le")):
        yield from (raw.hex().encode(), raw.hex().upper().encode())
        for offset in range(3):
            coded = base64.b64encode(bytes(offset) + raw)
            inner = coded[4 if offset else 0 : -4]
            yield from (inner, inner.translate(bytes.maketrans(b"+/", b"-_")))
    yield from (json.dumps(word)[1:-1].encode(), quote(word).encode(), plain[::-1])


CANARIES = sorted({one for word in (NAME, NOTE, ATTACHED, REASON, PATIENT) for one in spellings(word) if len(one) >= MIN_BYTES})


def bundle() -> bytes:
    patient = {
        "resourceType": "Patient",
        "id": PATIENT,
        "identifier": [{"system": "urn:test", "value": PATIENT}],
        "name": [{"family": NAME, "given": [NAME]}],
        "birthDate": "1980-01-01",
        "address": [{"text": NOTE}],
    }
    note = {
        "resourceType": "Observation",
        "id": "canary-note",
        "status": "final",
        "code": {"text": NOTE},
        "note": [{"text": NOTE}],
        "subject": {"reference": f"Patient/{PATIENT}"},
        "effectiveDateTime": "2020-01-02",
    }
    document = {
        "resourceType": "DocumentReference",
        "id": "canary-document",
        "status": "current",
        "subject": {"reference": f"Patient/{PATIENT}"},
        "date": "2020-01-02T10:00:00Z",
        "content": [
            {"attachment": {"contentType": "text/plain", "title": ATTACHED, "data": base64.b64encode(ATTACHED.encode()).decode()}}
        ],
    }
    entries = [
        {"fullUrl": f"http://test.example/{one['resourceType']}/{one['id']}", "resource": one}
        | {"request": {"method": "PUT", "url": f"{one['resourceType']}/{one['id']}"}}
        for one in (patient, note, document)
    ]
    return json.dumps({"resourceType": "Bundle", "type": "transaction", "entry": entries}, ensure_ascii=False).encode()


class Recorder:
    """Passes bytes on in both directions and keeps them."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.heard = bytearray()

    @asynccontextmanager
    async def between(self, port: int, to: tuple[str, int], listening: Any = None, dialing: Any = None) -> AsyncIterator[None]:
        async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with suppress(OSError):
                while data := await reader.read(65_536):
                    self.heard += data
                    writer.write(data)
                    await writer.drain()
            writer.transport.abort()

        async def joined(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                there = await asyncio.open_connection(*to, ssl=dialing)
            except OSError:
                writer.transport.abort()
                return
            await asyncio.gather(pump(reader, there[1]), pump(there[0], writer))

        lines: set[asyncio.StreamWriter] = set()

        async def counted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            lines.add(writer)
            with suppress(asyncio.CancelledError):
                await joined(reader, writer)

        server = await asyncio.start_server(counted, "127.0.0.1", port, ssl=listening)
        try:
            yield
        finally:
            server.close()
            for writer in lines:
                writer.transport.abort()
            await asyncio.sleep(0.1)


class Recorded:
    """The network, with a recorder on every line."""

    def __init__(self, root: Path) -> None:
        ports = free_ports(run.port_count(NODES) + NODES + 1)
        own, self._http_ports, self._link_port = ports[: -NODES - 1], ports[-NODES - 1 : -1], ports[-1]
        self.home = Home(root / "home")
        run.create(self.home, own, NODES, Params(block_interval_ms=BLOCK_MS, anchor_blocks=10))
        self.other = Home(root / "other")
        """Node 0's own folder, in which node 1 seems to live where the recorder is."""
        shutil.copytree(self.home.root, self.other.root)
        described = json.loads(self.other.network_path.read_text())
        described["links"][1] = f"127.0.0.1:{self._link_port}"
        self.other.network_path.write_text(json.dumps(described))
        self.urls = [f"http://127.0.0.1:{port}" for port in self._http_ports]
        self.recorders = [Recorder("link"), *(Recorder(f"http {index}") for index in range(NODES))]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        genesis, homes = self.home.genesis(), (self.other, self.home)
        certificates = NodeCertificates([node.link_certificate for node in genesis.nodes])
        seeds = [self.home.node_keys(index).link for index in range(NODES)]
        as_node_1, as_node_0 = tls_contexts(certificates, 1, seeds[1])[1], tls_contexts(certificates, 0, seeds[0])[0]
        async with AsyncExitStack() as stack:
            link = self.recorders[0].between(self._link_port, self.home.link_addresses()[1], as_node_1, as_node_0)
            await stack.enter_async_context(link)
            for index, home in enumerate(homes):
                plan = run.plans(home)[0][index]
                address = urlsplit(plan.url)
                http = self.recorders[1 + index].between(self._http_ports[index], ("127.0.0.1", address.port or 0))
                await stack.enter_async_context(http)
                log = (home.root / f"node-{index}.log").open("ab")
                process = subprocess.Popen(  # noqa: ASYNC220 - starting takes no time
                    [sys.executable, "-m", "hce.app.cli", *plan.arguments],
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=log,
                    env=os.environ | {SUPERVISED: "1", "HCE_LOG": "json"},
                )
                stack.callback(log.close)
                stack.callback(process.communicate)
                stack.callback(process.kill)
            await self._blocks()
            yield

    async def _blocks(self) -> None:
        async with asyncio.timeout(START_S), httpx.AsyncClient(trust_env=False) as http:
            for url in self.urls:
                while True:
                    with suppress(httpx.HTTPError):
                        if (await http.get(url + "/v1/final")).status_code == 200:
                            break
                    await asyncio.sleep(0.1)

    @property
    def url(self) -> str:
        """For `certified`: one node is enough."""
        return self.urls[0]


async def play(recorded: Recorded, folder: Path) -> dict[str, Any]:
    """A hospital imports, the owner reads, a clinician reads under a grant with a reason, the grant ends."""
    await certified(recorded)  # type: ignore[arg-type]  # has a url and a home, as the node of the other tests
    index = Index(folder / "index.sqlite")
    with ExitStack() as stack:
        keyring = stack.enter_context(Keyring.open(recorded.home.gateway("riverside") / "keyring"))
        outbox = stack.enter_context(Outbox.open(folder / "outbox", map_size=1 << 20))
        stack.callback(index.close)
        async with await Network.join(recorded.urls, recorded.home.genesis()) as network:
            practice = Practice(network, keyring, index, outbox, ManualClock())
            await practice.certify_staff(read_settings(recorded.home.gateway("riverside")).staff)
            app = make_app(practice, SecretBytes(TOKEN.encode()), dict)
            headers = {"authorization": f"Bearer {TOKEN}"}
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway", headers=headers) as http:
                told = await http.post("/v1/import", content=bundle())
                assert json.loads(told.text.splitlines()[-1])["event"] == "finished", told.text
                (patient,) = index.patients()
                owner = Owner(network, practice.clock, keyring.custodial_keys(bytes.fromhex(patient.custodial_id or "")))
                assert len((await owner.read_own()).opened) == 3
                assert damage_shards(recorded.other, 0, "flip"), "node 0 has to ask node 1 for whole ones"
                assert len((await owner.read_own()).opened) == 3
                doctor = (await http.get("/v1/staff")).json()[0]
                wish = {"credential_id": doctor["credential_id"], "purpose": "treatment"}
                wish |= {"date_from": "1900-01-01", "date_to": "2100-12-31"}
                asked = (await http.post("/v1/access-requests", json=wish)).json()["request"]
                made = await owner.grant(decode_request(asked), lasts_ms=DAY_MS, date_from="1900-01-01", date_to="2100-12-31")
                await http.post("/v1/grants/collect")
                read = (await http.post(f"/v1/grants/{made.grant_id.hex()}/read", json={"reason": REASON})).json()
                await owner.revoke(made.grant_id, made.body.nonce)
                return dict(read) | {"grant_id": made.grant_id}


def decode_request(asked: str) -> AccessRequest:
    return decode_as(AccessRequest, bytes.fromhex(asked))


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> tuple[Recorded, dict[str, Any]]:
    root = tmp_path_factory.mktemp("canary")
    recorded = Recorded(root)

    async def told() -> dict[str, Any]:
        async with recorded.running():
            return await play(recorded, root)

    return recorded, asyncio.run(told())


def test_the_reader_gets_every_canary_so_they_were_all_there(story: tuple[Recorded, dict[str, Any]]) -> None:
    contents = b"".join(base64.b64decode(item["content"]) for record in story[1]["records"] for item in record["items"])
    assert all(word.encode() in contents for word in (NAME, NOTE, PATIENT))
    assert base64.b64encode(ATTACHED.encode()) in contents
    assert all(any(one in contents for one in spellings(word)) for word in (NAME, NOTE, ATTACHED, PATIENT))


def test_no_spelling_of_a_canary_is_in_what_nodes_wrote(story: tuple[Recorded, dict[str, Any]]) -> None:
    recorded, _ = story
    for home in (recorded.home, recorded.other):
        for index in range(NODES):
            assert find_in_files(home.node(index), CANARIES) == []
            log = home.root / f"node-{index}.log"
            assert not log.exists() or not any(one in log.read_bytes() for one in CANARIES)


def test_no_spelling_of_a_canary_is_in_the_decrypted_traffic(story: tuple[Recorded, dict[str, Any]]) -> None:
    recorded, read = story
    link, *https = (bytes(one.heard) for one in recorded.recorders)
    assert read["grant_id"] in link, "the link was heard in the clear"
    assert b"hcefs.blobs" in link
    assert b"POST /v1/intake" in https[0] + https[1]
    assert b"POST /v1/release" in https[0] + https[1]
    for heard in (link, *https):
        assert [one for one in CANARIES if one in heard] == []


def test_the_search_finds_every_spelling_it_looks_for(tmp_path: Path) -> None:
    """At any place of a file, and behind any number of other bytes in base64."""
    for number, one in enumerate(CANARIES):
        (tmp_path / str(number)).write_bytes(os.urandom(number % 7) + one + os.urandom(9))
    assert len(find_in_files(tmp_path, CANARIES)) == len(CANARIES)
    for offset in range(7):
        coded = base64.b64encode(os.urandom(offset) + NOTE.encode() + os.urandom(11))
        assert any(one in coded for one in CANARIES)
