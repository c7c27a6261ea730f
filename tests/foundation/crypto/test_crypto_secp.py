"""Accounts of the value chain, compared with eth-account (another implementation) and Wycheproof."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from eth_account import Account
from hypothesis import given, settings
from hypothesis import strategies as st

from hce.foundation.crypto.errors import BadEthSignature
from hce.foundation.crypto.hashing import keccak256
from hce.foundation.crypto.secp import HALF_ORDER, ORDER, EthSigningKey, address_of, recover_address

SECRETS = st.integers(1, ORDER - 1).map(lambda number: number.to_bytes(32, "big"))
KEY = EthSigningKey((1).to_bytes(32, "big"))
HASH = keccak256(b"message")


def test_keccak_is_not_sha3() -> None:
    assert keccak256(b"").hex() == "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"
    assert keccak256(b"") != hashlib.sha3_256(b"").digest()


def test_the_address_of_secret_one_is_the_well_known_one() -> None:
    assert KEY.address.hex() == "7e5f4552091a69125d5dfcb7b8c2659029395bdf"


@settings(max_examples=20, deadline=None)
@given(secret=SECRETS, msg_hash=st.binary(min_size=32, max_size=32))
def test_eth_account_derives_and_signs_the_same(secret: bytes, msg_hash: bytes) -> None:
    key, other = EthSigningKey(secret), Account.from_key(secret)
    theirs = other.unsafe_sign_hash(msg_hash)
    assert "0x" + key.address.hex() == other.address.lower()
    assert key.sign(msg_hash) == (theirs.r, theirs.s, theirs.v - 27)
    assert recover_address(msg_hash, *key.sign(msg_hash)) == key.address


def test_another_message_or_parity_recovers_another_account() -> None:
    r, s, y_parity = KEY.sign(HASH)
    assert recover_address(keccak256(b"other"), r, s, y_parity) != KEY.address
    assert recover_address(HASH, r, s, 1 - y_parity) != KEY.address


def test_high_s_is_refused() -> None:
    """The mirrored signature recovers the same account: without EIP-2 each transaction had two hashes."""
    r, s, y_parity = KEY.sign(HASH)
    assert s <= HALF_ORDER
    with pytest.raises(BadEthSignature):
        recover_address(HASH, r, ORDER - s, 1 - y_parity)


@pytest.mark.parametrize(
    ("r", "s", "y_parity"),
    [(0, 1, 0), (1, 0, 0), (ORDER, 1, 0), (1, ORDER, 0), (-1, 1, 0), (1, 1, 2), (1, 1, -1), (2**256, 1, 0), (5, 1, 0)],
)
def test_values_out_of_range_are_refused(r: int, s: int, y_parity: int) -> None:
    """r = 5 is no x coordinate of the curve."""
    with pytest.raises(BadEthSignature):
        recover_address(HASH, r, s, y_parity)


def test_wrong_lengths_are_refused() -> None:
    with pytest.raises(BadEthSignature):
        recover_address(b"short", *KEY.sign(HASH))
    for secret in (b"", bytes(32), ORDER.to_bytes(32, "big"), bytes(31) + b"\x01\x01"):
        with pytest.raises(ValueError, match=r".+"):
            EthSigningKey(secret)
    with pytest.raises(ValueError, match="32 bytes"):
        KEY.sign(b"short")
    with pytest.raises(ValueError, match=r".+"):
        address_of(b"\x02" + bytes(32))


def test_wycheproof_signatures_recover_their_key(suite: Callable[[str], Any]) -> None:
    """Valid cases recover the account under one parity; no invalid one does under any.

    Where r is the x coordinate less the order (below 2^129, so never by chance) Ethereum has no parity for it: left out.
    """
    checked = 0
    for group in suite("wycheproof/ecdsa_secp256k1_sha256_bitcoin_test.json")["testGroups"]:
        account = address_of(bytes.fromhex(group["publicKey"]["uncompressed"]))
        for case in group["tests"]:
            numbers = _der_integers(bytes.fromhex(case["sig"]))
            if numbers is not None and not 0 < numbers[0] < 1 << 129:
                msg_hash = hashlib.sha256(bytes.fromhex(case["msg"])).digest()
                recovered = {_recover_or_none(msg_hash, *numbers, y_parity) for y_parity in (0, 1)}
                assert (account in recovered) == (case["result"] == "valid"), case["tcId"]
                checked += 1
    assert checked > 150


def test_a_signing_key_prints_its_address_only() -> None:
    assert repr(KEY) == f"EthSigningKey(0x{KEY.address.hex()})"
    with pytest.raises(TypeError):
        pickle.dumps(KEY)


def _recover_or_none(msg_hash: bytes, r: int, s: int, y_parity: int) -> bytes | None:
    try:
        return recover_address(msg_hash, r, s, y_parity)
    except BadEthSignature:
        return None


def _der_integers(raw: bytes) -> tuple[int, int] | None:
    """(r, s) of a signature in exact DER; None for anything else, which recovery never sees."""
    if len(raw) < 8 or raw[0] != 0x30 or raw[1] != len(raw) - 2 or raw[1] > 127:
        return None
    numbers, rest = [], raw[2:]
    for _ in range(2):
        if len(rest) < 3 or rest[0] != 2 or not 0 < rest[1] <= len(rest) - 2:
            return None
        number, rest = rest[2 : 2 + rest[1]], rest[2 + rest[1] :]
        if len(number) > 1 and number[0] == 0 and number[1] < 128:
            return None
        numbers.append(int.from_bytes(number, "big", signed=True))
    return (numbers[0], numbers[1]) if not rest else None
