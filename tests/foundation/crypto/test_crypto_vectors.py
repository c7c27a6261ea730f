"""The frozen vectors are what the code gives today. When this fails a format has changed: see `docs/formats.md`."""

from __future__ import annotations

import json

import pytest
from tests.vectors.hce.make_crypto import FILE, vectors

from hce.foundation.crypto.seal import OpeningKey

FROZEN = json.loads(FILE.read_text())


@pytest.mark.parametrize("section", FROZEN)
def test_the_code_gives_the_frozen_bytes(section: str) -> None:
    assert vectors()[section] == FROZEN[section]


def test_no_section_is_left_unfrozen() -> None:
    assert list(vectors()) == list(FROZEN)


def test_the_frozen_sealed_message_opens() -> None:
    """The one value the script does not make anew, because sealing is random."""
    case = {name: bytes.fromhex(text[2:]) for name, text in FROZEN["seal"].items()}
    assert OpeningKey.from_seed(case["seed"]).open(case["info"], case["sealed"], case["aad"]) == case["plaintext"]
