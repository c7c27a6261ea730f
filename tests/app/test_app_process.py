"""What a process may use is settled when it starts."""

from __future__ import annotations

import resource
import subprocess
import sys

PROGRAM = """
import resource
from hce.app.process import run_process

async def work() -> None:
    print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])

run_process(work())
"""


def test_a_shell_with_few_files_does_not_let_strangers_take_them_all() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    said = subprocess.run(
        ["/bin/bash", "-c", 'ulimit -Sn 256; exec "$0" -c "$1"', sys.executable, PROGRAM],
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(said.stdout) == (16_384 if hard == resource.RLIM_INFINITY else min(hard, 16_384))
