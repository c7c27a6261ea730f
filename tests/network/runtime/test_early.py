"""Messages that overtake the decision of a height."""

from __future__ import annotations

from tests.network.consensus.core import PREVOTE, proposal, vote

from hce.network.consensus.messages import Votes
from hce.network.runtime.early import MAX_EARLY_VOTE_MESSAGES, EarlyMessages


def test_early_messages_are_handed_over_once_proposals_first():
    early = EarlyMessages()
    votes = Votes([vote(PREVOTE, 1, 0, None)])
    early.keep(1, votes)
    early.keep(0, proposal(0))
    assert early.take() == [(0, proposal(0)), (1, votes)]
    assert early.take() == []


def test_a_peer_cannot_fill_the_memory_nor_the_place_of_another():
    early = EarlyMessages()
    for round in range(100):
        early.keep(1, Votes([vote(PREVOTE, 1, round, None)]))
        early.keep(1, proposal(round))
    early.keep(2, proposal(0))
    kept = early.take()
    assert len([peer for peer, _ in kept if peer == 1]) == MAX_EARLY_VOTE_MESSAGES + 1
    assert (2, proposal(0)) in kept
