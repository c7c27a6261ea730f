"""Writes `crypto.json`: every primitive of HCE on fixed input, for an implementation in another language.

.venv/bin/python -m tests.vectors.hce.make_crypto

Bytes are hex after `0x`. Nothing is random: seeds are SHA-256 of a name, and the entropy of the DLEQ proofs is given. A sealed message
is random by nature, so there is one that must open instead of one that must come out; it is kept from the existing file.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import msgspec

from hce.foundation.codec.cid import cid_of_dag_cbor, cid_of_raw
from hce.foundation.codec.dagcbor import encode
from hce.foundation.crypto.aead import aead_seal, pad, padded_length
from hce.foundation.crypto.derive import derive_seed, hkdf
from hce.foundation.crypto.hashing import commitment, digest
from hce.foundation.crypto.ristretto import base_times, hash_to_point, hash_to_scalar
from hce.foundation.crypto.seal import OpeningKey, seal
from hce.foundation.crypto.secp import EthSigningKey
from hce.foundation.crypto.sign import SigningKey, signing_bytes
from hce.foundation.crypto.threshold import (
    SECOND_GENERATOR,
    Capsule,
    DealtKey,
    combine,
    combine_weighed,
    deal,
    encapsulate,
    partial,
    weighed,
)
from hce.foundation.crypto.words import seed_from_words, words_from_entropy

FILE = Path(__file__).with_name("crypto.json")
CHAIN = bytes(range(16))
PLAINTEXT, INFO, AAD = b"thirty-two bytes of a session key", b"info", b"aad"
PADDED_LENGTHS = (0, 1, 255, 256, 1000, 65_535, 1_048_575, 1_048_576)
ENCODED: list[Any] = [
    None,
    [0, 23, 24, 255, 256, 65_535, 65_536, 2**32, 2**53 - 1, -1, -25, -(2**53) + 1],
    {"b": True, "aa": False, "a": None},
    ["text", "文", b"bytes"],
    cid_of_raw(b"a link"),
    [b"\x01\x71\x12\x20" + bytes(33), b"\x01\x71\x00\x00", b"\x12\x20" + bytes(32), b"\x01\x70\x12\x20" + bytes(32)],
]
"""The last list holds byte strings that look like CIDs and are none of ours: plain bytes."""
WEIGHED_AMONG = [[1, 2, 3], [0, 1, 3], [2, 1], []]
"""Members that are told of each other: those that are combined, three with another, too few of them in another order, nobody."""


def vectors() -> dict[str, Any]:
    """The whole file."""
    return {
        "about": "docs/formats.md, sections Encoding, Hashes and signatures, Cryptography",
        "dag_cbor": [{"value": _shown(value), "encoded": _hex(encode(value))} for value in ENCODED],
        "cid": {"of": _hex(b"x"), "dag_cbor": _hex(cid_of_dag_cbor(b"x")), "raw": _hex(cid_of_raw(b"x"))},
        "hashing": _hashing(),
        "signing": _signing(),
        "derive": _derive(),
        "words": [_words(entropy, language) for entropy in (bytes(16), seed("entropy")) for language in ("en", "zh-CN")],
        "aead": _aead(),
        "seal": _seal(),
        "ristretto255": _ristretto(),
        "tdh2": _tdh2(),
        "ethereum": _ethereum(),
    }


def seed(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()


def _hashing() -> dict[str, Any]:
    body, salt = ["body", 1], seed("salt")
    return {
        "digest": {
            "domain": "hce/test/1",
            "parts": _shown([1, b"two", "three"]),
            "is": _hex(digest("hce/test/1", 1, b"two", "three")),
        },
        "commitment": {"domain": "hce/test/1", "body": body, "salt": _hex(salt), "is": _hex(commitment("hce/test/1", body, salt))},
    }


def _signing() -> dict[str, Any]:
    key, message = SigningKey(seed("signing")), signing_bytes("vote", CHAIN, 1, None)
    return {
        "seed": _hex(seed("signing")),
        "public": _hex(key.public),
        "what": "vote",
        "chain": _hex(CHAIN),
        "fields": [1, None],
        "signing_bytes": _hex(message),
        "signature": _hex(key.sign(message)),
    }


def _derive() -> dict[str, Any]:
    root = seed_from_words(words_from_entropy(bytes(16), "en"))
    return {
        "root": _hex(root.reveal()),
        "derive_seed": [
            {"use": use, "path": _shown(path), "seed": _hex(derive_seed(root, use, *path).reveal())}
            for use, path in (("compartment/owner", [0]), ("compartment/reading", [0, 7]), ("compartment/revoke", [1, b"nonce"]))
        ],
        "hkdf": {"secret": _hex(b"secret"), "info": _hex(b"info"), "length": 48, "is": _hex(hkdf(b"secret", b"info", 48))},
    }


def _words(entropy: bytes, language: Any) -> dict[str, Any]:
    words = words_from_entropy(entropy, language)
    return {"entropy": _hex(entropy), "language": language, "words": words, "seed": _hex(seed_from_words(words).reveal())}


def _aead() -> dict[str, Any]:
    key = seed("key used once")
    return {
        "key": _hex(key),
        "aad": _hex(AAD),
        "plaintext": _hex(PLAINTEXT),
        "sealed": _hex(aead_seal(key, PLAINTEXT, AAD)),
        "sealed_padded_sha256": _hex(hashlib.sha256(aead_seal(key, pad(PLAINTEXT), AAD)).digest()),
        "padded_lengths": [[length, padded_length(length)] for length in PADDED_LENGTHS],
    }


def _seal() -> dict[str, Any]:
    key = OpeningKey.from_seed(seed("opening"))
    return {
        "seed": _hex(seed("opening")),
        "public": _hex(key.public),
        "info": _hex(INFO),
        "aad": _hex(AAD),
        "plaintext": _hex(PLAINTEXT),
        "sealed": _kept_sealed() or _hex(seal(key.public, INFO, PLAINTEXT, AAD)),
    }


def _kept_sealed() -> str | None:
    return json.loads(FILE.read_text())["seal"]["sealed"] if FILE.exists() else None


def _ristretto() -> dict[str, Any]:
    scalar = hash_to_scalar("hce/test/1", b"part")
    return {
        "domain": "hce/test/1",
        "parts": _shown([b"part"]),
        "hash_to_scalar": _hex(scalar),
        "times_generator": _hex(base_times(scalar)),
        "hash_to_point": _hex(hash_to_point("hce/test/1", b"part")),
        "second_generator": _hex(SECOND_GENERATOR),
    }


def _tdh2() -> dict[str, Any]:
    dealt = deal(4, 3, seed("deal"))
    label, transcript, entropy = b"label", b"transcript", seed("entropy of proofs")
    capsule, shared = encapsulate(dealt.public_key, label, seed("capsule"))
    parts = [partial(share, capsule, transcript, entropy) for share in dealt.shares]
    return {
        "deal_seed": _hex(seed("deal")),
        "members": 4,
        "threshold": dealt.threshold,
        "key_id": _hex(dealt.key_id),
        "public_key": _hex(dealt.public_key),
        "member_keys": [_hex(key) for key in dealt.member_keys],
        "shares": [_hex(share.secret.reveal()) for share in dealt.shares],
        "label": _hex(label),
        "capsule_seed": _hex(seed("capsule")),
        "capsule": _shown(msgspec.to_builtins(capsule, builtin_types=(bytes,))),
        "ss_b": _hex(shared),
        "transcript": _hex(transcript),
        "proof_entropy": _hex(entropy),
        "partials": [_shown(msgspec.to_builtins(part, builtin_types=(bytes,))) for part in parts],
        "combined_from_1_2_3": _hex(combine(capsule, parts[1:], 3)),
        "weighed": [_weighed(dealt, capsule, together) for together in WEIGHED_AMONG],
    }


def _weighed(dealt: DealtKey, capsule: Capsule, together: list[int]) -> dict[str, Any]:
    parts = [weighed(share, [capsule], together)[0] for share in dealt.shares]
    combined = combine_weighed(capsule, {index: parts[index] for index in (1, 2, 3)}, dealt.threshold, together)
    return {
        "together": together,
        "parts": [_hex(part) for part in parts],
        "combined_from_1_2_3": _hex(combined),
    }


def _ethereum() -> dict[str, Any]:
    key, msg_hash = EthSigningKey(seed("account")), seed("message hash")
    r, s, y_parity = key.sign(msg_hash)
    return {
        "secret": _hex(seed("account")),
        "address": _hex(key.address),
        "hash": _hex(msg_hash),
        "r": _hex(r.to_bytes(32, "big")),
        "s": _hex(s.to_bytes(32, "big")),
        "y_parity": y_parity,
    }


def _shown(value: Any) -> Any:
    """Bytes as hex after 0x, wherever they stand."""
    if isinstance(value, bytes):
        return _hex(value)
    if isinstance(value, list):
        return [_shown(item) for item in value]
    return value


def _hex(raw: bytes) -> str:
    return "0x" + raw.hex()


if __name__ == "__main__":
    FILE.write_text(json.dumps(vectors(), indent=1, ensure_ascii=False) + "\n")
