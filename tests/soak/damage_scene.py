"""Nine node processes, people who write and read, and what must be there: known from what was sealed, never asked of a node."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
from msgspec import Struct
from tests.soak.damage_files import whole_copies

from hce.app.bench.content import batches_of
from hce.app.bench.people import Patient, open_patient, open_practice, person_secret, seal_task
from hce.app.bench.stage import Stage
from hce.app.devnet import run
from hce.app.devnet.home import Home
from hce.app.devnet.people import demo_bundles
from hce.app.preflight import free_ports
from hce.app.supervisor import ProcessFailed, Supervisor
from hce.app.tour.stage import DAY_MS, FIRST_DAY, LAST_DAY, Practice
from hce.foundation.codec.cid import cid_of_raw
from hce.foundation.codec.dagcbor import decode, encode
from hce.foundation.crypto.sign import SigningKey
from hce.foundation.types.clock import SystemClock
from hce.foundation.types.errors import HceError
from hce.network.hcefs.manifest import Placed, read_manifest
from hce.service.fhir.grouping import PlannedRecord, plan_import
from hce.service.sdk.author import Author
from hce.service.sdk.mail import Mail
from hce.service.sdk.network import Network
from hce.service.sdk.reader import Reader
from hce.service.terms.genesis import Params
from hce.service.terms.records import digest_of_envelope
from hce.service.vault.sealing import AuthoringSession, make_batch

NODES = 9
LIMIT_S = 420.0
"""Only what does not come back by itself reaches this. Two rounds in a row may leave four of nine nodes without their lists of revocations:
too many to hear them from the others, so they wait for the replay window, 300 s here."""
POLL_S = 0.2
ASKED = 200
WITNESS = Path(__file__).parent / "witness"
BLOCK_MS = 500
BATCH_RECORDS = 5
ENOUGH = 100_000
"""Starts again that the supervisor allows: here damage is the point."""

Items = list[tuple[str, bytes]]


class Held(Struct, frozen=True):
    """One final record and everything nodes hold of it."""

    record_id: bytes
    patient: int
    items: Items
    placement: bytes
    placed: Placed
    shards: list[bytes]
    content: bytes
    envelope_digest: bytes

    def shard_of(self, node: int) -> bytes:
        return self.shards[self.placed.nodes.index(node)]

    def name_of(self, node: int) -> bytes:
        return self.placed.shards[self.placed.nodes.index(node)]


class NotWhole(AssertionError):
    """A node that does not come back by itself, or says something else than it should."""


class Scene:
    """Use as `async with damage_scene(folder, seed) as scene`."""

    def __init__(self, stage: Stage, http: httpx.AsyncClient, seed: int, signed: Path) -> None:
        self.stage, self.home, self.network, self.supervisor = stage, stage.home, stage.network, stage.supervisor
        self.signed = signed
        self.held: list[Held] = []
        self.manifests: dict[bytes, bytes] = {}
        """Placement CID -> manifest."""
        self.entries: set[bytes] = set()
        """Feed entries."""
        self.refused_writes: dict[str, int] = {}
        self.waited: dict[str, int] = {}
        """What nodes lacked when they were looked at."""
        self._http, self._seed = http, seed
        self._plans = run.plans(self.home)[0]
        self._content = batches_of([one for _, bundle in demo_bundles() for one in plan_import(bundle).records], 1)
        self._urls: list[str] = self.home.network()["nodes"]
        self.given_up: list[str] = []

    async def prepare(self, patients: int, records: int) -> None:
        self.practice: Practice = await open_practice(self.stage, self._seed)
        opening = (open_patient(self.stage, self.practice, self._seed, number) for number in range(patients))
        self.patients: list[Patient] = list(await asyncio.gather(*opening))
        for _ in range(0, records, BATCH_RECORDS):
            await asyncio.gather(*(self.write(number, BATCH_RECORDS) for number in range(patients)))
        self.readers: list[Reader] = [await self._granted(patient) for patient in self.patients]

    async def _granted(self, patient: Patient) -> Reader:
        made = await patient.owner.grant(self.practice.ask(), lasts_ms=DAY_MS, date_from=FIRST_DAY, date_to=LAST_DAY)
        return await self.practice.accept(made)

    def data(self, node: int) -> Path:
        return self.home.node(node) / "data"

    # Writing

    async def write(self, patient: int, records: int) -> list[Held]:
        """Seals and publishes until it is final: what nodes refuse meanwhile is counted by its name."""
        planned = [next(self._content)[0] for _ in range(records)]
        task = seal_task(self.stage, self.practice, self.patients[patient], self._seed)
        session = AuthoringSession(
            task.card.chain, task.org_id, task.credential_id, SigningKey(person_secret(self._seed)), task.card, task.keyholders
        )
        sealed = {session.seal(one.items, one.kind, one.date, task.now_ms).record_id: one for one in planned}
        batch = make_batch([session], NODES)
        token = self.patients[patient].token
        deadline = time.monotonic() + LIMIT_S
        while True:
            try:
                await Author(self.network, self.practice.org_id, self.practice.key).publish(batch, {token.token.feed: token})
                break
            except HceError as error:
                if error.code == "tx.duplicate" or time.monotonic() > deadline:
                    raise
                self.refused_writes[error.code] = self.refused_writes.get(error.code, 0) + 1
                await asyncio.sleep(1)
        self.manifests[batch.placement_cid] = batch.placement
        placed = read_manifest(batch.placement, self.network.chain)
        written = [
            Held(
                record.record_id,
                patient,
                _items(sealed[record.record_id]),
                batch.placement_cid,
                one,
                shards,
                b"".join(shards[: one.k])[: one.size_bytes],
                digest_of_envelope(record.envelope),
            )
            for record, one, shards in zip(batch.records, placed, batch.shards, strict=True)
        ]
        assert all(cid_of_raw(one.content) == one.placed.ciphertext for one in written)
        self.entries |= {write.session_entry for write in batch.feed_writes}
        self.held += written
        return written

    # Reading

    async def content(self, held: Held) -> bytes:
        """The ciphertext as a client gets it that trusts no node."""
        return await self.network.blob(held.placed.ciphertext, held.placement)

    async def opened_by_clinicians(self, wanted: Iterable[Held]) -> dict[bytes, Items]:
        """Under the grants: an entry, its finality, keyholders, combination, decryption."""
        found: dict[bytes, Items] = {}
        by_patient: dict[int, list[bytes]] = {}
        for one in wanted:
            by_patient.setdefault(one.patient, []).append(one.record_id)
        for patient, names in by_patient.items():
            result = await self.readers[patient].read(names, "treatment", "checked")
            found |= {name: [(item.name, item.content) for item in one.manifest.items] for name, one in result.opened.items()}
        return found

    async def read_patiently(self, wanted: list[Held]) -> dict[bytes, Items]:
        """As `opened_by_clinicians`, again while it is refused for a reason that passes."""
        deadline = time.monotonic() + LIMIT_S
        while True:
            try:
                found = await self.opened_by_clinicians(wanted)
                if len(found) == len(wanted) or time.monotonic() > deadline:
                    return found
            except HceError:
                if time.monotonic() > deadline:
                    raise
            await asyncio.sleep(1)

    async def shards(self, node: int, held: list[Held]) -> dict[bytes, bytes | None]:
        """What the node serves of its own shards, by record."""
        found: dict[bytes, bytes | None] = {}
        waiting = list(held)
        while waiting:
            asked = waiting[:ASKED]
            answer = await self._http.post(self._urls[node] + "/v1/shards", content=encode([one.name_of(node) for one in asked]))
            given: Any = decode(answer.content)
            if not isinstance(given, list) or not given:
                raise NotWhole(f"node {node} answers {answer.status_code} {answer.text[:200]}")
            found |= {one.record_id: shard for one, shard in zip(asked, given, strict=False)}
            waiting = waiting[len(given) :]
        return found

    async def manifest(self, node: int, name: bytes) -> bytes | None:
        answer = await self._http.get(f"{self._urls[node]}/v1/blobs/{name.hex()}")
        return answer.content if answer.status_code == 200 else None

    async def envelopes(self, node: int) -> dict[bytes, bytes]:
        """Record id -> envelope digest of everything this node serves to the owners, and their feeds' entries."""
        client = self.network.nodes[node]
        found: dict[bytes, bytes] = {}
        for number, patient in enumerate(self.patients):
            names = [one.record_id for one in self.held if one.patient == number]
            page = await patient.owner._own_feed(patient.owner._eras[-1]).records(client, "owner", names)
            found |= {one.record_id: digest_of_envelope(one.envelope) for one in page.found if one.owner_wrap is not None}
        return found

    async def feed_entries(self, node: int) -> set[bytes]:
        client = self.network.nodes[node]
        found: set[bytes] = set()
        for patient in self.patients:
            keys, epoch = patient.owner.keys, patient.owner.reading_epoch
            place = [keys.feed(epoch).public, keys.owner.public]
            feed = Mail(self.network, SystemClock(), place, keys.feed(epoch))
            found |= {item.data for item in await feed.walk(client, "feed")}
        return found

    # Processes

    async def status(self, node: int) -> dict[str, Any] | None:
        with suppress(httpx.HTTPError, ValueError):
            found: dict[str, Any] = (await self._http.get(self._urls[node] + "/v1/status", timeout=3)).json()
            return found
        return None

    async def metric(self, node: int, name: str) -> float:
        text = (await self._http.get(self._urls[node] + "/metrics")).text
        return next((float(line.split()[-1]) for line in text.splitlines() if line.startswith(name)), 0.0)

    async def kill(self, node: int) -> None:
        await self.supervisor.kill(f"node-{node}")

    async def start(self, node: int) -> ProcessFailed | None:
        try:
            await self.supervisor.restart(f"node-{node}")
        except ProcessFailed as failure:
            return failure
        return None

    async def start_what_is_down(self) -> None:
        """After a round that broke off."""
        for node in range(NODES):
            if not self.supervisor.stands(f"node-{node}"):
                await self.start(node)

    def log_size(self, node: int) -> int:
        return self.supervisor.log_of(f"node-{node}").stat().st_size

    def log_since(self, node: int, size: int) -> str:
        with self.supervisor.log_of(f"node-{node}").open("rb") as log:
            log.seek(size)
            return log.read().decode("utf-8", "replace")

    # Being whole

    async def whole(self, node: int, voting: bool = True) -> None:
        """Waits until a node has everything by itself, then compares all it serves and all that lies on its disk. `NotWhole`."""
        deadline = time.monotonic() + LIMIT_S
        held, entries, why = list(self.held), set(self.entries), "nothing heard"
        while time.monotonic() < deadline:
            if self.given_up:
                raise NotWhole(f"given up: {self.given_up}")
            try:
                why = await self._lacks(node, held, entries, voting)
            except (HceError, httpx.HTTPError) as error:
                why = f"{type(error).__name__} {error}"
            if not why:
                return
            self.waited[why.split(" {")[0]] = self.waited.get(why.split(" {")[0], 0) + 1
            await asyncio.sleep(POLL_S)
        raise NotWhole(f"node {node}: {why}")

    async def _lacks(self, node: int, held: list[Held], entries: set[bytes], voting: bool) -> str:
        """What the node lacks still; raises `NotWhole` for a wrong byte."""
        status, other = await self.status(node), await self.status((node + 1) % NODES)
        if status is None or "height" not in status:
            return f"status {status}"
        if status["syncing"] or (voting and not status["voting"]) or status["awaited"]:
            return f"status {status}"
        if other is not None and "height" in other and status["height"] < other["height"] - 3:
            return f"height {status['height']} of {other['height']}"
        shards = await self.shards(node, held)
        for one in held:
            shard = shards[one.record_id]
            if shard is not None and shard != one.shard_of(node):
                raise NotWhole(f"WRONG shard of node {node}")
        if missing := sum(shard is None for shard in shards.values()):
            return f"{missing} shards"
        for name, manifest in list(self.manifests.items()):
            if (there := await self.manifest(node, name)) != manifest:
                if there is not None:
                    raise NotWhole(f"WRONG manifest of node {node}")
                return "a manifest"
        envelopes = await self.envelopes(node)
        if wrong := [one for one in held if envelopes.get(one.record_id, one.envelope_digest) != one.envelope_digest]:
            raise NotWhole(f"WRONG envelopes {len(wrong)}")
        if missing := sum(one.record_id not in envelopes for one in held):
            return f"{missing} envelopes"
        if missing := len(entries - await self.feed_entries(node)):
            return f"{missing} feed entries"
        on_disk = await asyncio.to_thread(whole_copies, self.data(node))
        lacking = [one for one in held if one.name_of(node) not in on_disk or one.placement not in on_disk]
        return f"{len(lacking)} blobs on disk" if lacking else ""


