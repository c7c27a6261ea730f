"""Messages that overtake the decision of a height."""

from __future__ import annotations

from hce.network.consensus.prefix import MessageKind
from hce.network.runtime.early import MAX_EARLY, EarlyMessages

VOTES, PROPOSAL = MessageKind.VOTES, MessageKind.PROPOSAL


def test_early_messages_are_handed_over_once_proposals_first():
    early = EarlyMessages()
    assert early.keep(1, VOTES, b"votes")
    assert early.keep(0, PROPOSAL, b"proposal")
    assert early.take() == [(0, b"proposal"), (1, b"votes")]
    assert early.take() == []


def test_a_peer_cannot_fill_the_memory_nor_the_place_of_another():
    early = EarlyMessages()
    for number in range(100):
        early.keep(1, VOTES, b"votes %d" % number)
        early.keep(1, PROPOSAL, b"proposal %d" % number)
    assert early.keep(2, PROPOSAL, b"proposal")
    assert not early.keep(1, PROPOSAL, b"one more")
    kept = early.take()
    assert len([peer for peer, _ in kept if peer == 1]) == sum(MAX_EARLY.values())
    assert (2, b"proposal") in kept
