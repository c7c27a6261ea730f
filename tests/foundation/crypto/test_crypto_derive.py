"""HKDF against RFC 5869 and Wycheproof; seeds that never meet."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import pytest

from hce.foundation.crypto.derive import derive_seed, hkdf
from hce.foundation.crypto.secret import SecretBytes

ROOT = SecretBytes(bytes(range(64)))


def test_rfc_5869(vectors: Callable[[str], Any]) -> None:
    for case in vectors("rfc5869/hkdf_sha256.json"):
        ikm, salt, info = (bytes.fromhex(case[name]) for name in ("ikm", "salt", "info"))
        assert hkdf(ikm, info, 42, salt).hex() == hkdf(SecretBytes(ikm), info, 42, salt).hex() == case["okm"]


def test_wycheproof_agrees(suite: Callable[[str], Any]) -> None:
    for group in suite("wycheproof/hkdf_sha256_test.json")["testGroups"]:
        for case in group["tests"]:
            ikm, salt, info = (bytes.fromhex(case[name]) for name in ("ikm", "salt", "info"))
            if case["result"] == "valid":
                assert hkdf(ikm, info, case["size"], salt).hex() == case["okm"], case["tcId"]
            else:
                with pytest.raises(ValueError, match="Cannot derive"):
                    hkdf(ikm, info, case["size"], salt)


def test_every_use_and_path_has_its_own_seed() -> None:
    seeds = [
        derive_seed(root, use, *path).reveal()
        for root in (ROOT, SecretBytes(bytes(64)))
        for use in ("owner", "reading")
        for path in ((), (0,), (1,), (0, 0), (b"",), (b"\x00",))
    ]
    assert len(set(seeds)) == len(seeds) == 24
    assert {len(seed) for seed in seeds} == {32}


def test_secrets_compare_but_neither_print_nor_pickle_nor_hash() -> None:
    seed = derive_seed(ROOT, "owner", 1)
    assert seed == derive_seed(ROOT, "owner", 1)
    assert seed != derive_seed(ROOT, "owner", 2)
    assert repr(seed) == f"{seed}" == "SecretBytes(32 bytes)"
    with pytest.raises(TypeError):
        pickle.dumps(seed)
    with pytest.raises(TypeError):
        hash(seed)
