"""Filling a block: the proposer runs the same execution as everybody, and leaves out what it refuses."""

from __future__ import annotations

from collections.abc import Callable

from hce.foundation.types.errors import Refused
from hce.service.ledger.errors import BlockFull
from hce.service.ledger.execution import BlockExecution, ExecutionEnv
from hce.service.ledger.pool import Pool

MAX_CANDIDATES = 4_000
"""Transactions of one chain tried for a block: more than any block has steps for."""
MAX_FULL_IN_ROW = 16
"""Transactions that did not fit one after another before the proposer stops looking for a smaller one."""
HEALTH_SHARE_PERCENT = 75
"""Part of the block's steps and of the local time the health list may take while transfers wait."""


def fill_block(execution: BlockExecution, pool: Pool, env: ExecutionEnv, monotonic_ns: Callable[[], int], budget_ms: int) -> None:
    """Add what fits from the pool, free lane first, until room, candidates or local time end. What cannot be in a block is evicted.

    Time only decides how much is proposed. Validators never look at it.
    """
    start, budget_ns = monotonic_ns(), budget_ms * 1_000_000
    value_txs = pool.value_candidates(env.base_fee, MAX_CANDIDATES)
    share = HEALTH_SHARE_PERCENT if value_txs else 100
    health_deadline = start + budget_ns * share // 100
    health_steps = env.health.params.block_steps * share // 100
    full_in_row = 0
    for tx in pool.health_candidates(MAX_CANDIDATES):
        if monotonic_ns() >= health_deadline or execution.steps >= health_steps or full_in_row >= MAX_FULL_IN_ROW:
            break
        try:
            execution.add_health(tx)
            full_in_row = 0
        except BlockFull:
            full_in_row += 1
        except Refused:
            pool.evict(tx.id)
    stopped: set[bytes] = set()
    for value_tx in value_txs:
        if monotonic_ns() >= start + budget_ns or len(stopped) >= MAX_FULL_IN_ROW:
            break
        if value_tx.sender in stopped:
            continue
        try:
            execution.add_value(value_tx)
        except BlockFull:
            stopped.add(value_tx.sender)
        except Refused:
            stopped.add(value_tx.sender)
            pool.evict(value_tx.hash)
