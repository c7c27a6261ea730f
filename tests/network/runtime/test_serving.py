"""How a node that is behind gets its blocks, and how little one can ask."""

from __future__ import annotations

import pytest
from tests.simulate.network import SimulatedNetwork
from tests.simulate.world import genesis_block

from hce.network.consensus.messages import FinalBlock, decode_message
from hce.network.runtime.blocklog import BlockLog
from hce.network.runtime.serving import BlockServer


class Desk:
    """A clock that is set and a network that remembers."""

    def __init__(self) -> None:
        self.time_ms = 0
        self.sent: list[tuple[int, int]] = []

    def now_ms(self) -> int:
        return self.time_ms

    def send(self, peer: int, message: bytes) -> None:
        answer = decode_message(message)
        assert isinstance(answer, FinalBlock)
        self.sent.append((peer, answer.block.header.height))


@pytest.fixture(scope="module")
def log():
    net = SimulatedNetwork(seed=21, n=1)
    net.boot()
    net.run_to(3, 10_000)
    return BlockLog(net.honest[0].disk.log, genesis_block(net.nodes))


def test_a_peer_gets_the_block_it_works_on_and_the_next_one_when_it_asks(log):
    desk = Desk()
    server = BlockServer(log, desk, desk, min_gap_ms=100)
    for height in (1, 2, 3):
        server.serve(7, height)
    assert desk.sent == [(7, 1), (7, 2), (7, 3)]


def test_nobody_gets_genesis_or_what_is_not_final(log):
    desk = Desk()
    server = BlockServer(log, desk, desk, min_gap_ms=100)
    for height in (0, 4, 2**50):
        server.serve(7, height)
    assert desk.sent == []


def test_the_same_height_is_not_sent_twice_at_once(log):
    desk = Desk()
    server = BlockServer(log, desk, desk, min_gap_ms=100)
    for peer in (7, 7, 7, 8):
        server.serve(peer, 2)
    assert desk.sent == [(7, 2), (8, 2)]
    desk.time_ms = 100
    server.serve(7, 2)
    assert desk.sent[2:] == [(7, 2)]
