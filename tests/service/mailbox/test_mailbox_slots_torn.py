"""Slots of records' keys after a power cut: keys that records refer to are there, whatever lies behind them is wiped."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from hce.service.mailbox.errors import SlotsCorrupt
from hce.service.mailbox.slots import HEADER, SLOT_BYTES, SlotFile

USED = {0: b"\x01" * SLOT_BYTES, 1: b"\x02" * SLOT_BYTES, 2: b"\x03" * SLOT_BYTES}


def written(path: Path) -> bytes:
    """Three keys that are referred to, and two that were being written."""
    keys = iter([*USED.values(), b"\x04" * SLOT_BYTES, b"\x05" * SLOT_BYTES])
    slots = SlotFile.open(path, set(), entropy=lambda size: next(keys))
    for _ in range(5):
        slots.take(1)
    slots.close()
    return path.read_bytes()


@pytest.mark.parametrize("left", ["nothing", "zeros", "garbage"])
def test_slots_torn_at_every_byte_keep_the_keys_in_use_or_say_that_they_are_missing(tmp_path: Path, left: str) -> None:
    path = tmp_path / "slots"
    whole = written(path)
    in_use = SLOT_BYTES * (1 + len(USED))
    for at in range(len(whole) + 1):
        tails = {"nothing": b"", "zeros": bytes(200), "garbage": random.Random(at).randbytes(100)}
        path.write_bytes(whole[:at] + tails[left])
        whole_keys = {slot: key for slot, key in USED.items() if SLOT_BYTES * (2 + slot) <= at}
        if not path.read_bytes().startswith(HEADER):
            with pytest.raises(SlotsCorrupt):
                SlotFile.open(path, set(USED))
            continue
        slots = SlotFile.open(path, set(USED))
        assert {slot: slots.key(slot) for slot in whole_keys} == whole_keys
        (taken,) = slots.take(1)
        assert taken[0] not in USED
        slots.close()
        assert not any(path.read_bytes()[in_use:].replace(taken[1], b"")), "what nobody refers to is wiped"
