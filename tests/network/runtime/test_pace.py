"""When things are due."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from hce.network.consensus.events import TimeoutKind
from hce.network.runtime.pace import Pace

PACE = Pace(block_interval_ms=1_000, propose_timeout_ms=1_500, vote_timeout_ms=500, timeout_step_ms=250, timely_ms=2_000)


def test_small_delays_do_not_add_up():
    """Every commit comes 80 ms after its block was due; the mean interval is still one second."""
    due_ms = 0
    for _ in range(100):
        due_ms = PACE.next_due_ms(due_ms, commit_ms=due_ms + 80)
    assert due_ms == 100_000


def test_after_a_halt_there_is_no_burst():
    assert PACE.next_due_ms(0, commit_ms=600_000) == 600_500


def test_a_clock_set_back_delays_the_next_block_by_one_interval_at_most():
    assert PACE.next_due_ms(600_000, commit_ms=1_000) == 2_000


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 10**7), st.integers(0, 10**7))
def test_the_next_block_is_due_between_half_an_interval_and_one_after_the_commit(last_due_ms, commit_ms):
    assert 500 <= PACE.next_due_ms(last_due_ms, commit_ms) - commit_ms <= 1_000


def test_timeouts_grow_with_the_round():
    assert [PACE.timeout_ms(TimeoutKind.PROPOSE, r) for r in (0, 1, 10)] == [1_500, 1_750, 4_000]
    assert [PACE.timeout_ms(TimeoutKind.PREVOTE, r) for r in (0, 2)] == [500, 1_000]


def test_a_proposal_is_timely_both_ways_and_later_rounds_are_more_patient():
    assert all(PACE.is_timely(10_000, now, 0) for now in (8_000, 10_000, 12_000))
    assert not any(PACE.is_timely(10_000, now, 0) for now in (7_999, 12_001))
    assert PACE.is_timely(10_000, 12_001, 1)
    assert PACE.is_timely(10_000, 7_999, 1)
