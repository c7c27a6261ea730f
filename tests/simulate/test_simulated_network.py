"""The network on virtual time. A failing seed is in the message; put it into REGRESSIONS with the reason, never drop it."""

from __future__ import annotations

import os

import pytest
from msgspec.structs import replace
from tests.simulate.chaos import bad_day
from tests.simulate.network import PACE, SimulatedNetwork, Weather

from hce.network.consensus.messages import FinalBlock, Proposal, Status, Votes, block_id_of, decode_message, encode_message
from hce.network.consensus.state import Step

SOAK = 100 if os.environ.get("HCE_SOAK") else 1

KEEP_BLOCK = STORE_PROPOSAL = 1
"""Flushes of a proposer before its proposal leaves."""

REGRESSIONS = {
    "a restart forgot the votes that others needed, all stuck in mixed rounds": (73, 4, 0),
    "a lock without its prevotes after a crash, nobody could follow": (132, 4, 0),
    "a restart ignored the sign state and signed twice": (128, 4, 0),
    "with a simple majority as quorum the twins forked the chain": (12, 9, 2),
    "locked nodes prevoted other fresh blocks, the twins forked the chain": (214, 4, 1),
}
"""Seeds that found a fault, or caught one put in on purpose: name -> (seed, n, liars)."""


@pytest.mark.parametrize(("n", "height"), [(1, 40), (4, 50), (9, 20)])
def test_in_good_weather_all_agree_at_the_pace_of_the_network(n, height):
    net = SimulatedNetwork(seed=7, n=n)
    net.boot()
    net.run_to(height, limit_ms=height * PACE.block_interval_ms + 100)
    net.check_agreement()
    assert all(commit.round == 0 for commit in net.honest[0].commits())


def test_producers_follow_turns_of_exactly_six():
    net = SimulatedNetwork(seed=8, n=4)
    net.boot()
    net.run_to(49, 20_000)
    turns = [block.header.turn for block in net.honest[0].chain()[1:49]]
    assert turns == [turn for turn in range(8) for _ in range(6)]


def test_a_dead_node_costs_one_timeout_a_lap():
    net = SimulatedNetwork(seed=9, n=4, dead={2})
    net.boot()
    laps, per_lap = 3, 3 * 6
    net.run_to(laps * per_lap, 60_000)
    commits = net.honest[0].commits()[: laps * per_lap]
    assert sum(commit.round for commit in commits) == laps
    authors = [block.header.turn % 4 for block in net.honest[0].chain()[1:]]
    assert 2 not in authors


def test_a_follower_without_a_key_ends_with_the_same_chain():
    net = SimulatedNetwork(seed=17, n=4)
    net.boot()
    net.run_to(5, 10_000)
    follower = net.add_follower()
    follower.boot()
    net.run_to(net.endpoints[0].height + 10, 20_000)
    net.check_agreement()
    assert follower.signed == {}


def test_a_node_whose_clock_is_off_loses_its_turns_and_hurts_nobody():
    net = SimulatedNetwork(seed=18, n=4)
    net.honest[1].skew_ms = 10_000
    net.boot()
    net.run_to(30, 60_000)
    net.check_agreement()
    chain = net.honest[0].chain()
    assert 1 not in {block.header.turn % 4 for block in chain[1:]}
    times = [block.header.time_ms for block in chain]
    assert times == sorted(set(times))
    assert times[-1] <= net.time.now_ms() + PACE.timely_ms


def test_two_dead_of_nine_still_make_blocks_and_three_halt_without_a_fork():
    net = SimulatedNetwork(seed=10, n=9, dead={0, 5})
    net.boot()
    net.run_to(8, 20_000)
    net.honest[0].crash()
    halted_at = max(endpoint.height for endpoint in net.honest) + 1
    net.time.run_until(lambda: False, 5_000)
    assert max(endpoint.height for endpoint in net.honest) <= halted_at
    net.honest[0].boot()
    net.run_to(halted_at + 2, 20_000)
    net.check_agreement()


def test_a_minority_makes_no_blocks_and_catches_up_after_the_partition():
    net = SimulatedNetwork(seed=11, n=4)
    net.boot()
    net.run_to(3, 10_000)
    net.weather = Weather(groups=[{0, 1, 2}, {3}])
    alone = net.endpoints[3]
    net.time.run_until(lambda: False, 10_000)
    assert alone.height <= 4
    assert net.endpoints[0].height > 30
    net.weather = Weather()
    net.run_to(net.endpoints[0].height + 2, 5_000)
    net.check_agreement()


def test_an_even_split_halts_and_goes_on_when_it_heals():
    net = SimulatedNetwork(seed=12, n=4)
    net.boot()
    net.run_to(3, 10_000)
    net.weather = Weather(groups=[{0, 1}, {2, 3}])
    net.time.run_until(lambda: False, 20_000)
    height = max(endpoint.height for endpoint in net.honest)
    assert height <= 5
    net.weather = Weather()
    net.run_to(height + 3, 30_000)
    net.check_agreement()


