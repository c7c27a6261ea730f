"""The frozen vectors of records: the code still gives them, and they open from seeds alone, step by step as the formats say."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from tests.vectors.hce.make_records import FILE, kept, vectors

from hce.foundation.codec.dagcbor import decode, decode_as
from hce.foundation.crypto.aead import aead_open, unpad
from hce.foundation.crypto.derive import hkdf
from hce.foundation.crypto.secret import SecretBytes
from hce.foundation.crypto.threshold import Capsule, Partial, verify_capsule, verify_partial
from hce.service.terms.grants import dleq_transcript
from hce.service.terms.records import ContentManifest
from hce.service.vault.compartments import CompartmentKeys


@pytest.fixture(scope="module")
def frozen() -> Any:
    return json.loads(FILE.read_text())


def raw(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))


def test_the_code_still_gives_the_frozen_bytes(frozen: Any) -> None:
    assert vectors(kept()) == frozen


def test_the_record_opens_by_the_formulas_of_the_formats(frozen: Any) -> None:
    """Written out again here, so that a slip in `locks.py` shows."""
    record, drawn = frozen["record"], frozen["drawn"]
    keys = CompartmentKeys(SecretBytes(raw(frozen["people"]["seed"])), 0)
    session_secret = keys.reading(0).open(raw(record["lock_a_info"]), raw(drawn["lock_a"]))
    assert session_secret == raw(record["session_secret"])
    ss_a = hkdf(session_secret, b"\x82\x6ahce/ss-a/1\x58\x20" + raw(record["record_id"]))
    assert ss_a == raw(record["ss_a"])
    wrapping_key = hkdf(ss_a + raw(record["ss_b"]), raw(record["wrapping_info"]))
    header = raw(record["header_bytes"])
    dek = aead_open(wrapping_key, raw(record["envelope"]["wrapped_dek"]), header)
    assert dek == raw(record["dek"])
    plain = unpad(aead_open(dek, raw(record["ciphertext"]), header))
    assert "空腹".encode() in decode_as(ContentManifest, plain).items[0].content
    owner_secret = keys.root.open(raw(record["owner_lock_info"]), raw(drawn["owner_lock"]))
    assert owner_secret == raw(record["owner_secret"])
    assert aead_open(raw(record["owner_wrap_key"]), raw(record["owner_wrap"]), header) == dek + raw(record["seed_b"])


def test_the_sealed_parts_hold_what_stands_beside_them(frozen: Any) -> None:
    drawn, release, record = frozen["drawn"], frozen["release"], frozen["record"]
    keys = CompartmentKeys(SecretBytes(raw(frozen["people"]["seed"])), 0)
    assert keys.log.open(raw(release["receipt_info"]), raw(drawn["receipt"])) == raw(release["receipt_bytes"])
    sealed_opening = decode(raw(record["session_entry"]))[2][0][1]
    opened = unpad(aead_open(raw(record["opening_key"]), sealed_opening, raw(record["record_id"])))
    assert opened == raw(record["opening_bytes"])


def test_capsule_and_partial_of_the_vectors_verify(frozen: Any) -> None:
    record, state = frozen["record"], frozen["keyholders"]["state"]
    capsule = Capsule(*(raw(record["capsule"][part]) for part in ("c", "u", "u_bar", "e", "f")))
    assert verify_capsule(raw(state["public_key"]), raw(record["label"]), capsule)
    reply, access = frozen["release"]["reply"], frozen["access"]
    part = reply["partials"][0]["partial"]
    made = Partial(part["index"], raw(part["value"]), raw(part["e"]), raw(part["f"]))
    transcript = dleq_transcript(
        raw(frozen["chain"]),
        raw(reply["key_id"]),
        reply["sharing_epoch"],
        reply["node"],
        raw(access["entry_id"]),
        raw(record["record_id"]),
        raw(access["body"]["response_key"]),
    )
    assert verify_partial(raw(state["member_keys"][reply["node"]]), capsule, made, transcript)


def test_the_vectors_streams_are_shake_256(frozen: Any) -> None:
    hashed = hashlib.shake_256(b"sealing").digest(128)
    record = frozen["record"]
    assert [hashed[i : i + 32] for i in range(0, 128, 32)] == [
        raw(record["nonce"]),
        raw(record["policy"]["salt"]),
        raw(record["dek"]),
        raw(record["seed_b"]),
    ]
