"""What makes a block extend the chain, field by field."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from tests.simulate.network import SimulatedNetwork
from tests.simulate.world import CHAIN, genesis_block, ledger_header, make_nodes

from hce.foundation.codec.cid import cid_of_dag_cbor, cid_of_raw
from hce.foundation.codec.dagcbor import encode
from hce.foundation.types.blocks import Block, CommitSignature
from hce.foundation.types.errors import PeerFault
from hce.network.consensus.blockrules import assemble, check_block, context_of, nodes_cid, tip_of
from hce.network.consensus.commit import commit_cid
from hce.network.consensus.turns import Position, claim, position_of

NODES = make_nodes(4)


@pytest.fixture(scope="module")
def chain():
    """Blocks 1 to 3 with commits, made by four nodes."""
    net = SimulatedNetwork(seed=3, n=4)
    net.boot()
    net.run_to(3, 10_000)
    return net.honest[0].final[:3]


@pytest.fixture(scope="module")
def tip(chain):
    """The tip after block 2."""
    first = tip_of(*chain[0], 6, None)
    return tip_of(*chain[1], 6, first.base)


def header(block: Block, **changes) -> Block:
    return replace(block, header=replace(block.header, **changes))


def ledger(block: Block, **changes) -> Block:
    """The block with another ledger header, named rightly by its consensus header."""
    changed = replace(block.ledger, header=replace(block.ledger.header, **changes))
    return replace(header(block, ledger_header=cid_of_dag_cbor(encode(changed.header))), ledger=changed)


def last_commit(block: Block, commit) -> Block:
    return replace(header(block, last_commit=None if commit is None else commit_cid(commit)), last_commit=commit)


def forged(commit):
    return replace(commit, signatures=[CommitSignature(s.index, bytes(64)) for s in commit.signatures])


def test_the_next_block_of_the_chain_is_good(chain, tip):
    check_block(CHAIN, NODES, tip, chain[2][0])


def test_any_valid_commit_of_the_parent_serves(chain, tip):
    """Honest nodes may hold different ones."""
    block, _ = chain[2]
    fewer = replace(chain[1][1], signatures=chain[1][1].signatures[:3])
    check_block(CHAIN, NODES, tip, last_commit(block, fewer))


def test_a_block_of_a_later_round_is_good_when_it_claims_that_round(chain, tip):
    later = claim(tip.base, 2)
    check_block(CHAIN, NODES, tip, header(chain[2][0], turn=later.turn, slot=later.slot))


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(lambda b, c: header(b, version=2), id="unknown version"),
        pytest.param(lambda b, c: header(b, chain=bytes(16)), id="another chain"),
        pytest.param(lambda b, c: header(b, height=4), id="another height"),
        pytest.param(lambda b, c: header(b, epoch=1), id="another epoch"),
        pytest.param(lambda b, c: header(b, slot=b.header.slot + 1), id="a slot skipped"),
        pytest.param(lambda b, c: header(b, turn=b.header.turn + 1), id="a turn opened in its middle"),
        pytest.param(lambda b, c: header(b, time_ms=c[1][0].header.time_ms), id="time stands still"),
        pytest.param(lambda b, c: header(b, parent=cid_of_raw(b"")), id="another parent"),
        pytest.param(lambda b, c: header(b, parent=None), id="no parent"),
        pytest.param(lambda b, c: header(b, evidence=cid_of_raw(b"")), id="evidence named"),
        pytest.param(lambda b, c: replace(b, evidence=[b"x"]), id="evidence carried"),
        pytest.param(lambda b, c: header(b, ledger_header=cid_of_raw(b"")), id="another ledger header named"),
        pytest.param(lambda b, c: ledger(b, next_validators=nodes_cid(NODES[:3])), id="the set changes"),
        pytest.param(lambda b, c: ledger(b, next_epoch=1), id="the epoch changes"),
        pytest.param(lambda b, c: last_commit(b, None), id="no last commit"),
        pytest.param(lambda b, c: last_commit(b, c[0][1]), id="the commit of another block"),
        pytest.param(lambda b, c: last_commit(b, forged(c[1][1])), id="a forged last commit"),
        pytest.param(lambda b, c: header(b, last_commit=cid_of_raw(b"")), id="another last commit named"),
    ],
)
def test_anything_else_is_refused(chain, tip, wrong):
    with pytest.raises(PeerFault):
        check_block(CHAIN, NODES, tip, wrong(chain[2][0], chain))


def test_the_first_block_carries_no_commit(chain):
    genesis = tip_of(genesis_block(NODES), None, 6, None)
    check_block(CHAIN, NODES, genesis, chain[0][0])
    with pytest.raises(PeerFault):
        check_block(CHAIN, NODES, genesis, last_commit(chain[0][0], chain[0][1]))


def test_what_is_assembled_passes_the_check(chain, tip):
    of = replace(chain[2][0].ledger, header=ledger_header(nodes_cid(NODES)))
    block = assemble(CHAIN, tip, tip.base, tip.header.time_ms + 1, of)
    check_block(CHAIN, NODES, tip, block)
    assert position_of(block.header) == tip.base


def test_the_author_is_the_producer_of_the_position_and_execution_sees_no_round():
    context = context_of(NODES, 9, Position(0, 6, 0), 5, cid_of_raw(b""))
    assert context.proposer == NODES[2].operator
    assert context.__struct_fields__ == ("height", "epoch", "time_ms", "proposer", "parent")
