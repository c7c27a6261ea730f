"""Which messages a node decodes: what it would only throw away costs it nothing, and whoever keeps sending that is blamed.

The large messages here are unreadable behind their first bytes, so a node that decodes one blames its sender as malformed.
"""

from __future__ import annotations

import pytest
from tests.simulate.network import PACE, SimulatedNetwork

from hce.foundation.codec.dagcbor import encode
from hce.foundation.types.errors import Malformed
from hce.network.consensus.errors import BlocksUnneeded
from hce.network.consensus.messages import BOUNDS_BYTES
from hce.network.consensus.prefix import MessageKind
from hce.network.runtime.sieve import BURST_BYTES

ID = b"\x01\x71\x12\x20" + bytes(32)
LIAR = 3


def unreadable(kind: MessageKind, prefix: bytes) -> bytes:
    """As large as its kind may be."""
    start = bytes([0x82, kind]) + prefix
    return start + b"\xff" * (BOUNDS_BYTES[kind] - len(start))


def proposal_at(height: int, block_id: bytes = ID, round: int = 0) -> bytes:
    fields = b"".join(encode(one) for one in (height, 0, round, None))
    return unreadable(MessageKind.PROPOSAL, b"\x87" + fields + b"\xd8\x2a\x58\x25\x00" + block_id)


def final_at(height: int) -> bytes:
    return unreadable(MessageKind.FINAL_BLOCK, b"\x82\x84\x8b\x01\x50" + bytes(16) + encode(height))


@pytest.fixture
def victim():
    net = SimulatedNetwork(seed=9, n=4)
    net.boot()
    net.run_to(3, 20_000)
    endpoint = net.endpoints[0]
    endpoint.blamed.clear()
    return endpoint


def kinds_of_blame(victim) -> set[type]:
    return {type(fault) for _, fault in victim.blamed}


@pytest.mark.parametrize("make", [proposal_at, final_at])
@pytest.mark.parametrize("distance", [-3, -1, 2, 10**6])
def test_blocks_of_other_heights_are_dropped_undecoded(victim, make, distance):
    victim.driver.on_message(LIAR, make(victim.driver.state.height + distance))
    assert victim.blamed == []


@pytest.mark.parametrize("make", [proposal_at, final_at])
def test_blocks_of_this_height_are_decoded(victim, make):
    victim.driver.on_message(LIAR, make(victim.driver.state.height))
    assert kinds_of_blame(victim) == {Malformed}


def test_a_proposal_that_is_held_already_is_not_decoded_again(victim):
    assert victim.network.time.run_until(lambda: any(victim.driver.state.at(0).proposals), 20_000)
    state = victim.driver.state
    held = state.at(0).proposals[0].proposal.block_id
    victim.driver.on_message(LIAR, proposal_at(state.height, held))
    assert victim.blamed == []


@pytest.mark.parametrize("make", [proposal_at, final_at])
def test_whoever_keeps_sending_stale_blocks_is_blamed(victim, make):
    stale = make(victim.driver.state.height + 5)
    free = BURST_BYTES // len(stale)
    for _ in range(free):
        victim.driver.on_message(LIAR, stale)
    assert victim.blamed == []
    for _ in range(10):
        victim.driver.on_message(LIAR, stale)
    assert len(victim.blamed) >= 9
    assert kinds_of_blame(victim) == {BlocksUnneeded}


def test_a_proposal_shared_again_in_every_silence_is_nobodys_fault(victim):
    for _ in range(50):
        victim.driver.on_message(LIAR, proposal_at(1))
        victim.network.time.run_until(lambda: False, PACE.rebroadcast_ms)
    assert victim.blamed == []


def test_a_peer_keeps_one_unread_proposal_of_the_next_height_and_pays_for_it_once(victim):
    early = proposal_at(victim.driver.state.height + 1)
    for _ in range(4):
        victim.driver.on_message(LIAR, early)
    assert victim.blamed == []
    height = victim.driver.state.height
    assert victim.network.time.run_until(lambda: victim.driver.state.height > height, 20_000)
    assert victim.network.time.run_until(lambda: len(victim.blamed) == 1, 20_000)
    assert kinds_of_blame(victim) == {Malformed}
