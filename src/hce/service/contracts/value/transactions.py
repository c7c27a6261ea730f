"""Signed Ethereum transactions of types 0 (EIP-155), 1 (EIP-2930) and 2 (EIP-1559), as `eth_sendRawTransaction` takes them.

Rules version 1 moves coins and nothing else: no call data, a recipient that is no precompile and not the fee pool. What does not fit
cannot be in a block, so that the day the contract engine moves in no old transaction changes its meaning.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from hce.foundation.codec.rlp import RlpItem, RlpMalformed, rlp_decode, rlp_encode, rlp_integer, rlp_to_integer
from hce.foundation.crypto.hashing import keccak256
from hce.foundation.crypto.secp import recover_address
from hce.foundation.types.scalars import Address, Digest
from hce.service.contracts.value.errors import (
    CarriesData,
    CreatesContract,
    FeeTooLow,
    GasTooLow,
    ReservedAddress,
    TypeNotSupported,
    Unprotected,
    ValueMalformed,
    WrongEthChain,
)
from hce.service.terms.payloads import FEE_POOL

MAX_VALUE_TX_BYTES = 128 * 1024
"""Largest value transaction (the bound of Ethereum nodes' pools)."""
TX_GAS = 21_000
"""Intrinsic gas of a transaction without data (EIP-2)."""
ACCESS_ADDRESS_GAS = 2_400
ACCESS_SLOT_GAS = 1_900
"""Intrinsic gas per access list address and storage key (EIP-2930)."""
RESERVED_BELOW = 0x200
"""Addresses 0x00..0x01ff are precompiles, Ethereum's and ours."""
MAX_NONCE = 2**64 - 2
"""Largest nonce that can be used (EIP-2681)."""
LEGACY, ACCESS_LIST, DYNAMIC_FEE = 0, 1, 2

_FIELDS = {LEGACY: 9, ACCESS_LIST: 11, DYNAMIC_FEE: 12}


class AccessEntry(Struct, frozen=True):
    address: Address
    slots: tuple[bytes, ...]


class ValueTx(Struct, frozen=True):
    """A transaction whose signature was recovered. `hash` is its id: keccak of the raw bytes."""

    hash: Digest
    raw: bytes
    type: Annotated[int, Meta(ge=0, le=2)]
    nonce: int
    max_fee: int
    """Greatest price of one gas, aHCE; the gas price for types 0 and 1."""
    max_tip: int
    gas_limit: int
    to: Address
    value: int
    access_list: tuple[AccessEntry, ...]
    sender: Address

    @property
    def max_cost(self) -> int:
        """What the sender must own for this to be included, aHCE."""
        return self.gas_limit * self.max_fee + self.value


def decode_value_tx(raw: bytes, eip155_id: int) -> ValueTx:
    """Decode, recover the sender, apply the rules of version 1 that need no state. Raises errors of `value.errors`."""
    type_, fields = _split(raw)
    try:
        return _from_fields(raw, type_, fields, eip155_id)
    except RlpMalformed as error:
        raise ValueMalformed(error.detail, **error.fields) from error


def intrinsic_gas(access_list: tuple[AccessEntry, ...]) -> int:
    """Gas before any code runs; without data it is all the gas a transfer uses."""
    return TX_GAS + sum(ACCESS_ADDRESS_GAS + ACCESS_SLOT_GAS * len(entry.slots) for entry in access_list)


def is_reserved(address: bytes) -> bool:
    return address == FEE_POOL or int.from_bytes(address, "big") < RESERVED_BELOW


def _split(raw: bytes) -> tuple[int, list[RlpItem]]:
    """Type and fields of the envelope (EIP-2718)."""
    first = raw[0] if raw else 0
    type_ = first if raw and first < 0x80 else LEGACY
    if type_ == LEGACY and first < 0xC0:
        raise ValueMalformed("not a transaction")
    if type_ not in _FIELDS:
        raise TypeNotSupported(type=type_)
    try:
        fields = rlp_decode(raw[1:] if type_ else raw, max_bytes=MAX_VALUE_TX_BYTES)
    except RlpMalformed as error:
        raise ValueMalformed(error.detail) from error
    if not isinstance(fields, list) or len(fields) != _FIELDS[type_]:
        raise ValueMalformed("wrong number of fields", type=type_)
    return type_, fields


def _from_fields(raw: bytes, type_: int, fields: list[RlpItem], eip155_id: int) -> ValueTx:
    if type_ == LEGACY:
        nonce, price, gas, to, value, data, v, r, s = fields
        access: RlpItem = []
        tip = price
        parity = _legacy_parity(_number(v), eip155_id)
        unsigned = rlp_encode([*fields[:6], rlp_integer(eip155_id), b"", b""])
    else:
        chain, *rest = fields
        if _number(chain) != eip155_id:
            raise WrongEthChain(expected=eip155_id, actual=_number(chain))
        if type_ == ACCESS_LIST:
            nonce, price, gas, to, value, data, access, v, r, s = rest
            tip = price
        else:
            nonce, tip, price, gas, to, value, data, access, v, r, s = rest
        parity = _number(v)
        unsigned = bytes([type_]) + rlp_encode(fields[:-3])
    recipient = _recipient(to, data)
    access_list = _access_list(access)
    sender = recover_address(keccak256(unsigned), _number(r), _number(s), parity)
    tx = ValueTx(
        hash=keccak256(raw),
        raw=raw,
        type=type_,
        nonce=_number(nonce, 8),
        max_fee=_number(price),
        max_tip=_number(tip),
        gas_limit=_number(gas, 8),
        to=recipient,
        value=_number(value),
        access_list=access_list,
        sender=sender,
    )
    _check_numbers(tx)
    return tx


def _legacy_parity(v: int, eip155_id: int) -> int:
    if v in (27, 28):
        raise Unprotected()
    parity = v - 35 - 2 * eip155_id
    if parity not in (0, 1):
        raise WrongEthChain(expected=eip155_id, actual=(v - 35) // 2)
    return parity


def _recipient(to: RlpItem, data: RlpItem) -> bytes:
    if not isinstance(to, bytes) or not isinstance(data, bytes) or len(to) not in (0, 20):
        raise ValueMalformed("recipient or data")
    if not to:
        raise CreatesContract()
    if data:
        raise CarriesData(actual_bytes=len(data))
    if is_reserved(to):
        raise ReservedAddress(address=to.hex())
    return to


def _access_list(item: RlpItem) -> tuple[AccessEntry, ...]:
    if not isinstance(item, list):
        raise ValueMalformed("access list")
    return tuple(_access_entry(entry) for entry in item)


def _access_entry(entry: RlpItem) -> AccessEntry:
    match entry:
        case [bytes(address), list(slots)] if len(address) == 20:
            checked = tuple(slot for slot in slots if isinstance(slot, bytes) and len(slot) == 32)
            if len(checked) == len(slots):
                return AccessEntry(address, checked)
    raise ValueMalformed("access list entry")


def _check_numbers(tx: ValueTx) -> None:
    if tx.nonce > MAX_NONCE:
        raise ValueMalformed("nonce", nonce=tx.nonce)
    if tx.max_tip > tx.max_fee:
        raise FeeTooLow("the tip is above the whole fee", max_fee=tx.max_fee, max_tip=tx.max_tip)
    needed = intrinsic_gas(tx.access_list)
    if tx.gas_limit < needed:
        raise GasTooLow(gas_limit=tx.gas_limit, needed=needed)


def _number(item: RlpItem, max_bytes: int = 32) -> int:
    if not isinstance(item, bytes):
        raise ValueMalformed("a list where a number belongs")
    return rlp_to_integer(item, max_bytes=max_bytes)
