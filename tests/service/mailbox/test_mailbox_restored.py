"""A mailbox whose slot file is lost, as after a restore: its records go, the rest stays, and they are wanted again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hce.service.mailbox.errors import SlotsCorrupt
from hce.service.mailbox.service import forget_sealed


def test_without_its_slots_a_mailbox_opens_again_once_what_they_sealed_is_forgotten(people: Any, tmp_path: Path) -> None:
    path = tmp_path / "mailbox"
    with people.open(path) as box:
        box.deposit(b"\x01" * 32, people.org_id, [people.delivery("a", "b", token=people.token())], b"")
        before = box.items()
    assert (before["records"], before["feed"]) == (2, 1)
    (path / "slots").unlink()
    with pytest.raises(SlotsCorrupt):
        people.open(path)
    assert forget_sealed(path, people.chain, 0, map_size=1 << 20) == 2
    with people.open(path) as box:
        assert (box.items()["records"], box.items()["feed"]) == (0, 1)
        box.replica.expect(1, {people.record_id("a"): bytes(32)})
        assert box.replica.awaited == 1
