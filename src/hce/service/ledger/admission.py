"""From raw bytes to transactions whose signatures hold: everything that needs no state, done once per transaction and node.

A transaction is seen when it arrives, when it is proposed and when it is finalised; its signatures are the dearest part of all three.
The bytes decide the result for ever, so it is remembered by them. What arrives is read first and judged by the state before its
signatures are looked at (`Ledger.check_tx`): a flood of expired, repeated or unpaid transactions costs no signature check.
"""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from typing import TypeAlias

from hce.foundation.types.blocks import LedgerBlock
from hce.service.contracts.health import check_stateless, steps_of
from hce.service.contracts.health.steps import LEAST_STEPS
from hce.service.contracts.value.execute import TRANSFER_STEPS
from hce.service.contracts.value.transactions import TX_GAS, ValueTx, decode_value_tx
from hce.service.ledger.errors import BlockFull
from hce.service.terms.genesis import Params
from hce.service.terms.transactions import HealthTx, parse

AnyTx: TypeAlias = HealthTx | ValueTx

MAX_REMEMBERED_BYTES = 6 * 1024 * 1024
"""Raw bytes of remembered transactions, some ten thousand; the oldest are forgotten first. Parsed they take about five times as much."""
HEALTH_FIRST_BYTE = 0x82
"""A signed health transaction is a CBOR list of two; no Ethereum transaction begins so."""


def is_health(raw: bytes) -> bool:
    """Which of the two chains these bytes are for, by the first one."""
    return raw[:1] == bytes([HEALTH_FIRST_BYTE])


class Admission:
    """Checks transactions without state. Safe to call from several threads."""

    def __init__(self, chain: bytes, eip155_id: int, max_remembered_bytes: int = MAX_REMEMBERED_BYTES) -> None:
        self._chain = chain
        self._eip155_id = eip155_id
        self._max_bytes = max_remembered_bytes
        self._remembered: OrderedDict[bytes, AnyTx] = OrderedDict()
        """By raw bytes: no bytes are right for both chains (`is_health`). Read without the lock, changed under it."""
        self._bytes = 0
        self._lock = Lock()

    def health(self, raw: bytes) -> HealthTx:
        """Parsed, payload and signatures checked. Raises `Refused`."""
        tx = self.read_health(raw)
        self.require_signed(tx)
        return tx

    def read_health(self, raw: bytes) -> HealthTx:
        """Parsed; neither payload nor signatures are checked: whoever acts on it calls `require_signed` first. Raises `Refused`."""
        known = self._remembered.get(raw)
        return known if isinstance(known, HealthTx) else parse(raw, self._chain)

    def require_signed(self, tx: HealthTx) -> None:
        """Payload and signatures hold, checked now or before. Raises `Refused`."""
        if tx.raw not in self._remembered:
            check_stateless(tx, self._chain)
            self._remember(tx)

    def value(self, raw: bytes) -> ValueTx:
        """Decoded, sender recovered. Raises `Refused`."""
        known = self._remembered.get(raw)
        if isinstance(known, ValueTx):
            return known
        tx = decode_value_tx(raw, self._eip155_id)
        self._remember(tx)
        return tx

    def lists(self, block: LedgerBlock, params: Params) -> tuple[list[HealthTx], list[ValueTx]]:
        """Both lists of a block, every transaction checked. Raises `Refused`.

        `BlockFull` before the first signature is looked at: a proposer's list that breaks the bounds is full of strangers' signatures,
        and would else cost every node seconds. Execution counts again, exactly.
        """
        require_countable(block, params)
        health_txs: list[HealthTx] = []
        steps = 0
        for raw in block.health_txs:
            health_txs.append(self.read_health(raw))
            steps += steps_of(health_txs[-1], params)
            _require_within("steps", steps + len(block.value_txs) * TRANSFER_STEPS, params.block_steps)
        for tx in health_txs:
            self.require_signed(tx)
        return health_txs, [self.value(raw) for raw in block.value_txs]

    def _remember(self, tx: AnyTx) -> None:
        with self._lock:
            if tx.raw in self._remembered:
                return
            self._remembered[tx.raw] = tx
            self._bytes += len(tx.raw)
            while self._bytes > self._max_bytes:
                self._bytes -= len(self._remembered.popitem(last=False)[1].raw)


def require_countable(block: LedgerBlock, params: Params) -> None:
    """`BlockFull` when there are more transactions than a block has room for, however little each takes; nothing of them is parsed."""
    transfers = len(block.value_txs)
    steps = len(block.health_txs) * min(LEAST_STEPS, params.tx_steps) + transfers * TRANSFER_STEPS
    _require_within("steps", steps, params.block_steps)
    _require_within("gas", transfers * TX_GAS, params.gas_limit)


def _require_within(what: str, used: int, bound: int) -> None:
    if used > bound:
        raise BlockFull(what=what, used=used, bound=bound)
