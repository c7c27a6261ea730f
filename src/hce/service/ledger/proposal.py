"""Filling a block: the proposer runs the same execution as everybody, and leaves out what it refuses."""

from __future__ import annotations

from collections.abc import Callable

from hce.foundation.types.errors import Refused
from hce.service.contracts.health import steps_of
from hce.service.contracts.value.transactions import ValueTx
from hce.service.ledger.errors import BlockFull
from hce.service.ledger.execution import BlockExecution, ExecutionEnv
from hce.service.ledger.pool import Pool

MAX_CANDIDATES = 4_000
"""Transactions of one chain tried for a block: more than any block has steps for."""
MAX_FULL_IN_ROW = 16
"""Transactions that did not fit one after another before the proposer stops looking for smaller ones."""
HEALTH_SHARE_PERCENT = 75
"""Part of the block's steps and of the local time the health list may take while transfers wait."""


def fill_block(execution: BlockExecution, pool: Pool, env: ExecutionEnv, monotonic_ns: Callable[[], int], budget_ms: int) -> None:
    """Add what fits from the pool, free lane first, until room, candidates or local time end. What cannot be in a block is evicted.

    Time only decides how much is proposed. Validators never look at it.
    """
    start, budget_ns = monotonic_ns(), budget_ms * 1_000_000
    transfers = pool.value_candidates(env.base_fee, MAX_CANDIDATES)
    share = HEALTH_SHARE_PERCENT if transfers else 100
    most_steps = env.health.params.block_steps * share // 100
    _fill_health(execution, pool, env, most_steps, lambda: monotonic_ns() < start + budget_ns * share // 100)
    _fill_value(execution, pool, transfers, lambda: monotonic_ns() < start + budget_ns)


def _fill_health(execution: BlockExecution, pool: Pool, env: ExecutionEnv, most_steps: int, time_left: Callable[[], bool]) -> None:
    full_in_row = 0
    for tx in pool.health_candidates(MAX_CANDIDATES):
        if full_in_row == MAX_FULL_IN_ROW or not time_left():
            return
        if execution.steps and execution.steps + steps_of(tx, env.health.params) > most_steps:
            full_in_row += 1
            continue
        try:
            execution.add_health(tx)
            full_in_row = 0
        except BlockFull:
            full_in_row += 1
        except Refused:
            pool.evict(tx.id)


def _fill_value(execution: BlockExecution, pool: Pool, transfers: list[ValueTx], time_left: Callable[[], bool]) -> None:
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
