"""One-time AES-256-GCM and the padding that hides lengths."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hce.foundation.crypto.aead import MIN_PADDED_BYTES, TAG_BYTES, aead_open, aead_seal, pad, padded_length, unpad
from hce.foundation.crypto.errors import SealBroken

KEY = bytes(range(32))


def test_wycheproof_cases_with_our_nonce(suite: Callable[[str], Any]) -> None:
    groups = [group for group in suite("wycheproof/aes_gcm_test.json")["testGroups"] if group["keySize"] == 256]
    cases = [case for group in groups for case in group["tests"] if case["iv"] == "00" * 12]
    assert cases
    for case in cases:
        key, message, aad = (bytes.fromhex(case[name]) for name in ("key", "msg", "aad"))
        assert aead_seal(key, message, aad).hex() == case["ct"] + case["tag"]


def test_the_gcm_specification_gives_the_same_bytes() -> None:
    """Test cases 13 and 14 of McGrew and Viega, The Galois/Counter Mode of Operation: zero key and zero nonce."""
    assert aead_seal(bytes(32), b"").hex() == "530f8afbc74536b9a963b4f1c4cb738b"
    assert aead_seal(bytes(32), bytes(16)).hex() == "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919"


@settings(max_examples=50, deadline=None)
@given(plain=st.binary(max_size=600), aad=st.binary(max_size=40))
def test_what_is_sealed_opens_and_a_changed_byte_does_not(plain: bytes, aad: bytes) -> None:
    sealed = aead_seal(KEY, plain, aad)
    assert len(sealed) == len(plain) + TAG_BYTES
    assert aead_open(KEY, sealed, aad) == plain
    for key, bent, header in ((bytes(32), sealed, aad), (KEY, sealed[:-1], aad), (KEY, sealed, aad + b"x")):
        with pytest.raises(SealBroken):
            aead_open(key, bent, header)


def test_a_key_has_32_bytes() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        aead_seal(bytes(16), b"")


@settings(max_examples=100, deadline=None)
@given(plain=st.binary(max_size=2000))
def test_padding_comes_off(plain: bytes) -> None:
    padded = pad(plain)
    assert unpad(padded) == plain
    assert len(padded) == padded_length(len(plain))


def test_padding_leaks_little_and_costs_little() -> None:
    lengths = [padded_length(length) for length in range(100_000)]
    assert lengths[0] == lengths[255] == MIN_PADDED_BYTES
    assert lengths == sorted(lengths)
    assert len(set(lengths)) < 150
    assert all(padded <= 1.13 * (length + 1) for length, padded in enumerate(lengths) if length > 255)


@pytest.mark.parametrize(
    "padded",
    [b"", bytes(256), b"\x80", b"x" * 256, pad(b"x")[:-1], pad(b"x") + b"\x00", b"x\x80" + bytes(300), b"x\x81" + bytes(254)],
)
def test_padding_has_one_spelling(padded: bytes) -> None:
    with pytest.raises(SealBroken):
        unpad(padded)
