"""A node that lies in every kind of message, with its own good signature where one is asked for: blamed, never believed, never fatal."""

from __future__ import annotations

import os
from random import Random
from typing import Any

import pytest
from tests.fuzz.shapes import bytes_spoiled, spoiled
from tests.simulate.network import Endpoint, SimulatedNetwork
from tests.simulate.world import CHAIN, signing_key

from hce.foundation.codec.cid import cid_of_dag_cbor
from hce.foundation.codec.dagcbor import decode, encode
from hce.network.consensus.messages import (
    Fetch,
    FinalBlock,
    Head,
    Status,
    encode_message,
    proposal_signing_bytes,
    vote_signing_bytes,
)
from hce.network.consensus.prefix import MessageKind

LIAR = 3
DAYS = 150 if os.environ.get("HCE_SOAK") else 4
LIES = 4
"""For each message that the liar would have sent."""
MOST_SEEN = 60
HEIGHT = 12
LIMIT_MS = 120_000


class LyingNetwork(SimulatedNetwork):
    """Four nodes; what one of them sends is spoiled and signed again on its way. Which kinds went out is counted."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed, 4)
        self.honest = self.honest[:LIAR]
        self.lies: dict[int, int] = dict.fromkeys(MessageKind, 0)
        self.seen = [encode_message(one) for one in (Fetch(1), Status(1))]
        """What anybody said: the liar repeats and spoils that too."""

    def post(self, sender: Endpoint, receiver: Endpoint, message: bytes) -> None:
        self.seen = [*self.seen[:2], *self.seen[2:][-MOST_SEEN:], message]
        super().post(sender, receiver, message)
        if sender.index == LIAR:
            if len(chain := sender.chain()) > 1:
                final = FinalBlock(chain[-1], sender.commits()[-1])
                self.seen += [encode_message(final), encode_message(Head(final.block.header, final.commit))]
            for _ in range(LIES):
                begun = sum(self.lies.values())
                told = self.seen[begun] if begun < 2 else self.rng.choice((message, self.rng.choice(self.seen)))
                self.lies[told[1]] += 1
                super().post(sender, receiver, lie(told, self.rng))


def lie(message: bytes, rng: Random) -> bytes:
    """The same message with something changed, signed by the liar as well as it can be."""
    if rng.random() < 0.15:
        return bytes_spoiled(message, rng)
    kind, body = decode(message)
    for _ in range(rng.choice((0, 1, 1, 2))):
        body = spoiled(body, rng)
    try:
        return encode([kind, _signed(kind, body, rng)])
    except (TypeError, ValueError, IndexError, KeyError, OverflowError, AttributeError):
        return bytes_spoiled(message, rng)


def _signed(kind: int, body: Any, rng: Random) -> Any:
    key = signing_key(LIAR)
    if kind == MessageKind.VOTES:
        for vote in body[0]:
            vote[5] = LIAR if rng.random() < 0.9 else vote[5]
            vote[6] = key.sign(vote_signing_bytes(CHAIN, *vote[:5]))
    if kind == MessageKind.PROPOSAL:
        block = body[6]
        if rng.random() < 0.7:
            block[0][10] = cid_of_dag_cbor(encode(block[3][0]))
        if rng.random() < 0.8:
            body[4] = cid_of_dag_cbor(encode(block[0]))
        body[5] = key.sign(proposal_signing_bytes(CHAIN, body[1], body[0], body[2], body[3], body[4]))
    return body


@pytest.mark.parametrize("seed", range(DAYS))
def test_a_node_that_lies_in_every_kind_of_message_is_blamed_and_stops_nobody(seed: int) -> None:
    net = LyingNetwork(seed)
    net.boot()
    net.run_to(HEIGHT, LIMIT_MS)
    net.honest[0].crash_and_restart(300)
    net.run_to(HEIGHT + 6, LIMIT_MS)
    net.check_agreement()
    assert {peer for endpoint in net.honest for peer, _ in endpoint.blamed} == {LIAR}
    assert all(net.lies.values())