def test_all_nodes_killed_at_once_go_on_with_the_same_chain():
    net = SimulatedNetwork(seed=13, n=4)
    net.boot()
    net.run_to(5, 10_000)
    before = [endpoint.chain() for endpoint in net.honest]
    for endpoint in net.honest:
        endpoint.crash()
    net.time.run_until(lambda: False, 1_000)
    for endpoint in net.honest:
        endpoint.boot()
    net.run_to(9, 20_000)
    net.check_agreement()
    assert all(endpoint.chain()[: len(old)] == old for endpoint, old in zip(net.honest, before, strict=True))


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("flush", range(1, 11))
def test_a_lone_node_killed_at_any_flush_goes_on(flush, after):
    net = SimulatedNetwork(seed=14, n=1)
    net.boot()
    net.run_to(3, 10_000)
    net.honest[0].arm(flush, after)
    net.run_to(8, 10_000)
    net.check_agreement()


def test_a_block_that_was_signed_and_never_sent_is_proposed_again_after_the_kill():
    net = SimulatedNetwork(seed=19, n=1)
    net.boot()
    net.run_to(3, 10_000)
    node = net.honest[0]
    node.arm(KEEP_BLOCK + STORE_PROPOSAL, after=True)
    net.time.run_until(lambda: node.driver is None, 1_000)
    signed_id = node.sign_state().last.block_id
    net.run_to(4, 10_000)
    assert block_id_of(node.chain()[4].header) == signed_id
    assert node.commits()[3].round == 0


def test_a_block_proposed_again_comes_with_the_prevotes_that_made_it_valid():
    net = bad_day(137, 4)
    again = 0
    for endpoint in net.honest:
        sent = [decode_message(raw) for raw in endpoint.sent]
        firsts = {(m.height, m.round): at for at, m in reversed(list(enumerate(sent))) if isinstance(m, Proposal)}
        for at in firsts.values():
            proposal = sent[at]
            if proposal.valid_round is not None:
                votes = sent[at + 1].votes
                assert {(v.type, v.round, v.block_id) for v in votes} == {(1, proposal.valid_round, proposal.block_id)}
                assert len({v.index for v in votes}) >= 3
                again += 1
    assert again > 0


def test_keepers_of_keys_hear_of_a_block_before_its_precommit_is_signed():
    net = SimulatedNetwork(seed=20, n=4)
    net.boot()
    heard = []
    for endpoint in net.honest:

        def before(block_id, ledger, endpoint=endpoint):
            heard.append(block_id)
            s = endpoint.driver.state
            assert (2, s.epoch, s.height, s.round) not in endpoint.signed

        endpoint.app.before_precommit = before
    net.run_to(5, 10_000)
    for block in net.honest[0].chain()[1:]:
        assert heard.count(block_id_of(block.header)) >= 3


@pytest.mark.parametrize(("n", "liars", "seeds"), [(1, 0, 8), (4, 0, 30), (4, 1, 30), (9, 0, 4), (9, 2, 6)])
def test_bad_days_end_with_one_chain_and_progress(n, liars, seeds):
    for seed in range(1_000, 1_000 + seeds * SOAK):
        bad_day(seed, n, byzantine=liars)


@pytest.mark.parametrize(("seed", "n", "liars"), REGRESSIONS.values(), ids=REGRESSIONS.keys())
def test_a_seed_that_found_a_fault_stays(seed, n, liars):
    bad_day(seed, n, byzantine=liars)


def test_a_seed_gives_the_same_day_every_time():
    days = [bad_day(5, 4, byzantine=1) for _ in range(2)]
    assert len({day.time.now_ms() for day in days}) == 1
    assert days[0].honest[0].chain() == days[1].honest[0].chain()


def test_liars_leave_evidence_with_honest_nodes():
    net = SimulatedNetwork(seed=15, n=4, byzantine=1)
    net.boot()
    net.time.run_until(lambda: False, 15_000)
    seen = {key for endpoint in net.honest for key in endpoint.driver.evidence}
    assert seen
    assert {index for index, *_ in seen} == net.liars


def test_junk_is_blamed_on_its_sender_and_changes_nothing():
    net = SimulatedNetwork(seed=16, n=4)
    net.boot()
    net.run_to(3, 10_000)
    victim = net.honest[0]
    net.time.run_until(lambda: victim.driver.state.step == Step.PREVOTE, 5_000)
    state = victim.driver.state
    stored = victim.driver._blocklog.head
    (vote,) = list(state.at(0).prevotes.all())[:1]
    block = state.at(0).proposals[0].proposal.block
    forged = [
        b"junk",
        encode_message(Votes([replace(vote, index=(vote.index + 1) % 4, type=2)])),
        encode_message(Votes([replace(vote, type=2)])),
        encode_message(Votes([replace(vote, round=1)])),
        encode_message(Votes([replace(vote, epoch=1, block_id=None)])),
        encode_message(Votes([replace(vote, index=200)])),
        encode_message(Proposal(state.height, 0, 1, None, vote.block_id or stored.commit.block_id, bytes(64), block)),
        encode_message(FinalBlock(block, stored.commit)),
        encode_message(FinalBlock(block, replace(stored.commit, block_id=state.at(0).proposals[0].proposal.block_id))),
    ]
    for raw in forged:
        victim.driver.on_message(3, raw)
    assert len(victim.blamed) == len(forged)
    assert victim.driver.state is state
    victim.driver.on_message(3, encode_message(Status(2**50)))
    assert victim.driver.state is state
