"""Nine real nodes: shards damaged on disk are read through and restored, and a node that was away gets what it missed."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from hce.app.devnet import run
from hce.app.devnet.home import Home
from hce.app.devnet.people import certify, demo_bundles
from hce.app.gateway_client import GatewayClient
from hce.app.preflight import free_ports
from hce.app.supervisor import Supervisor
from hce.foundation.codec.dagcbor import decode, encode
from hce.foundation.crypto.sign import SigningKey
from hce.foundation.store.packs import PackStore
from hce.foundation.types.clock import SystemClock
from hce.foundation.types.errors import HceError
from hce.network.hcefs.manifest import Placed, read_manifest
from hce.service.mailbox.final import FinalState
from hce.service.mailbox.service import Mailbox
from hce.service.sdk.network import Network
from hce.service.terms.genesis import Params
from hce.service.terms.states import key_record

LIMIT_S = 60
"""Only a hang reaches this."""
GATEWAY = "riverside"
NODES = 9


class Scene:
    """Nine node processes, a gateway that writes, and what was written."""

    def __init__(self, home: Home, supervisor: Supervisor, network: Network, http: httpx.AsyncClient) -> None:
        self.home, self.supervisor, self.network, self._http = home, supervisor, network, http
        self._placement: dict[bytes, bytes] = {}
        self.nodes, gateways = run.plans(home)
        self.gateway = next(plan for plan in gateways if GATEWAY in plan.name)

    async def write(self, bundle: bytes) -> tuple[list[bytes], list[Placed], dict[bytes, bytes]]:
        """Record ids, placements, and ciphertexts by name."""
        events = []
        async with GatewayClient.at(self.gateway.url, self.home.gateway(GATEWAY)) as client:
            async for event in client.import_bundle(bundle):
                events.append(event)
        records = [bytes.fromhex(name) for name in events[-1]["records"]]
        states = await self.network.reader(*map(key_record, records))
        found = [states.record(name) for name in records]
        placed: list[Placed] = []
        for name in sorted({state.placement for state in found if state is not None}):
            read = read_manifest(await self.network.blob(name), self.network.chain)
            self._placement |= {one.ciphertext: name for one in read}
            placed += read
        return records, placed, {one.ciphertext: await self.read(one) for one in placed}

    async def read(self, placed: Placed) -> bytes:
        """As a client does that trusts no node."""
        return await self.network.blob(placed.ciphertext, self._placement[placed.ciphertext])

    async def shards(self, node: int, placed: list[Placed]) -> list[bytes | None]:
        """What the node serves of its own shards."""
        names = [one.shards[one.nodes.index(node)] for one in placed]
        answer = await self._http.post(self.nodes[node].url + "/v1/shards", content=encode(names))
        found = decode(answer.content)
        assert isinstance(found, list)
        return found

    async def status(self, node: int) -> dict[str, Any]:
        found: dict[str, Any] = (await self._http.get(self.nodes[node].url + "/v1/status")).json()
        return found

    async def metric(self, node: int, name: str) -> float:
        text = (await self._http.get(self.nodes[node].url + "/metrics")).text
        return next((float(line.split()[-1]) for line in text.splitlines() if line.startswith(name)), 0.0)

    def packs(self, node: int) -> list[Path]:
        return sorted((self.home.node(node) / "data" / "packs").glob("pack-*"))

    async def until(self, holds: Callable[[], Any]) -> None:
        deadline = time.monotonic() + LIMIT_S
        while not await holds():
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)


@asynccontextmanager
async def nine_nodes(folder: Path) -> AsyncIterator[Scene]:
    home = Home(folder / "run")
    run.create(home, free_ports(run.port_count(NODES)), NODES, Params(block_interval_ms=300))
    supervisor = Supervisor(home.logs)
    try:
        nodes, gateways = run.plans(home)
        await run.start_all(supervisor, nodes, lambda key, **fields: pytest.fail(f"{key} {fields}"))
        async with AsyncExitStack() as stack:
            http = await stack.enter_async_context(httpx.AsyncClient(trust_env=False, timeout=30))
            network = await stack.enter_async_context(await Network.join([plan.url for plan in nodes], home.genesis()))
            await network.started()
            await certify(home, network, GATEWAY)
            await supervisor.start(next(plan for plan in gateways if GATEWAY in plan.name))
            yield Scene(home, supervisor, network, http)
    finally:
        await supervisor.stop_all()


def flip(file: Path, shards: list[bytes]) -> None:
    """One bit of every copy of every shard in the file."""
    content = bytearray(file.read_bytes())
    for shard in shards:
        at = content.find(shard)
        while at >= 0:
            content[at] ^= 1
            at = content.find(shard, at + 1)
    with file.open("r+b") as opened:
        opened.write(content)


@pytest.mark.slow
async def test_damage_on_three_of_nine_heals_and_a_node_that_was_away_gets_what_it_missed(tmp_path: Path) -> None:
    bundles = dict(demo_bundles())
    async with nine_nodes(tmp_path) as scene:
        records, placed, contents = await scene.write(bundles["faith-fictional.json"])
        true = {node: await scene.shards(node, placed) for node in range(NODES)}
        assert all(None not in shards for shards in true.values())

        for file in scene.packs(1):
            flip(file, [shard for shard in true[1] if shard is not None])
        for file in scene.packs(4):
            file.write_bytes(b"")
        for file in scene.packs(7):
            file.unlink()
        assert {one.ciphertext: await scene.read(one) for one in placed} == contents
        for node in (1, 4, 7):
            assert await scene.shards(node, placed) == true[node]

            async def counted(node: int = node) -> bool:
                shards = (await scene.status(node))["shards"]
                return bool(shards["damaged"] == shards["restored"] == len(placed))

            await scene.until(counted)

        four = placed[0].nodes[:4]
        for node in four:
            for file in scene.packs(node):
                flip(file, [shard for shard in true[node] if shard is not None])
        with pytest.raises(HceError) as refused:
            await scene.read(placed[0])
        assert refused.value.code == "blob.unrecoverable"
        for file in scene.packs(four[0]):
            unflip(file, [shard for shard in true[four[0]] if shard is not None])
        assert await scene.read(placed[0]) == contents[placed[0].ciphertext]
        assert [await scene.shards(node, placed) for node in four] == [true[node] for node in four]

        await scene.supervisor.kill(scene.nodes[2].name)
        later, missed, written = await scene.write(bundles["zhen-shifan.json"])
        await scene.supervisor.kill(scene.gateway.name)  # its outbox would bring everything: here the peers must
        await scene.supervisor.restart(scene.nodes[2].name)

        async def caught_up() -> bool:
            status = await scene.status(2)
            return status["shards"]["restored"] >= len(missed) and not status["awaited"] and not status["syncing"]

        await scene.until(caught_up)
        assert {one.ciphertext: await scene.read(one) for one in missed} == written

        await scene.supervisor.kill(scene.nodes[5].name)
        shutil.rmtree(scene.home.node(5) / "data" / "mailbox")
        await scene.supervisor.restart(scene.nodes[5].name)

        async def refilled() -> bool:
            return await scene.metric(5, 'hce_mailbox_items{kind="records"}') >= len(records + later)

        await scene.until(refilled)
    for node in range(NODES):
        with PackStore.open(scene.home.node(node) / "data" / "packs") as packs:
            assert [packs.get(one.shards[one.nodes.index(node)]) for one in placed] == true[node]
    with mailbox_of(scene.home, 5) as box:
        assert None not in box.replica.records(records + later), "a node that lost its mailbox gets it from the others"
    with mailbox_of(scene.home, 2) as box, mailbox_of(scene.home, 3) as other:
        assert box.replica.records(later) == other.replica.records(later)
        assert None not in box.replica.records(records + later)


def unflip(file: Path, shards: list[bytes]) -> None:
    """`flip` once more: a flipped shard is the true one with its first bit changed."""
    flip(file, [bytes([shard[0] ^ 1]) + shard[1:] for shard in shards])


@contextmanager
def mailbox_of(home: Home, node: int) -> Iterator[Mailbox]:
    """The mailbox of a stopped node."""

    @contextmanager
    def state() -> Iterator[FinalState]:
        raise NotImplementedError
        yield

    with Mailbox.open(
        home.node(node) / "data" / "mailbox",
        chain=home.genesis().chain,
        node_index=node,
        service_key=SigningKey(bytes(32)),
        state=state,
        clock=SystemClock(),
    ) as opened:
        yield opened
