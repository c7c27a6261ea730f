"""The frozen vectors: code equals file, and the file holds together for a reader who has only a hash and Ed25519."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from nacl.signing import VerifyKey
from tests.vectors.hce.make_health import FILE, vectors

from hce.service.terms.transactions import ROLES

FROZEN: dict[str, Any] = json.loads(FILE.read_text())


def raw(shown: str) -> bytes:
    return bytes.fromhex(shown.removeprefix("0x"))


def test_the_code_still_makes_the_frozen_bytes() -> None:
    assert vectors() == FROZEN


def test_every_kind_has_a_vector() -> None:
    assert {tx["kind"] for tx in FROZEN["transactions"]} == set(ROLES)


@pytest.mark.parametrize("tx", FROZEN["transactions"], ids=lambda tx: tx["name"])
def test_ids_are_hashes_of_the_bodies_and_signatures_verify(tx: dict[str, Any]) -> None:
    body = raw(tx["body_bytes"])
    assert raw(tx["id"]) == b"\x01\x71\x12\x20" + hashlib.sha256(body).digest()
    assert body in raw(tx["signed_transaction"])
    for signed in tx["signatures"]:
        message = raw(signed["signed_bytes"])
        assert raw(tx["id"]) in message
        assert signed["role"].encode() in message
        VerifyKey(raw(signed["public_key"])).verify(message, raw(signed["signature"]))


@pytest.mark.parametrize("tx", FROZEN["transactions"], ids=lambda tx: tx["name"])
def test_what_a_transaction_produces_is_a_key_it_writes(tx: dict[str, Any]) -> None:
    written = "".join(tx["writes"])
    assert tx["writes"]
    assert all(made.removeprefix("0x") in written for made in tx["produced"])
