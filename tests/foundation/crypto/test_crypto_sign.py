"""The pinned rule of Ed25519, held by vectors from outside and by forgeries made here."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from nacl.bindings import crypto_core_ed25519_scalar_mul, crypto_scalarmult_ed25519_base_noclamp

from hce.foundation.codec.dagcbor import decode
from hce.foundation.crypto.sign import SigningKey, signing_bytes, verify

ORDER = 2**252 + 27742317777372353535851937790883648493
FIELD_PRIME = 2**255 - 19
SIGN_BIT = 1 << 255
ORDER_8_Y = (
    0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7,
    0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826,
)
SMALL_ORDER_Y = (0, 1, FIELD_PRIME - 1, FIELD_PRIME, FIELD_PRIME + 1, *ORDER_8_Y)
SMALL_ORDER_KEYS = [(y | sign).to_bytes(32, "little") for y in SMALL_ORDER_Y for sign in (0, SIGN_BIT)]
"""Every spelling of the eight points of small order, the non-canonical ones too."""
SPECCHECK_ACCEPTED = [False, False, False, True, False, False, False, False, False, False, False, False]
"""Our rule on the twelve cases of ed25519-speccheck: only case 3 (mixed order, equation holds without cofactor) passes."""
IDENTITY = (1).to_bytes(32, "little")


def test_rfc_8032_signs_and_verifies(vectors: Callable[[str], Any]) -> None:
    for case in vectors("rfc8032/ed25519.json"):
        key, message = SigningKey(bytes.fromhex(case["secret"])), bytes.fromhex(case["message"])
        assert key.public.hex() == case["public"]
        assert key.sign(message).hex() == case["signature"]
        assert verify(key.public, message, bytes.fromhex(case["signature"]))
        assert not verify(key.public, message + b"x", bytes.fromhex(case["signature"]))


def test_speccheck_cases_give_the_pinned_answers(suite: Callable[[str], Any]) -> None:
    cases = suite("ed25519-speccheck/cases.json")
    answers = [verify(*(bytes.fromhex(case[name]) for name in ("pub_key", "message", "signature"))) for case in cases]
    assert answers == SPECCHECK_ACCEPTED


def test_wycheproof_agrees(suite: Callable[[str], Any]) -> None:
    for group in suite("wycheproof/ed25519_test.json")["testGroups"]:
        public = bytes.fromhex(group["publicKey"]["pk"])
        for case in group["tests"]:
            accepted = verify(public, bytes.fromhex(case["msg"]), bytes.fromhex(case["sig"]))
            assert accepted == (case["result"] == "valid"), case["tcId"]


@pytest.mark.parametrize("public", SMALL_ORDER_KEYS, ids=bytes.hex)
def test_a_key_of_small_order_signs_nothing(public: bytes) -> None:
    message, signature = _forge_under_small_order_key(public)
    assert not verify(public, message, signature)


def test_the_forgery_is_real_because_a_laxer_library_takes_it() -> None:
    """`cryptography` raises InvalidSignature when it refuses; the day it does, the essay in sign.py wants a new sentence."""
    message, signature = _forge_under_small_order_key(IDENTITY)
    Ed25519PublicKey.from_public_bytes(IDENTITY).verify(signature, message)


@pytest.mark.parametrize("spelling", [1, 1 | SIGN_BIT, FIELD_PRIME + 1, (FIELD_PRIME + 1) | SIGN_BIT])
def test_r_of_small_order_is_refused_in_every_spelling(spelling: int) -> None:
    """R is the identity and S = k a, so the equation holds."""
    key, message, r = SigningKey(bytes(32)), b"message", spelling.to_bytes(32, "little")
    scalar = _secret_scalar(bytes(32))
    s = crypto_core_ed25519_scalar_mul(_challenge(r, key.public, message).to_bytes(32, "little"), scalar)
    assert not verify(key.public, message, r + s)
    if spelling == 1:
        Ed25519PublicKey.from_public_bytes(key.public).verify(r + s, message)


def test_s_beyond_the_group_order_is_refused() -> None:
    key = SigningKey(bytes(32))
    signature = key.sign(b"message")
    larger = int.from_bytes(signature[32:], "little") + ORDER
    assert verify(key.public, b"message", signature)
    assert not verify(key.public, b"message", signature[:32] + larger.to_bytes(32, "little"))


def test_a_key_that_is_no_canonical_point_is_refused() -> None:
    """y = p + 3 is on the curve once reduced; y = 2 is not on the curve."""
    signature = SigningKey(bytes(32)).sign(b"message")
    for y in (*range(FIELD_PRIME, 2**255), 2):
        assert not verify(y.to_bytes(32, "little"), b"message", signature)


def test_wrong_lengths_are_false_not_errors() -> None:
    key = SigningKey(bytes(32))
    signature = key.sign(b"m")
    for public, sig in ((b"", signature), (key.public, b""), (key.public + b"x", signature), (key.public, signature[:63])):
        assert not verify(public, b"m", sig)


def test_signing_bytes_name_purpose_and_chain() -> None:
    assert decode(signing_bytes("vote", bytes(16), 1, None)) == ["hce/vote/1", bytes(16), 1, None]
    assert signing_bytes("vote", bytes(16), 1) != signing_bytes("vote", b"\x01" + bytes(15), 1)
    assert signing_bytes("vote", bytes(16), 1) != signing_bytes("proposal", bytes(16), 1)


def test_a_signing_key_neither_prints_nor_pickles() -> None:
    key = SigningKey(b"\xab" * 32)
    assert "abab" not in repr(key)
    with pytest.raises(TypeError):
        pickle.dumps(key)
    with pytest.raises(ValueError, match="32 bytes"):
        SigningKey(b"short")


def _forge_under_small_order_key(public: bytes) -> tuple[bytes, bytes]:
    """R = S B, and a message whose challenge is a multiple of 8, so that the key disappears from the equation."""
    s = (7).to_bytes(32, "little")
    r = crypto_scalarmult_ed25519_base_noclamp(s)
    message = next(m for m in (bytes([n]) for n in range(256)) if _challenge(r, public, m) % 8 == 0)
    return message, r + s


def _challenge(r: bytes, public: bytes, message: bytes) -> int:
    return int.from_bytes(hashlib.sha512(r + public + message).digest(), "little") % ORDER


def _secret_scalar(seed: bytes) -> bytes:
    raw = bytearray(hashlib.sha512(seed).digest()[:32])
    raw[0] &= 248
    raw[31] = raw[31] & 127 | 64
    return (int.from_bytes(raw, "little") % ORDER).to_bytes(32, "little")
