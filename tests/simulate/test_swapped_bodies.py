"""A liar who keeps the voted header and sends another body beside it: nobody keeps it, nobody is halted, the liar is blamed."""

from __future__ import annotations

from msgspec.structs import replace
from tests.simulate.network import SimulatedNetwork, Weather
from tests.simulate.world import CHAIN, genesis_block, signing_key

from hce.foundation.types.blocks import LedgerBlock, Vote
from hce.network.consensus.messages import (
    FinalBlock,
    Proposal,
    Votes,
    decode_message,
    encode_message,
    proposal_signing_bytes,
    vote_signing_bytes,
)
from hce.network.consensus.state import Step
from hce.network.runtime.blocklog import BlockLog

JUNK = [b"junk"]


def with_other_lists(block, txs=JUNK):
    return replace(block, ledger=LedgerBlock(block.ledger.header, txs, []))


def test_a_final_block_with_other_lists_never_reaches_the_log():
    net = SimulatedNetwork(seed=11, n=4)
    net.boot()
    net.run_to(3, 10_000)
    net.weather = Weather(groups=[{0, 1, 2}, {3}])
    net.time.run_until(lambda: False, 3_000)
    victim = net.endpoints[3]
    before = victim.height
    stored = BlockLog(net.endpoints[0].disk.log, genesis_block(net.nodes)).read(before + 1)
    victim.driver.on_message(1, encode_message(FinalBlock(with_other_lists(stored.block), stored.commit)))
    assert victim.height == before
    assert victim.blamed
    victim.crash()
    victim.boot()
    net.weather = Weather()
    net.run_to(before + 5, 30_000)
    assert net.endpoints[3].height >= before + 5


def test_a_liar_who_relays_proposals_with_another_body_first_does_not_halt_the_chain():
    net = SimulatedNetwork(seed=5, n=4)
    net.boot()
    deliver = net.deliver

    def lying(peer, receiver, raw):
        message = decode_message(raw)
        if isinstance(message, Proposal) and receiver.index != 3 and receiver.driver is not None:
            swapped = replace(message, block=with_other_lists(message.block))
            receiver.guard(lambda: receiver.driver.on_message(3, encode_message(swapped)))
        deliver(peer, receiver, raw)

    net.deliver = lying
    net.time.run_until(lambda: False, 20_000)
    assert min(endpoint.height for endpoint in net.endpoints) >= 15
    assert any(endpoint.blamed for endpoint in net.endpoints)


def test_a_proposer_of_a_valid_block_cannot_hand_one_node_another_body():
    """n = 4, node 1 lies: the block of round 0 was prevoted by all; node 1 proposes its id again, with another body for node 3."""
    height, victim = 2, 3
    net = SimulatedNetwork(seed=20, n=4, dead={1})
    net.boot()
    post = net.post

    def without_a_commit_in_round_0(sender, receiver, raw):
        message = decode_message(raw)
        if isinstance(message, FinalBlock) and message.block.header.height == height:
            return
        if isinstance(message, Votes):
            hidden = {(0, 2), (0, 3), (3, 0)}
            votes = [
                vote
                for vote in message.votes
                if not (
                    (vote.height, vote.round, vote.type) == (height, 0, 2)
                    and vote.block_id is not None
                    and (vote.index, receiver.index) in hidden
                )
            ]
            if not votes:
                return
            raw = encode_message(Votes(votes))
        post(sender, receiver, raw)

    net.post = without_a_commit_in_round_0
    honest = {endpoint.index: endpoint for endpoint in net.honest}

    def all_at(round, step=None):
        states = [endpoint.driver.state for endpoint in net.honest]
        return all(s.height == height and s.round == round and step in (None, s.step) for s in states)

    assert net.time.run_until(lambda: all_at(0, Step.PRECOMMIT), 5_000)
    key = signing_key(1)
    nil = Vote(2, 0, height, 0, None, 1, key.sign(vote_signing_bytes(CHAIN, 2, 0, height, 0, None)))
    for endpoint in net.honest:
        endpoint.driver.on_message(1, encode_message(Votes([nil])))
    assert net.time.run_until(lambda: all_at(1), 5_000)
    block_id = honest[victim].driver.state.lock.valid_id
    good = honest[victim].driver._blocks[block_id]
    context = honest[victim].driver._context_of(good)
    evil = replace(good, ledger=LedgerBlock(honest[victim].app._header(context, JUNK), JUNK, []))
    signature = key.sign(proposal_signing_bytes(CHAIN, 0, height, 1, 0, block_id))
    for index, endpoint in honest.items():
        body = evil if index == victim else good
        endpoint.driver.on_message(1, encode_message(Proposal(height, 0, 1, 0, block_id, signature, body)))
    net.time.run_until(lambda: min(endpoint.height for endpoint in net.honest) >= height, 20_000)
    bodies = {endpoint.chain()[height].ledger.health_txs[0] for endpoint in net.honest if endpoint.height >= height}
    assert bodies == {good.ledger.health_txs[0]}
    assert honest[victim].blamed
