"""Accounts in the value map, and the one way health moves coins (`docs/formats.md`, section State maps).

Every change of a balance outside of a signed Ethereum transaction is a `SystemTransfer`: recorded in order, so that somebody who
follows only the value chain can replay it from what `cross_root` commits to.
"""

from __future__ import annotations

from msgspec import Struct

from hce.foundation.codec.dagcbor import encode
from hce.foundation.codec.rlp import rlp_decode, rlp_encode, rlp_integer, rlp_to_integer
from hce.foundation.crypto.hashing import keccak256
from hce.foundation.store.journal import VALUE, Journal
from hce.foundation.types.errors import Bug, Corrupt, Refused
from hce.foundation.types.scalars import Address, AmountBytes
from hce.service.contracts.value.errors import CannotPay

NO_CODE = keccak256(b"")
"""Code hash of an account without code."""
ACCOUNT_PREFIX = b"a"
KEY_SUPPLY = b"supply"


class AccountCorrupt(Corrupt):
    """A stored account is not one: this machine's copy of the value chain is damaged."""

    code = "account.corrupt"


class Account(Struct, frozen=True):
    nonce: int
    balance: int
    """aHCE, 10^-18 HCET."""
    code_hash: bytes = NO_CODE


NOBODY = Account(0, 0)
"""What an absent key means; an account that becomes this again is deleted (EIP-161)."""


class SystemTransfer(Struct, frozen=True, array_like=True):
    """Coins moved by the rules and not by a signature."""

    sender: Address
    recipient: Address
    amount: AmountBytes
    reason: str
    subject: bytes
    """What it was for: for a fee the digest of the transaction id."""


def account_key(address: bytes) -> bytes:
    return ACCOUNT_PREFIX + address


def encode_account(account: Account) -> bytes:
    return rlp_encode([rlp_integer(account.nonce), rlp_integer(account.balance), account.code_hash])


def decode_account(raw: bytes | None) -> Account:
    """The account of a stored value; None is an account nobody used."""
    if raw is None:
        return NOBODY
    try:
        match rlp_decode(raw):
            case [bytes(nonce), bytes(balance), bytes(code_hash)]:
                return Account(rlp_to_integer(nonce), rlp_to_integer(balance), code_hash)
    except Refused as error:
        raise AccountCorrupt(error.code) from error
    raise AccountCorrupt("other fields")


def read_account(journal: Journal, address: bytes) -> Account:
    return decode_account(journal.get(VALUE, account_key(address)))


def write_account(journal: Journal, address: bytes, account: Account) -> None:
    if account == NOBODY:
        journal.delete(VALUE, account_key(address))
    else:
        journal.put(VALUE, account_key(address), encode_account(account))


def credit(journal: Journal, address: bytes, amount: int) -> None:
    """Add to a balance. The caller took the same amount from another one: the supply check of the block proves it."""
    account = read_account(journal, address)
    write_account(journal, address, Account(account.nonce, account.balance + amount, account.code_hash))


def transfer(journal: Journal, sender: bytes, recipient: bytes, amount: int) -> None:
    """Move coins; `CannotPay` (nothing changed) when the sender has less."""
    if amount < 0:
        raise Bug("a transfer below zero")
    account = read_account(journal, sender)
    if account.balance < amount:
        raise CannotPay(address=sender.hex(), balance=account.balance, amount=amount)
    write_account(journal, sender, Account(account.nonce, account.balance - amount, account.code_hash))
    credit(journal, recipient, amount)


def encode_transfers(transfers: list[SystemTransfer]) -> list[bytes]:
    """The items under `cross_root`."""
    return [encode(moved) for moved in transfers]


def is_account_key(key: bytes) -> bool:
    return len(key) == 21 and key[:1] == ACCOUNT_PREFIX
