"""Digests and commitments name their domain and bind to every byte."""

from __future__ import annotations

import hashlib

import pytest

from hce.foundation.codec.dagcbor import encode
from hce.foundation.crypto.hashing import commitment, digest

SALT = bytes(range(32))


def test_a_digest_is_sha_256_of_domain_and_parts() -> None:
    assert digest("hce/test/1", 1, b"x") == hashlib.sha256(b"\x83\x6ahce/test/1\x01\x41x").digest()


def test_parts_do_not_run_together() -> None:
    digests = [
        digest("d"),
        digest("d", b""),
        digest("d", b"ab"),
        digest("d", b"a", b"b"),
        digest("d", [b"a", b"b"]),
        digest("da", b"b"),
    ]
    assert len(set(digests)) == len(digests)


def test_a_commitment_hides_behind_its_salt() -> None:
    body = ["blood pressure", 120]
    assert commitment("d", body, SALT) == digest("d", encode(body), SALT)
    assert commitment("d", body, SALT) != commitment("d", body, bytes(32))
    assert commitment("d", body, SALT) != commitment("d", ["blood pressure", 121], SALT)
    with pytest.raises(ValueError, match="32 bytes"):
        commitment("d", body, b"short")
