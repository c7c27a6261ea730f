"""Which messages of peers are decoded, and when: judged by their first bytes.

Decoding a large block takes a noticeable part of a block interval, so it is done only for blocks that can mean something now. What
comes a little early is kept as it is, within the bounds of those who keep it. The rest is dropped and counted against its sender:
honest peers send some blocks that nobody needs (a proposal shared again, an answer that came second, the rest of a window from a
partner that was replaced), so only a peer that keeps sending more than that is at fault.
"""

from __future__ import annotations

from hce.foundation.types.clock import Clock
from hce.foundation.types.scalars import Cid, Height, Round, TimeMs
from hce.network.consensus.errors import BlocksUnneeded
from hce.network.consensus.messages import MAX_BLOCK_BYTES, Proposal, bounded_kind
from hce.network.consensus.prefix import MessageKind, final_block_height, proposal_prefix, votes_height
from hce.network.consensus.state import State
from hce.network.runtime.catchup import CatchUp
from hce.network.runtime.early import EarlyMessages

BURST_BYTES = 6 * MAX_BLOCK_BYTES
"""Unneeded at once: more than a window of catching up, sent twice."""
BLOCKS_PER_PERIOD = 2
"""Unneeded in the long run: what a peer shares again in one period of silence, and one answer."""


class Sieve:
    """For one node. `state` is always the present one."""

    def __init__(self, early: EarlyMessages, catch_up: CatchUp, clock: Clock, period_ms: int) -> None:
        """`period_ms`: silence after which honest nodes repeat themselves."""
        self._early = early
        self._catch_up = catch_up
        self._clock = clock
        self._period_ms = period_ms
        self._unneeded: dict[int, tuple[float, TimeMs]] = {}

    def lets_through(self, peer: int, raw: bytes, state: State) -> bool:
        """Whether to decode it now. `Malformed`, `TooLarge`; `BlocksUnneeded` when its sender has sent too much for nothing."""
        kind = bounded_kind(raw)
        match kind:
            case MessageKind.PROPOSAL:
                prefix = proposal_prefix(raw)
                wanted = prefix.height == state.height and not _holds(state, prefix.round, prefix.block_id)
                kept = self._keeps_early(peer, kind, prefix.height, raw, state)
            case MessageKind.VOTES:
                height = votes_height(raw)
                wanted = height == state.height
                kept = self._keeps_early(peer, kind, height, raw, state)
            case MessageKind.FINAL_BLOCK:
                height = final_block_height(raw)
                wanted = height == state.height
                kept = self._catch_up.arrived(peer, height, raw)
            case _:
                return True
        if not wanted and not kept:
            self._count(peer, len(raw))
        return wanted

    def proposal_was_taken(self, peer: int, proposal: Proposal, state: State) -> None:
        """A good proposal that found no place, say the third of one round, was work for nothing: `BlocksUnneeded`."""
        if proposal.height == state.height and not _holds(state, proposal.round, proposal.block_id):
            self._count(peer, MAX_BLOCK_BYTES)

    def _keeps_early(self, peer: int, kind: MessageKind, height: Height, raw: bytes, state: State) -> bool:
        return height == state.height + 1 and self._early.keep(peer, kind, raw)

    def _count(self, peer: int, size: int) -> None:
        now_ms = self._clock.now_ms()
        used, seen_ms = self._unneeded.get(peer, (0.0, now_ms))
        forgotten = (now_ms - seen_ms) * BLOCKS_PER_PERIOD * MAX_BLOCK_BYTES / self._period_ms
        used = max(0.0, used - forgotten) + size
        self._unneeded[peer] = min(used, BURST_BYTES), now_ms
        if used > BURST_BYTES:
            raise BlocksUnneeded(actual_bytes=int(used), max_bytes=BURST_BYTES)


def _holds(state: State, round: Round, block_id: Cid) -> bool:
    return any(held.proposal.block_id == block_id for held in state.at(round).proposals)
