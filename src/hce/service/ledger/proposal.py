"""Filling a block: the proposer runs the same execution as everybody, and leaves out what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

from hce.foundation.types.errors import Refused
from hce.service.contracts.value.transactions import ValueTx
from hce.service.ledger.errors import BlockFull
from hce.service.ledger.execution import BlockExecution, ExecutionEnv
from hce.service.ledger.pool import Pool
from hce.service.terms.transactions import HealthTx

MAX_CANDIDATES = 4_000
"""Transactions of one lane tried for a block: more than any block has steps for."""
MAX_FULL_IN_ROW = 16
"""Transactions that did not fit one after another before the proposer stops looking for smaller ones."""
HEALTH_SHARE = Fraction(3, 4)
"""Part of the block's steps and of the local time the health list may take while transfers wait."""
FREE_SHARE = Fraction(1, 3)
"""Part of the health list's steps and time that revocations and rotations come first for; nobody pays for them."""
NODE_SHARE = Fraction(1, 6)
"""The same for votes of nodes, after them. The other half is there for who pays, whatever the unpaid lanes hold."""

TimeLeft = Callable[[], bool]
Clock = Callable[[Fraction], TimeLeft]
"""Whether less than this part of the local time is over."""


def fill_block(execution: BlockExecution, pool: Pool, env: ExecutionEnv, monotonic_ns: Callable[[], int], budget_ms: int) -> None:
    """Add what fits from the pool until room, candidates or local time end. What cannot be in a block is evicted.

    Revocations come first, then rotations, votes, and what is paid for. The unpaid lanes have shares, and get what the paid one
    leaves over. Time only decides how much is proposed. Validators look neither at it nor at the shares.
    """
    start, budget_ns = monotonic_ns(), budget_ms * 1_000_000

    def until(part: Fraction) -> TimeLeft:
        end = start + int(budget_ns * part)
        return lambda: monotonic_ns() < end

    transfers = pool.value_candidates(env.base_fee, MAX_CANDIDATES)
    _fill_health(execution, pool, env.health.params.block_steps, HEALTH_SHARE if transfers else Fraction(1), until)
    _fill_value(execution, pool, transfers, until(Fraction(1)))


def _fill_health(execution: BlockExecution, pool: Pool, block_steps: int, share: Fraction, until: Clock) -> None:
    waiting = pool.health_candidates(MAX_CANDIDATES)
    most_steps, unpaid = int(block_steps * share), FREE_SHARE + NODE_SHARE
    free = _fill_lane(execution, pool, waiting.free, int(most_steps * FREE_SHARE), until(share * FREE_SHARE))
    node = _fill_lane(execution, pool, waiting.node, execution.steps + int(most_steps * NODE_SHARE), until(share * unpaid))
    # The first that is paid may take the transfers' share too: the largest batch would else wait for ever under full lanes.
    first = _fill_lane(execution, pool, waiting.paid[:1], block_steps, until(share))
    for lane in (first + waiting.paid[1:], free, node):
        _fill_lane(execution, pool, lane, most_steps, until(share))


def _fill_lane(execution: BlockExecution, pool: Pool, lane: list[HealthTx], most_steps: int, time_left: TimeLeft) -> list[HealthTx]:
    """Add in order until the block has taken `most_steps` in all; what is left over, in order."""
    left: list[HealthTx] = []
    full_in_row = 0
    for place, tx in enumerate(lane):
        if full_in_row == MAX_FULL_IN_ROW or not time_left():
            return left + lane[place:]
        try:
            execution.add_health(tx, most_steps)
            full_in_row = 0
        except BlockFull:
            full_in_row += 1
            left.append(tx)
        except Refused:
            pool.evict(tx.id)
    return left


def _fill_value(execution: BlockExecution, pool: Pool, transfers: list[ValueTx], time_left: TimeLeft) -> None:
    full = 0
    stopped: set[bytes] = set()
    """Senders one of whose transactions was left out: the nonces behind it have to wait."""
    for tx in transfers:
        if full == MAX_FULL_IN_ROW or not time_left():
            return
        if tx.sender in stopped:
            continue
        try:
            execution.add_value(tx)
        except BlockFull:
            full += 1
            stopped.add(tx.sender)
        except Refused:
            stopped.add(tx.sender)
            pool.evict(tx.hash)
