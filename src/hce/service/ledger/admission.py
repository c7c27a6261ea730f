"""From raw bytes to transactions whose signatures hold: everything that needs no state, done once per transaction and node.

A transaction is seen when it arrives, when it is proposed and when it is finalised; its signatures are the dearest part of all three.
The bytes decide the result for ever, so it is remembered by them. What arrives is read first and judged by the state before its
signatures are looked at (`Ledger.check_tx`): a flood of expired, repeated or unpaid transactions costs no signature check.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from threading import Lock
from typing import TypeAlias

from hce.service.contracts.health import check_stateless
from hce.service.contracts.value.transactions import ValueTx, decode_value_tx
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
        self._bytes = 0
        self._lock = Lock()

    def health(self, raw: bytes) -> HealthTx:
        """Parsed, payload and signatures checked. Raises `Refused`."""
        tx = self.read_health(raw)
        self.require_signed(tx)
        return tx

    def read_health(self, raw: bytes) -> HealthTx:
        """Parsed; neither payload nor signatures are checked: whoever acts on it calls `require_signed` first. Raises `Refused`."""
        known = self._recall(_health_key(raw))
        return known if isinstance(known, HealthTx) else parse(raw, self._chain)

    def require_signed(self, tx: HealthTx) -> None:
        """Payload and signatures hold, checked now or before. Raises `Refused`."""
        key = _health_key(tx.raw)
        if self._recall(key) is None:
            check_stateless(tx, self._chain)
            self._remember(key, tx)

    def value(self, raw: bytes) -> ValueTx:
        """Decoded, sender recovered. Raises `Refused`."""
        key = hashlib.sha256(b"value" + raw).digest()
        known = self._recall(key)
        if isinstance(known, ValueTx):
            return known
        tx = decode_value_tx(raw, self._eip155_id)
        self._remember(key, tx)
        return tx

    def _recall(self, key: bytes) -> AnyTx | None:
        with self._lock:
            return self._remembered.get(key)

    def _remember(self, key: bytes, tx: AnyTx) -> None:
        with self._lock:
            if key in self._remembered:
                return
            self._remembered[key] = tx
            self._bytes += len(tx.raw)
            while self._bytes > self._max_bytes:
                self._bytes -= len(self._remembered.popitem(last=False)[1].raw)


def _health_key(raw: bytes) -> bytes:
    return hashlib.sha256(b"health" + raw).digest()
