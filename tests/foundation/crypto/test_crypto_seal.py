"""Sealing: X-Wing keys and decapsulation against the draft, HPKE against RFC 9180's key schedule, and every refusal."""

from __future__ import annotations

import hmac
import pickle
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hce.foundation.codec.dagcbor import encode
from hce.foundation.crypto.errors import BadSealKey, SealBroken
from hce.foundation.crypto.seal import MAX_INFO_BYTES, OVERHEAD_BYTES, PUBLIC_BYTES, OpeningKey, seal

KEY = OpeningKey.from_seed(bytes(range(32)))
SEALED = seal(KEY.public, b"info", b"plaintext", b"aad")
SUITE_ID = b"HPKE" + bytes.fromhex("647a00010002")
"""KEM X-Wing, KDF HKDF-SHA256, AEAD AES-256-GCM."""


def test_the_draft_gives_the_same_public_keys(vectors: Callable[[str], Any]) -> None:
    for case in vectors("xwing-draft/keys.json"):
        public = OpeningKey.from_seed(bytes.fromhex(case["seed"])).public
        assert (len(public), sha256(public).hexdigest()) == (PUBLIC_BYTES, case["public_sha256"])


def test_the_draft_gives_the_same_shared_secrets(suite: Callable[[str], Any]) -> None:
    """A message sealed here by hand from the draft's ciphertext and shared secret, with RFC 9180 written out, opens."""
    for case in suite("xwing/test-vectors.json"):
        key = OpeningKey.from_seed(bytes.fromhex(case["seed"]))
        assert key.public.hex() == case["pk"]
        aead_key, nonce = _rfc_9180_key_schedule(bytes.fromhex(case["ss"]), encode(["hce/seal/1", b"info", b"aad"]))
        sealed = bytes.fromhex(case["ct"]) + AESGCM(aead_key).encrypt(nonce, b"by hand", b"")
        assert key.open(b"info", sealed, b"aad") == b"by hand"


@settings(max_examples=20, deadline=None)
@given(info=st.binary(max_size=64), aad=st.binary(max_size=64), plaintext=st.binary(max_size=300))
def test_what_is_sealed_opens(info: bytes, aad: bytes, plaintext: bytes) -> None:
    sealed = seal(KEY.public, info, plaintext, aad)
    assert len(sealed) == len(plaintext) + OVERHEAD_BYTES
    assert KEY.open(info, sealed, aad) == plaintext


def test_sealing_twice_gives_two_messages() -> None:
    assert seal(KEY.public, b"info", b"plaintext", b"aad") != SEALED


@settings(max_examples=40, deadline=None)
@given(place=st.integers(0, len(SEALED) - 1), bit=st.integers(0, 7))
@example(place=1119, bit=7)  # X25519 ignores this bit (RFC 7748); X-Wing hashes it
def test_no_bit_of_a_sealed_message_can_change(place: int, bit: int) -> None:
    bent = bytearray(SEALED)
    bent[place] ^= 1 << bit
    with pytest.raises(SealBroken):
        KEY.open(b"info", bytes(bent), b"aad")


def test_another_key_info_or_aad_does_not_open() -> None:
    attempts = [
        lambda: OpeningKey.from_seed(bytes(32)).open(b"info", SEALED, b"aad"),
        lambda: KEY.open(b"Info", SEALED, b"aad"),
        lambda: KEY.open(b"info", SEALED, b"Aad"),
        lambda: KEY.open(b"info", SEALED),
        lambda: KEY.open(b"infoa", SEALED, b"ad"),
    ]
    for attempt in attempts:
        with pytest.raises(SealBroken):
            attempt()


@pytest.mark.parametrize("length", [0, 1, 1088, 1119, 1120, OVERHEAD_BYTES - 1, OVERHEAD_BYTES])
def test_short_and_cut_messages_do_not_open(length: int) -> None:
    with pytest.raises(SealBroken):
        KEY.open(b"info", SEALED[:length], b"aad")
    with pytest.raises(SealBroken):
        KEY.open(b"info", bytes(length), b"aad")


@pytest.mark.parametrize(
    "public",
    [
        b"",
        KEY.public[:-1],
        KEY.public + b"\x00",
        bytes(PUBLIC_BYTES),
        b"\xff" * 1184 + KEY.public[1184:],
        KEY.public[:1184] + bytes(32),
        KEY.public[:1184] + b"\x01" + bytes(31),
    ],
    ids=["empty", "short", "long", "zero", "ML-KEM coefficients out of range", "X25519 zero", "X25519 order 4"],
)
def test_nobody_seals_to_a_bad_key(public: bytes) -> None:
    with pytest.raises(BadSealKey):
        seal(public, b"info", b"plaintext")


def test_info_stays_within_what_the_browser_takes() -> None:
    with pytest.raises(ValueError, match="at most 8192"):
        seal(KEY.public, bytes(MAX_INFO_BYTES), b"")
    with pytest.raises(ValueError, match="at most 8192"):
        KEY.open(bytes(MAX_INFO_BYTES), SEALED)


def test_an_opening_key_neither_prints_nor_pickles() -> None:
    assert repr(KEY) == f"OpeningKey({KEY.public.hex()[:8]}…)"
    with pytest.raises(TypeError):
        pickle.dumps(KEY)
    with pytest.raises(ValueError, match="32 bytes"):
        OpeningKey.from_seed(bytes(31))


def _rfc_9180_key_schedule(shared_secret: bytes, info: bytes) -> tuple[bytes, bytes]:
    """Base mode, section 5.1: (key, base nonce)."""
    context = b"\x00" + _extract(b"", b"psk_id_hash", b"") + _extract(b"", b"info_hash", info)
    secret = _extract(shared_secret, b"secret", b"")
    return _expand(secret, b"key", context, 32), _expand(secret, b"base_nonce", context, 12)


def _extract(salt: bytes, label: bytes, material: bytes) -> bytes:
    return hmac.digest(salt, b"HPKE-v1" + SUITE_ID + label + material, "sha256")


def _expand(secret: bytes, label: bytes, context: bytes, length: int) -> bytes:
    labelled = length.to_bytes(2, "big") + b"HPKE-v1" + SUITE_ID + label + context
    return hmac.digest(secret, labelled + b"\x01", "sha256")[:length]
