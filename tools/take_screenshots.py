#!/usr/bin/env python3
"""Takes the pictures of README anew: plays the tour in the browser in both languages and keeps the chosen steps in docs/screenshots."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "screenshots"
CHOSEN = {"en": ("sentence", "log", "read"), "zh-CN": ("received", "sentence", "read")}
"""Language -> steps."""
MAX_BYTES = 150_000
"""What a page that shows six of them can ask of a reader's line."""


def main() -> int:
    FOLDER.mkdir(exist_ok=True)
    for language, steps in CHOSEN.items():
        with tempfile.TemporaryDirectory(prefix="hce-") as folder:
            options = ["--browser", "--ephemeral", "--lang", language, "--screenshots", folder]
            subprocess.run([sys.executable, "-m", "hce.app.cli", "tour", *options], check=True)
            for step in steps:
                [taken] = Path(folder).glob(f"*-{step}.png")
                shutil.copy(taken, FOLDER / f"{language}-{step}.png")
    heavy = [path.name for path in FOLDER.glob("*.png") if path.stat().st_size > MAX_BYTES]
    if heavy:
        print(f"Heavier than {MAX_BYTES} bytes: {', '.join(heavy)}", file=sys.stderr)
    return 1 if heavy else 0


if __name__ == "__main__":
    sys.exit(main())
