"""Rates, blame and waiting times. Pure: seconds of a monotonic clock and random numbers are handed in."""

from __future__ import annotations

from msgspec import Struct


class TokenBucket:
    """At most `burst` at once and `per_s` in the long run."""

    def __init__(self, per_s: float, burst: float, now_s: float) -> None:
        self._per_s = per_s
        self._burst = burst
        self._left = burst
        self._seen_s = now_s

    def take(self, now_s: float) -> float:
        """Takes one; how many seconds to wait before going on (0.0 while the rate is kept)."""
        self._left = min(self._burst, self._left + (now_s - self._seen_s) * self._per_s) - 1
        self._seen_s = now_s
        return max(0.0, -self._left / self._per_s)


class Backoff(Struct, frozen=True):
    """Waiting times that double up to a bound, each shortened by chance so that nodes do not knock in step."""

    first_s: float = 0.2
    most_s: float = 3.0

    def wait_s(self, failures: int, chance: float) -> float:
        """After `failures` in a row (from 0); `chance` in [0, 1)."""
        longest = min(self.most_s, self.first_s * 2.0 ** min(failures, 32))
        return longest * (0.5 + chance / 2)


class BlameLimits(Struct, frozen=True):
    faults: float = 10.0
    """Faults that end a connection."""
    forgiven_per_s: float = 0.1
    """Faults forgotten a second: an honest node with a rare hiccup is never cut off."""
    first_ban_s: float = 2.0
    most_ban_s: float = 60.0
    """Short, because a quorum may need even a node that misbehaves now and then."""


class BlameBook:
    """What one peer did wrong lately, and until when it is not talked to."""

    def __init__(self, limits: BlameLimits) -> None:
        self._limits = limits
        self._score = 0.0
        self._seen_s = 0.0
        self._bans = 0
        self._banned_until_s = 0.0
        self.faults = 0
        """All of them, for status pages."""

    def blame(self, now_s: float, weight: float) -> bool:
        """Counts a fault; True when that is enough to end the connection."""
        limits = self._limits
        self._score = max(0.0, self._score - (now_s - self._seen_s) * limits.forgiven_per_s) + weight
        self._seen_s = now_s
        self.faults += 1
        if self._score < limits.faults:
            return False
        self._score = 0.0
        if now_s - self._banned_until_s > 10 * limits.most_ban_s:
            self._bans = 0
        self._banned_until_s = now_s + min(limits.most_ban_s, limits.first_ban_s * 2.0 ** min(self._bans, 32))
        self._bans += 1
        return True

    def banned_for_s(self, now_s: float) -> float:
        return max(0.0, self._banned_until_s - now_s)
