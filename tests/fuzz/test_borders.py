"""Whatever comes in from outside is taken or refused by name, in its one spelling, in little time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.fuzz.borders import BORDERS, BY_NAME, Border, attacked, opened, takes
from tests.fuzz.found import FOUND
from tests.fuzz.rooms import sparse_backup

from hce.app.archive import BackupDamaged, unpack

EXAMPLES = 40
MOST_S = 5.0
"""Processor time of one input of a few hundred bytes: a thousand times what any takes."""
NAMES = [border.name for border in BORDERS]

Meet = Callable[[bytes], bool]


@pytest.fixture(params=NAMES)
def border(request: pytest.FixtureRequest) -> Border:
    return BY_NAME[request.param]


@pytest.fixture
def meet(border: Border, tmp_path: Path) -> Iterator[Meet]:
    """Whether the border takes these bytes. Fails for what no border may do."""
    with opened(border, tmp_path) as read:

        def met(raw: bytes) -> bool:
            began_s = time.process_time()
            try:
                return takes(border, read, raw)
            except Exception as surprise:
                surprise.add_note(f"found: {raw.hex()}")
                raise
            finally:
                assert time.process_time() - began_s < MOST_S

        yield met


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(chance=st.integers(0, 2**32), junk=st.binary(max_size=200))
def test_what_comes_in_is_taken_or_refused_by_name(border: Border, meet: Meet, chance: int, junk: bytes) -> None:
    rng = Random(chance)
    assert meet(border.seed(rng)) or not border.valid
    for raw in (attacked(border, rng), attacked(border, rng), junk, border.seed(rng) + junk):
        meet(raw)


def test_what_was_found_once_stays_refused(border: Border, meet: Meet) -> None:
    for found in FOUND.get(border.name, []):
        meet(bytes.fromhex(found))


def test_a_backup_that_is_mostly_a_hole_is_refused_before_it_fills_the_disk(tmp_path: Path) -> None:
    """500 bytes of tar became a gigabyte of zeros."""
    path = tmp_path / "backup.tar"
    path.write_bytes(sparse_backup(1 << 30))
    with pytest.raises(BackupDamaged):
        unpack(path, tmp_path / "into")
    assert not list((tmp_path / "into").rglob("*"))
