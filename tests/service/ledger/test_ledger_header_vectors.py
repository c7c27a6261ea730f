"""The frozen headers: what a block costs and leaves is the same under the same rules version, on every machine and in every release."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.vectors.hce.make_headers import FILE, vectors

from hce.foundation.types.blocks import RULES_VERSION
from hce.service.contracts.health import steps
from hce.service.terms.transactions import ROLES

FROZEN: dict[str, Any] = json.loads(FILE.read_text())
AGAIN = "these rules give other headers: they need another rules version, and `make vectors` for it"


def test_the_same_rules_version_gives_the_frozen_headers() -> None:
    assert vectors() == FROZEN, AGAIN
    assert FROZEN["rules_version"] == RULES_VERSION


def test_every_kind_of_transaction_is_in_a_frozen_block_and_succeeds() -> None:
    receipts = [one for block in FROZEN["blocks"] for one in block["receipts"]]
    assert all(one["ok"] for one in receipts)
    assert len(receipts) >= len(ROLES)


@pytest.mark.parametrize(
    "weight", ["STEPS_OF_SIGNATURE", "STEPS_OF_RECEIPT", "STEPS_OF_ENTRY", "STEPS_OF_KIB", *steps.STEPS_OF_KIND]
)
def test_a_change_of_any_weight_changes_a_header(weight: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if weight in steps.STEPS_OF_KIND:
        monkeypatch.setitem(steps.STEPS_OF_KIND, weight, steps.STEPS_OF_KIND[weight] + 1)
    else:
        monkeypatch.setattr(steps, weight, getattr(steps, weight) + 1)
    headers = [block["header"] for block in vectors()["blocks"]]
    assert headers != [block["header"] for block in FROZEN["blocks"]]
