"""What arriving transactions are judged by: the numbers of the block that comes next, and what many of them ask of the final state.

A hospital's transactions all have one payer: its certificate and its tank are read once a height, not once a transaction.
"""

from __future__ import annotations

from hce.service.contracts.health import payer_key
from hce.service.ledger.execution import ExecutionEnv
from hce.service.ledger.final import FinalView
from hce.service.terms.payloads import tank_address
from hce.service.terms.transactions import HealthTx

MAX_PAYERS = 4_096
"""Payers remembered at one height, some hundred bytes each; those of more are read each time."""


class Door:
    """Of one final height. Safe to use from several threads."""

    def __init__(self, env: ExecutionEnv) -> None:
        """`env`: the numbers the next block will have at the earliest."""
        self.env = env
        self._funds: dict[tuple[bytes, bytes | None], int] = {}

    def funds_of(self, payer: bytes, tx: HealthTx, view: FinalView) -> int:
        """What the tank of this transaction's payer holds, aHCE. Raises what `payer_key` raises; `view` is of the door's height."""
        signed = payer, tx.signer("payer")
        known = self._funds.get(signed)
        if known is not None:
            return known
        payer_key(tx, view.health, self.env.health)
        funds = view.account(tank_address(payer)).balance
        if len(self._funds) < MAX_PAYERS:
            self._funds[signed] = funds
        return funds
