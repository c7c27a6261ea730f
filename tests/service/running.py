"""What tests on a running network share: the node process, people, and small Bundles."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx

from hce.app.devnet import run
from hce.app.devnet.home import Home
from hce.app.devnet.people import certify
from hce.app.lifeline import SUPERVISED
from hce.app.preflight import free_ports
from hce.foundation.crypto.secret import SecretBytes
from hce.service.fhir.bundle import Entry
from hce.service.fhir.identity import PatientIdentity, identify
from hce.service.gateway.practice import Practice
from hce.service.sdk.network import Network
from hce.service.sdk.node import NodeClient
from hce.service.sdk.owner import Owner
from hce.service.terms.genesis import Params
from hce.service.vault.compartments import CompartmentKeys

BLOCK_MS = 100
ANCHOR_BLOCKS = 10
START_S = 30.0
"""Only a node that does not start reaches this."""
DAY_MS = 24 * 3_600_000


class ManualClock:
    """The machine's clock, moved by hand: tests are a year later when they say so."""

    def __init__(self, ahead_ms: int = 0) -> None:
        self.ahead_ms = ahead_ms

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000 + self.ahead_ms


class OneNode:
    """A node process and its folder. `kill` and `start` as a power cut would."""

    def __init__(self, root: Path, stack: ExitStack) -> None:
        self.home = Home(root)
        ports = free_ports(run.port_count(1))
        run.create(self.home, ports, 1, Params(block_interval_ms=BLOCK_MS, anchor_blocks=ANCHOR_BLOCKS))
        self.url = self.home.network()["nodes"][0]
        self._process: subprocess.Popen[bytes] | None = None
        stack.callback(self.kill)
        self.start()

    def start(self) -> None:
        arguments = [*run.plans(self.home)[0][0].arguments]
        with (self.home.root / "node.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "hce.app.cli", *arguments],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=os.environ | {SUPERVISED: "1"},
            )
        deadline = time.monotonic() + START_S
        while not self._serves():
            assert self._process.poll() is None, (self.home.root / "node.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def kill(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.communicate()
            self._process = None

    def _serves(self) -> bool:
        try:
            return httpx.get(self.url + "/v1/final", trust_env=False, timeout=2).status_code == 200
        except httpx.HTTPError:
            return False


async def certified(node: OneNode) -> None:
    async with await Network.join([node.url], node.home.genesis()) as network:
        for name in ("riverside", "oldtown"):
            await certify(node.home, network, name)


def new_owner(network: Network, clock: ManualClock | None = None) -> Owner:
    """A person with own keys, not opened yet."""
    return Owner(network, clock or ManualClock(), CompartmentKeys(SecretBytes(os.urandom(64)), 0))


def person_of(name: str) -> dict[str, Any]:
    """The Patient of `bundle_of`."""
    return {
        "resourceType": "Patient",
        "id": name,
        "identifier": [{"system": "urn:test", "value": name}],
        "name": [{"family": name, "given": ["Test"]}],
        "birthDate": "1980-01-01",
        "gender": "female",
    }


def identity_of_person(name: str) -> PatientIdentity:
    return identify(Entry(0, "Patient", name, "", b"", person_of(name)))


def bundle_of(name: str, notes: list[str]) -> bytes:
    """A patient and one dated observation for each note; the same arguments give the same bytes."""
    resources: list[dict[str, Any]] = [person_of(name)]
    for place, note in enumerate(notes):
        resources.append(
            {
                "resourceType": "Observation",
                "id": f"{name}-{place}",
                "status": "final",
                "code": {"text": note},
                "subject": {"reference": f"Patient/{name}"},
                "effectiveDateTime": f"2020-01-{place % 28 + 1:02}",
            }
        )
    entries = [
        {
            "fullUrl": f"http://test.example/{one['resourceType']}/{one['id']}",
            "resource": one,
            "request": {"method": "PUT", "url": f"{one['resourceType']}/{one['id']}"},
        }
        for one in resources
    ]
    return json.dumps({"resourceType": "Bundle", "type": "transaction", "entry": entries}).encode()


async def opened_owner(practice: Practice) -> Owner:
    """A person with own keys whose compartment stands on chain at the practice's expense."""
    owner = new_owner(practice.network)
    await practice.open_compartment(owner.keys.owner_digest, owner.keys.recovery_digest)
    return owner


Change = Callable[[httpx.Request, bytes], httpx.Response | bytes | None]
"""A lying node's answer instead of the honest one; None leaves it."""
LIAR = "http://liar.test"


class TwoFaces(Network):
    """A network of one node whose clients, a liar and the real one, both speak for it: what lies do is seen without a second node."""

    async def index_of(self, node: NodeClient) -> int:
        return 0


class Liar(httpx.AsyncBaseTransport):
    """Network access in which the host `LIAR` is a node that answers as the real one does, but for what `change` says."""

    def __init__(self, real_url: str, change: Change) -> None:
        self._real = httpx.AsyncHTTPTransport()
        self._url = httpx.URL(real_url)
        self._change = change
        self.asked: list[str] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.host != "liar.test":
            return await self._real.handle_async_request(request)
        self.asked.append(request.url.path)
        url = request.url.copy_with(host=self._url.host, port=self._url.port)
        body = await request.aread()
        headers = {"content-type": request.headers.get("content-type", "")}
        honest = await self._real.handle_async_request(httpx.Request(request.method, url, headers=headers, content=body))
        answer = await honest.aread()
        lie = self._change(request, answer)
        if isinstance(lie, httpx.Response):
            return lie
        return httpx.Response(honest.status_code, stream=httpx.ByteStream(answer if lie is None else lie))

    async def aclose(self) -> None:
        await self._real.aclose()
