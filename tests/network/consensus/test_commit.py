"""What proves a block final, and the forgeries that do not."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from tests.simulate.world import CHAIN, genesis_block, make_nodes, signing_key

from hce.foundation.types.blocks import Commit, CommitSignature, Vote, VoteType
from hce.foundation.types.errors import Bug
from hce.network.consensus.blockrules import assemble, tip_of
from hce.network.consensus.commit import make_commit, verify_commit
from hce.network.consensus.errors import CommitInvalid
from hce.network.consensus.messages import block_id_of, vote_signing_bytes
from hce.network.consensus.turns import Position, claim

N = 4
NODES = make_nodes(N)
TIP = tip_of(genesis_block(NODES), None, 6, None)
HEADER = assemble(CHAIN, TIP, Position(0, 0, 0), TIP.header.time_ms + 1, genesis_block(NODES).ledger).header
BLOCK_ID = block_id_of(HEADER)


def vote(index, *, type=VoteType.PRECOMMIT, chain=CHAIN, epoch=0, height=1, round=0, block_id=BLOCK_ID) -> Vote:
    message = vote_signing_bytes(chain, type, epoch, height, round, block_id)
    return Vote(int(type), epoch, height, round, block_id, index, signing_key(index).sign(message))


def commit(votes, round=0) -> Commit:
    return Commit(BLOCK_ID, round, [CommitSignature(v.index, v.signature) for v in votes])


def test_precommits_of_a_quorum_prove_a_block_final():
    verify_commit(CHAIN, NODES, HEADER, make_commit(BLOCK_ID, 0, [vote(3), vote(0), vote(1)], N), TIP.base)


def test_a_commit_made_in_a_later_round_than_the_block_claims_is_good():
    verify_commit(CHAIN, NODES, HEADER, make_commit(BLOCK_ID, 7, [vote(i, round=7) for i in range(3)], N), TIP.base)


@pytest.mark.parametrize(
    "forged",
    [
        pytest.param(commit([vote(0), vote(1), vote(2, type=VoteType.PREVOTE)]), id="a prevote used as a precommit"),
        pytest.param(commit([vote(0), vote(1), vote(2, round=1)]), id="two rounds mixed"),
        pytest.param(commit([vote(0), vote(1), vote(1)]), id="an index repeated"),
        pytest.param(commit([vote(1), vote(0), vote(2)]), id="indexes unsorted"),
        pytest.param(commit([vote(0), vote(1)]), id="no quorum"),
        pytest.param(commit([]), id="empty"),
        pytest.param(commit([vote(0), vote(1), vote(2)], round=1), id="another round named than was signed"),
        pytest.param(commit([vote(0), vote(1), vote(2, chain=b"another chain...")]), id="a vote replayed from another chain"),
        pytest.param(commit([vote(0), vote(1), vote(2, height=2)]), id="a vote replayed from another height"),
        pytest.param(commit([vote(0), vote(1), vote(2, epoch=1)]), id="a vote replayed from another epoch"),
        pytest.param(commit([vote(0), vote(1), vote(2, block_id=None)]), id="a vote for nil"),
        pytest.param(commit([vote(0), vote(1), vote(5)]), id="an index outside the node list"),
        pytest.param(commit([vote(0), vote(1), replace(vote(2), index=3)]), id="a vote under another node's index"),
        pytest.param(replace(commit([vote(0), vote(1), vote(2)]), block_id=TIP.block_id), id="another block named"),
    ],
)
def test_a_forged_commit_is_refused(forged):
    with pytest.raises(CommitInvalid):
        verify_commit(CHAIN, NODES, HEADER, forged, TIP.base)


def test_a_commit_on_another_chain_is_refused():
    with pytest.raises(CommitInvalid):
        verify_commit(b"another chain...", NODES, HEADER, commit([vote(0), vote(1), vote(2)]))


def test_a_commit_before_the_round_its_block_claims_is_refused():
    late = replace(HEADER, turn=claim(TIP.base, 2).turn)
    votes = [vote(i, round=1, block_id=block_id_of(late)) for i in range(3)]
    early = make_commit(block_id_of(late), 1, votes, N)
    verify_commit(CHAIN, NODES, late, early)  # without header h - 1 nobody can tell
    with pytest.raises(CommitInvalid, match="later round"):
        verify_commit(CHAIN, NODES, late, early, TIP.base)


def test_six_of_nine_are_not_enough_and_seven_are():
    nodes = make_nodes(9)
    seven = commit([vote(i) for i in range(7)])
    verify_commit(CHAIN, nodes, HEADER, seven)
    with pytest.raises(CommitInvalid, match="too few"):
        verify_commit(CHAIN, nodes, HEADER, Commit(BLOCK_ID, 0, seven.signatures[:6]))


@pytest.mark.parametrize(
    "votes",
    [
        [vote(0), vote(1)],
        [vote(0), vote(1), vote(1)],
        [vote(0), vote(1), vote(2, round=1)],
        [vote(0), vote(1), vote(2, type=VoteType.PREVOTE)],
    ],
)
def test_we_never_make_a_commit_that_proves_nothing(votes):
    with pytest.raises(Bug):
        make_commit(BLOCK_ID, 0, votes, N)
