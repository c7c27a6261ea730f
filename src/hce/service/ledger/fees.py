"""Fees of one block's health list: judged one by one, moved together.

A tank pays for hundreds of transactions in a block, and moving each fee by itself reads and writes two accounts every time. Here a
charge only counts what the tank has left; the coins move when the list ends, which no transaction of the list can tell: health
contracts neither read nor move coins. The record under `cross_root` still names every fee.
"""

from __future__ import annotations

from hce.foundation.codec.cid import digest_of_cid
from hce.foundation.store.journal import Journal
from hce.foundation.types.scalars import amount_to_bytes
from hce.service.contracts.value.accounts import SystemTransfer, read_account, transfer
from hce.service.ledger.errors import PayerCannotPay
from hce.service.terms.payloads import FEE_POOL, tank_address

REASON_FEE = "fee"


class Fees:
    """The fees of one list. `charge` each, then `collect`; nothing else may touch the tanks in between."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._balance: dict[bytes, int] = {}
        """aHCE of each payer's tank before this list."""
        self._owed: dict[bytes, int] = {}
        """aHCE each payer owes for this list, in the order of their first transactions."""
        self.transfers: list[SystemTransfer] = []
        """Every fee, in order."""

    def charge(self, payer: bytes, fee: int, tx_id: bytes) -> None:
        """Owe the fee of one transaction, aHCE; `PayerCannotPay` (nothing changed) when the tank has less left."""
        tank = tank_address(payer)
        if payer not in self._balance:
            self._balance[payer] = read_account(self._journal, tank).balance
        owed = self._owed.get(payer, 0)
        left = self._balance[payer] - owed
        if fee > left:
            raise PayerCannotPay(payer=payer.hex(), fee=fee, balance=left)
        self._owed[payer] = owed + fee
        self.transfers.append(SystemTransfer(tank, FEE_POOL, amount_to_bytes(fee), REASON_FEE, digest_of_cid(tx_id)))

    def collect(self) -> None:
        """Move what is owed from the tanks to the fee pool. Again does nothing."""
        for payer, owed in self._owed.items():
            transfer(self._journal, tank_address(payer), FEE_POOL, owed)
        self._owed, self._balance = {}, {}
