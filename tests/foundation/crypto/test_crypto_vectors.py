"""The frozen vectors are what the code gives today. When this fails a format has changed: see `docs/formats.md`."""

from __future__ import annotations

import json
from itertools import permutations
from typing import Any

import pytest
from tests.vectors.hce.make_crypto import FILE, vectors

from hce.foundation.crypto.seal import OpeningKey
from hce.foundation.crypto.secret import SecretBytes
from hce.foundation.crypto.threshold import Capsule, KeyShare, combine_weighed, weighed

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


@pytest.mark.parametrize("case", FROZEN["tdh2"]["weighed"], ids=lambda case: f"among {case['together']}")
def test_the_frozen_weighed_parts_are_the_members_and_open_in_any_order(case: dict[str, Any]) -> None:
    frozen = FROZEN["tdh2"]
    capsule, together, parts = Capsule(*map(raw, frozen["capsule"])), case["together"], [raw(part) for part in case["parts"]]
    shares = [KeyShare(index, SecretBytes(raw(secret))) for index, secret in enumerate(frozen["shares"])]
    assert [weighed(share, [capsule], together) for share in shares] == [[part] for part in parts]
    for members in permutations(range(frozen["members"]), frozen["threshold"]):
        given = {member: parts[member] for member in members}
        assert combine_weighed(capsule, given, frozen["threshold"], together) == raw(frozen["ss_b"])


def test_a_member_that_is_not_told_of_gives_the_bare_value_of_its_part() -> None:
    frozen = FROZEN["tdh2"]
    bare = [value for _, value, _, _ in frozen["partials"]]
    for case in frozen["weighed"]:
        same = [index for index, part in enumerate(case["parts"]) if part == bare[index]]
        assert same == [index for index in range(frozen["members"]) if index not in case["together"]]


def raw(text: str) -> bytes:
    return bytes.fromhex(text[2:])
