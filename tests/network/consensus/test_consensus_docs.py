"""docs/consensus.md says what the code does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from hce.network.consensus.events import Input, TimeoutFired, TimeoutKind
from hce.network.consensus.machine import HANDLERS, TIMEOUTS
from hce.network.consensus.table import rows, table
from hce.network.consensus.turns import SLOTS_PER_TURN

PAGE = (Path(__file__).parents[3] / "docs" / "consensus.md").read_text()


def test_the_page_holds_the_printed_table():
    printed = subprocess.run(
        [sys.executable, "-m", "hce.network.consensus.table"], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert printed == table()
    assert printed in PAGE


def test_every_input_and_every_timeout_has_its_own_row():
    assert {*HANDLERS, TimeoutFired} == set(Input.__args__)
    assert set(TIMEOUTS) == set(TimeoutKind)
    assert len(rows()) == len({row.name for row in rows()})


def test_the_page_names_the_length_of_a_turn():
    assert f"makes {SLOTS_PER_TURN} consecutive blocks" in PAGE
