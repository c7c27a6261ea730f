"""The page on chain: published once by the operators, checked by somebody who has an address, a genesis and nothing else."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import cast

import httpx
import pytest
from tests.app.portal.authority import Authority
from tests.service.contracts.world import CHAIN, World
from tests.service.running import OneNode

from hce.app.devnet.home import Home
from hce.app.devnet.publishing import PortalNotAgreed, publish_portal, vote_for_page
from hce.app.devnet.run import create, port_count
from hce.app.face import Face
from hce.app.portal.bundle import VERSION, bundle_hash, read_bundle
from hce.app.portal.serving import make_portal
from hce.app.portal.verifying import PortalNotPublished, PortalOtherNetwork, PortalReplaced, fetch, published, require_network
from hce.app.preflight import free_ports
from hce.app.serving import serving
from hce.foundation.crypto.sign import SigningKey
from hce.service.sdk.network import Network
from hce.service.terms.genesis import Params, genesis_cid
from hce.service.terms.payloads import PortalRelease, PortalVote
from hce.service.terms.states import KEY_PORTAL, HealthReader
from hce.service.terms.transactions import make_body, parse, sign_tx

FIRST = {"index.html": b"<!doctype html>", "assets/a-1.js": b"export {}"}
SECOND = {**FIRST, "assets/a-1.js": b"export default 2"}
EVIL = {**FIRST, "assets/a-1.js": b"steal()"}
NEW = {**FIRST, "assets/a-1.js": b"export default 3"}
"""Published by one test only; the others may have been before it."""


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OneNode]:
    with ExitStack() as stack:
        yield OneNode(tmp_path_factory.mktemp("network") / "home", stack)


@pytest.fixture
async def network(node: OneNode) -> AsyncIterator[Network]:
    async with await Network.join([node.url], node.home.genesis()) as joined:
        await joined.started()
        yield joined


@asynccontextmanager
async def portal(node: OneNode, bundle: dict[str, bytes], genesis: str = "") -> AsyncIterator[str]:
    """Served from a port of its own; its address."""
    [port] = free_ports(1)
    origin = f"http://localhost:{port}"
    app = make_portal(bundle, origin, genesis or genesis_cid(node.home.genesis()).hex(), [node.url], [])
    async with serving(app, port):
        yield origin


def hashed(bundle: dict[str, bytes]) -> bytes:
    return bytes.fromhex(bundle_hash(bundle))


async def by_command(*arguments: str, lang: str = "en") -> tuple[int, str]:
    """Exit code of `hce verify-portal` and everything it said."""
    return await ended("verify-portal", *arguments, lang=lang)


async def ended(*arguments: str, lang: str = "en") -> tuple[int, str]:
    """The same of any command."""
    command = [sys.executable, "-m", "hce.app.cli", *arguments]
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=STDOUT, env=os.environ | {"HCE_LANG": lang})
    said, _ = await process.communicate()
    return process.returncode or 0, said.decode()


async def test_a_page_is_published_checked_and_replaced(node: OneNode, network: Network) -> None:
    async with httpx.AsyncClient(trust_env=False) as http, portal(node, NEW) as url, portal(node, EVIL) as evil:
        before = await publish_portal(node.home, network, hashed(FIRST))
        with pytest.raises(PortalNotPublished):
            await published(await fetch(url, http), network)
        edition = await publish_portal(node.home, network, hashed(NEW))
        assert edition.release.number == before.release.number + 1
        assert await publish_portal(node.home, network, hashed(NEW)) == edition, "what stands there is not published again"
        assert await published(await fetch(url, http), network) == edition
        with pytest.raises(PortalNotPublished) as refused:
            await published(await fetch(evil, http), network)
        assert refused.value.fields["newest"] == bundle_hash(NEW)
        newest = await publish_portal(node.home, network, hashed(SECOND))
        with pytest.raises(PortalReplaced) as replaced:
            await published(await fetch(url, http), network)
        numbers = (replaced.value.fields["number"], replaced.value.fields["newest"])
        assert numbers == (edition.release.number, newest.release.number)
        again = await publish_portal(node.home, network, hashed(NEW))
        assert (again.release.number, again) == (newest.release.number + 1, await published(await fetch(url, http), network))


async def test_somebody_with_an_address_and_a_genesis_is_told(node: OneNode, network: Network, tmp_path: Path) -> None:
    """Without a network's folder: as a person elsewhere runs it. In words of both languages, and as exit codes."""
    await publish_portal(node.home, network, hashed(SECOND))
    edition = await publish_portal(node.home, network, hashed(FIRST))
    genesis = tmp_path / "genesis.cbor"
    genesis.write_bytes(node.home.genesis_path.read_bytes())
    other = Home(tmp_path / "other")
    create(other, list(range(1, 1 + port_count(1))), 1, Params())
    foreign = other.genesis_path
    trusting = ("--genesis", str(genesis), "--url")
    async with portal(node, FIRST) as good, portal(node, SECOND) as old, portal(node, EVIL) as evil:
        code, said = await by_command(*trusting, good)
        assert code == 0, said
        assert all(part in said for part in (bundle_hash(FIRST), f"edition {edition.release.number} ", f"height {edition.height},"))
        code, said = await by_command(*trusting, good, lang="zh-CN")
        assert (code, f"第 {edition.release.number} 版" in said) == (0, True)
        code, said = await by_command(*trusting, evil)
        assert (code, "portal.not_published" in said) == (4, True)
        code, said = await by_command(*trusting, old)
        assert (code, "portal.replaced" in said) == (3, True)
        code, said = await by_command("--genesis", str(foreign), "--url", good)
        assert (code, "portal.other_network" in said) == (4, True)
        [nowhere] = free_ports(1)
        code, said = await by_command(*trusting, f"http://localhost:{nowhere}")
        assert (code, "portal.unreachable" in said) == (1, True)
        code, said = await by_command(*trusting, good, "--node", f"http://127.0.0.1:{nowhere}")
        assert code == 1, "no proof is no yes"


