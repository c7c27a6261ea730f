"""Rates, blame and waiting times, with time and chance handed in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hce.network.link.bounds import Backoff, BlameBook, BlameLimits, TokenBucket


def test_a_burst_is_free_and_what_follows_keeps_the_rate():
    bucket = TokenBucket(per_s=10, burst=3, now_s=0)
    assert [bucket.take(0) for _ in range(3)] == [0, 0, 0]
    assert bucket.take(0) == pytest.approx(0.1)
    assert bucket.take(0.1) == pytest.approx(0.1)
    assert bucket.take(10) == 0, "what was not used comes back"


def test_waiting_longer_never_gives_more_than_the_burst():
    bucket = TokenBucket(per_s=10, burst=3, now_s=0)
    assert [bucket.take(1_000) for _ in range(3)] == [0, 0, 0]
    assert bucket.take(1_000) > 0


@given(st.integers(0, 10**6), st.floats(0, 1, exclude_max=True))
def test_waits_double_to_a_bound_and_chance_only_shortens_them(failures, chance):
    backoff = Backoff(first_s=0.1, most_s=5)
    wait_s = backoff.wait_s(failures, chance)
    assert 0.05 <= wait_s <= 5
    assert wait_s <= backoff.wait_s(failures + 1, chance)


def test_faults_in_a_row_end_the_connection_and_the_ban_grows_to_a_bound():
    book = BlameBook(BlameLimits(faults=3, forgiven_per_s=0, first_ban_s=1, most_ban_s=3))
    assert [book.blame(0, 1) for _ in range(3)] == [False, False, True]
    assert book.banned_for_s(0) == 1
    assert book.blame(1, 3)
    assert book.banned_for_s(1) == 2
    assert book.blame(3, 3)
    assert book.banned_for_s(3) == 3
    assert book.blame(6, 3)
    assert book.banned_for_s(6) == 3
    assert book.banned_for_s(9) == 0
    assert book.faults == 6


def test_rare_faults_are_forgiven_and_so_are_bans_long_ago():
    book = BlameBook(BlameLimits(faults=2, forgiven_per_s=0.1, first_ban_s=1, most_ban_s=4))
    assert not any(book.blame(20 * number, 1) for number in range(50))
    assert book.blame(1_000, 2)
    assert book.banned_for_s(1_000) == 1
    assert book.blame(1_010, 2)
    assert book.banned_for_s(1_010) == 2
    assert book.blame(2_000, 2)
    assert book.banned_for_s(2_000) == 1
