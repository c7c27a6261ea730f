"""When things are due: the next block, the timeouts, and how far a proposal's time may be off. Pure arithmetic in milliseconds."""

from __future__ import annotations

from msgspec import Struct

from hce.foundation.types.scalars import Round, TimeMs
from hce.network.consensus.events import TimeoutKind


class Pace(Struct, frozen=True):
    """The times of one network. Only `block_interval_ms` is a genesis parameter; nodes with different others still agree."""

    block_interval_ms: int = 1_000
    """Target time between blocks (white paper 6.1)."""
    propose_timeout_ms: int = 1_500
    """How long round 0 waits for a proposal after it was due: the price of a dead node, once a lap."""
    vote_timeout_ms: int = 500
    """How long a quorum of mixed votes waits for a clearer one."""
    timeout_step_ms: int = 250
    """Added to every timeout for each round, so that a slow network finds a round long enough."""
    rebroadcast_ms: int = 1_000
    """Silence after which a node shares its votes again."""
    timely_ms: int = 2_000
    """How far a fresh proposal's time may be from our clock, both ways."""

    def timeout_ms(self, kind: TimeoutKind, round: Round) -> int:
        """Duration of a timeout of this round."""
        if kind == TimeoutKind.REBROADCAST:
            return self.rebroadcast_ms
        first = self.propose_timeout_ms if kind == TimeoutKind.PROPOSE else self.vote_timeout_ms
        return first + round * self.timeout_step_ms

    def is_timely(self, block_time_ms: TimeMs, now_ms: TimeMs, round: Round) -> bool:
        """Judged for fresh proposals only. Widens with the round, so that clocks that drifted apart still make blocks."""
        return abs(now_ms - block_time_ms) <= self.timely_ms + round * self.timeout_step_ms

    def next_due_ms(self, last_due_ms: TimeMs, commit_ms: TimeMs) -> TimeMs:
        """When the next block is due: one interval after the last was, so that the mean holds, but never more than one interval
        after our commit and never less than half of one (no burst after a halt)."""
        latest = commit_ms + self.block_interval_ms
        return min(max(last_due_ms + self.block_interval_ms, latest - self.block_interval_ms // 2), latest)
