"""A node that has lost one of its parts says so and ends, instead of going on as half a node."""

from __future__ import annotations

import asyncio
import shutil
from contextlib import ExitStack
from pathlib import Path

import pytest

from hce.app.devnet.home import Home
from hce.app.devnet.run import create, port_count
from hce.app.node import RunningNode
from hce.app.preflight import free_ports
from hce.service.terms.genesis import Params

LIMIT_S = 20


def test_a_node_that_lost_its_list_of_revocations_and_its_block_log_releases_nothing_at_first(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    create(home, free_ports(port_count(4)), 4, Params())
    for _ in range(2):
        with ExitStack() as stack:
            assert not RunningNode(home, 0, stack).in_doubt, "a new network"
    data = home.node(0) / "data"
    (data / "blocks.log").unlink()
    shutil.rmtree(data / "revoked")
    for _ in range(2):
        with ExitStack() as stack:
            assert RunningNode(home, 0, stack).in_doubt, "a restart knows no more"


async def test_a_surprise_while_taking_in_transactions_ends_the_node_by_name(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    create(home, free_ports(port_count(2)), 2, Params())
    with ExitStack() as stack:
        node = RunningNode(home, 0, stack)
        assert node.link is not None

        async def surprise(max_count: int) -> None:
            raise LookupError("for example")

        node.link.receive_transactions = surprise
        async with node.linked(), asyncio.timeout(LIMIT_S):
            with pytest.raises(LookupError):
                await node.tend()