def _items(planned: PlannedRecord) -> Items:
    return [(item.name, item.content) for item in planned.items]


def _silent(key: str, **fields: Any) -> None:
    """Nobody watches."""


@asynccontextmanager
async def damage_scene(folder: Path, seed: int, before_start: Any = None) -> AsyncIterator[Scene]:
    """A network whose nodes write down what they sign; the supervisor of `hce up` starts again what ends by itself."""
    signed = folder / "signed"
    signed.mkdir()
    paths = [str(WITNESS), os.environ.get("PYTHONPATH", "")]
    os.environ |= {"HCE_SIGN_WITNESS": str(signed), "PYTHONPATH": os.pathsep.join(path for path in paths if path)}
    home = Home(folder / "run")
    run.create(home, free_ports(run.port_count(NODES)), NODES, Params(block_interval_ms=BLOCK_MS))
    if before_start is not None:
        before_start(home)
    supervisor = Supervisor(home.logs, max_mended=ENOUGH)
    watching: asyncio.Task[None] | None = None
    try:
        await run.start_all(supervisor, run.plans(home)[0], _silent)
        async with (
            await Network.join(home.network()["nodes"], home.genesis()) as network,
            httpx.AsyncClient(trust_env=False, timeout=60) as http,
        ):
            await network.started()
            scene = Scene(Stage(home, supervisor, network, _silent), http, seed, signed)

            def told(name: str, failure: ProcessFailed, runs_again: bool) -> None:
                if not runs_again:
                    scene.given_up.append(f"{name}: {failure.fields}")

            watching = asyncio.create_task(supervisor.watch(told))
            yield scene
    finally:
        if watching is not None:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
        await supervisor.stop_all()
