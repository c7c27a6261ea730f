"""The same blocks, executed fresh, after discarded proposals, and after a kill at any sync: equal bytes under two hash seeds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.service.ledger.crash_run import STORY

ROOT = Path(__file__).parents[3]
SECONDS = 120


def test_no_kill_and_no_hash_seed_changes_a_byte(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.service.ledger.crash_run"]
    runs = [
        subprocess.Popen(
            [*command, str(tmp_path / seed)],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT / "src")},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for seed in ("1", "2")
    ]
    told = []
    for run in runs:
        out, err = run.communicate(timeout=SECONDS)
        assert run.returncode == 0, err
        told.append(json.loads(out))
    assert told[0] == told[1]
    syncs = 1 + len(STORY) + 1  # genesis, each block, one revocation
    assert told[0]["kills"] == 2 * syncs
