"""One plain transfer, and the end of the block, over the journal.

Ethereum burns the base fee. Here it leaves the sender in the transaction, as every wallet and every replaying tool expects, and
end-block credits exactly the sum of it to the fee pool, so that only the buy-back ever shrinks the supply.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from hce.foundation.codec.rlp import rlp_encode, rlp_integer
from hce.foundation.store.journal import Journal
from hce.foundation.types.scalars import Address, Digest
from hce.service.contracts.value.accounts import Account, credit, read_account, write_account
from hce.service.contracts.value.errors import CannotPay, FeeTooLow, NonceWrong
from hce.service.contracts.value.transactions import LEGACY, ValueTx, intrinsic_gas
from hce.service.terms.payloads import FEE_POOL

EMPTY_BLOOM = bytes(256)
"""Logs bloom of a block without logs."""
TRANSFER_STEPS = 200
"""One transfer in steps (1 step = 1 us on the reference core): decoding and recovery 65, accounts and their share of the root 80,
two trie leaves 30, rounded up (`bench/ledger_local.py`)."""
ACCESS_ITEM_STEPS = 6
"""Decoding one address or storage key of an access list."""


class ValueReceipt(Struct, frozen=True, array_like=True):
    """What became of one value transaction. A transfer that is in a block succeeded."""

    hash: Digest
    sender: Address
    to: Address
    type: Annotated[int, Meta(ge=0, le=2)]
    gas_used: int
    cumulative_gas: int
    gas_price: bytes
    """Effective price, AmountBytes: a price may exceed 53 bits."""

    def encode(self) -> bytes:
        """Ethereum receipt: type || RLP([status, cumulative gas, bloom, logs])."""
        body = rlp_encode([rlp_integer(1), rlp_integer(self.cumulative_gas), EMPTY_BLOOM, []])
        return body if self.type == LEGACY else bytes([self.type]) + body


def apply_transfer(journal: Journal, tx: ValueTx, base_fee: int, coinbase: bytes, gas_before: int) -> ValueReceipt:
    """Execute; raises NonceWrong, CannotPay or FeeTooLow with the journal unchanged: then the transaction cannot be in this block.

    The base fee part stays with nobody until `credit_base_fees`.
    """
    sender = read_account(journal, tx.sender)
    if tx.nonce != sender.nonce:
        raise NonceWrong(expected=sender.nonce, actual=tx.nonce)
    if tx.max_fee < base_fee:
        raise FeeTooLow(base_fee=base_fee, max_fee=tx.max_fee)
    if sender.balance < tx.max_cost:
        raise CannotPay(address=tx.sender.hex(), balance=sender.balance, amount=tx.max_cost)
    gas_used = intrinsic_gas(tx.access_list)
    price = effective_gas_price(tx, base_fee)
    left = sender.balance - tx.value - gas_used * price
    write_account(journal, tx.sender, Account(sender.nonce + 1, left, sender.code_hash))
    credit(journal, tx.to, tx.value)
    credit(journal, coinbase, gas_used * (price - base_fee))
    return ValueReceipt(tx.hash, tx.sender, tx.to, tx.type, gas_used, gas_before + gas_used, rlp_integer(price))


def transfer_steps(tx: ValueTx) -> int:
    """Steps of one transfer, from its bytes alone."""
    return TRANSFER_STEPS + ACCESS_ITEM_STEPS * sum(1 + len(entry.slots) for entry in tx.access_list)


def effective_gas_price(tx: ValueTx, base_fee: int) -> int:
    """What one gas costs in a block of this base fee (EIP-1559)."""
    return min(tx.max_fee, base_fee + tx.max_tip)


def credit_base_fees(journal: Journal, gas_used: int, base_fee: int) -> None:
    """End of the block: what Ethereum would burn goes to the fee pool."""
    credit(journal, FEE_POOL, gas_used * base_fee)
