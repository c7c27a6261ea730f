"""One real node, a process of its own, shared by all tests that need a network; what runs beside it lives in each test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.service.running import ManualClock, OneNode, certified

from hce.app.gateway import read_settings
from hce.service.gateway.practice import Practice
from hce.service.gateway.securing import Outbox
from hce.service.index.store import Index
from hce.service.keyring.keyring import Keyring
from hce.service.sdk.network import Network


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OneNode]:
    """A network of one node with two certified organisations, riverside and oldtown, whose staff is not certified yet."""
    with ExitStack() as stack:
        running = OneNode(tmp_path_factory.mktemp("network") / "home", stack)
        asyncio.run(certified(running))
        yield running


@pytest.fixture
async def network(node: OneNode) -> AsyncIterator[Network]:
    async with await Network.join([node.url], node.home.genesis()) as joined:
        yield joined


@pytest.fixture(scope="session")
def keyring(node: OneNode) -> Iterator[Keyring]:
    """Of riverside: like the process that would own it, one for all."""
    with Keyring.open(node.home.gateway("riverside") / "keyring") as opened:
        yield opened


@pytest.fixture
async def practice(node: OneNode, network: Network, keyring: Keyring, tmp_path: Path) -> AsyncIterator[Practice]:
    """Riverside with certified staff and an empty index."""
    index = Index(tmp_path / "index.sqlite")
    with Outbox.open(tmp_path / "outbox", map_size=1 << 20) as outbox:
        made = Practice(network, keyring, index, outbox, ManualClock())
        await made.certify_staff(read_settings(node.home.gateway("riverside")).staff)
        yield made
    index.close()