async def test_a_page_that_trusts_another_network_is_refused(node: OneNode) -> None:
    async with httpx.AsyncClient(trust_env=False) as http, portal(node, FIRST, genesis="ab" * 36) as url:
        with pytest.raises(PortalOtherNetwork):
            require_network(await fetch(url, http), node.home.genesis())


class OnWorld:
    """As much of a network's client as publishing needs, on a chain in a dictionary."""

    def __init__(self, home: Home) -> None:
        self.genesis = home.genesis()
        self.world = World()
        self.world.nodes = self.genesis.node_list

    async def reader(self, *keys: bytes) -> HealthReader:
        return self.world.state

    async def transact(self, kind: str, payload: PortalVote, payer: None, signers: list[tuple[str, SigningKey]]) -> None:
        body = make_body(CHAIN, kind, payload, payer, self.world.height + 100)
        self.world.run(parse(sign_tx(body, signers), CHAIN))


async def test_a_try_that_broke_off_is_finished_and_one_for_another_page_stands_in_the_way(tmp_path: Path) -> None:
    home = Home(tmp_path)
    create(home, list(range(1, 1 + port_count(4))), 4, Params())
    chain = OnWorld(home)
    network = cast(Network, chain)
    keys = [SigningKey(home.node_keys(index).service) for index in range(4)]
    release = PortalRelease(1, hashed(FIRST), VERSION)
    for key in keys[:2]:
        await chain.transact("portal.vote", PortalVote(release, key.public), None, [("node", key)])
    assert (await publish_portal(home, network, hashed(FIRST))).release == release
    foreign = PortalRelease(2, hashed(EVIL), VERSION)
    for key in keys[:2]:
        await chain.transact("portal.vote", PortalVote(foreign, key.public), None, [("node", key)])
    with pytest.raises(PortalNotAgreed):
        await publish_portal(home, network, hashed(SECOND))
    assert chain.world.state.portal_of(hashed(SECOND)) is None


async def test_an_operator_votes_by_command_for_what_was_built(node: OneNode, network: Network) -> None:
    """With one node one vote is two thirds. Voting again says the same."""
    await publish_portal(node.home, network, hashed(SECOND))
    built = bundle_hash(read_bundle())
    for _ in range(2):
        code, said = await ended("node", "vote-portal", "0", "--home", str(node.home.root))
        assert (code, built in said) == (0, True), said
        newest = (await network.reader(KEY_PORTAL)).portal()
        assert newest is not None
        assert newest.release.bundle.hex() == built
        assert f"edition {newest.release.number}." in said


async def test_each_operator_votes_for_itself(tmp_path: Path) -> None:
    home = Home(tmp_path)
    create(home, list(range(1, 1 + port_count(4))), 4, Params())
    network = cast(Network, OnWorld(home))
    keys = [SigningKey(home.node_keys(index).service) for index in range(4)]
    assert [await vote_for_page(network, key, hashed(FIRST)) for key in keys] == [(1, False), (1, False), (1, True), (1, True)]


async def test_a_portal_and_its_nodes_are_checked_over_tls(node: OneNode, network: Network, tmp_path: Path) -> None:
    """The page, the node's proofs, everything over TLS with an authority of one's own; without it nothing is believed."""
    edition = await publish_portal(node.home, network, hashed(FIRST))
    authority = Authority(tmp_path)
    certificate, key = authority.certify("localhost")
    inner, outer, outer_node = free_ports(3)
    origin, node_url = f"https://localhost:{outer}", f"https://localhost:{outer_node}"
    node.kill()
    node.home.keep_face(Face("127.0.0.1", str(certificate), str(key), [node_url], {}, origin))
    node.start()
    app = make_portal(FIRST, origin, genesis_cid(node.home.genesis()).hex(), [node_url], [])
    async with serving(app, inner, door=node.home.portal_door()):
        asked = ("--genesis", str(node.home.genesis_path), "--url", origin)
        code, said = await by_command(*asked, "--ca", str(authority.file))
        assert (code, f"height {edition.height}," in said) == (0, True), said
        code, said = await by_command(*asked)
        assert (code, "portal.unreachable" in said) == (1, True)
        async with httpx.AsyncClient(verify=authority.trust, trust_env=False) as http:
            assert node_url in (await http.get(origin)).headers["content-security-policy"]
            moved = await http.get(f"http://localhost:{inner}/")
            assert (moved.status_code, moved.headers["location"]) == (307, origin + "/")
