"""Options several commands share."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from hce.app.devnet.home import DEFAULT_FOLDER

DEFAULT_HOME = Path(DEFAULT_FOLDER)
DEFAULT_PORT_BASE = 7100
DEFAULT_NODES = 9
"""Super nodes of the white paper's network (6.4)."""

HomeOption = Annotated[Path, typer.Option("--home", help="folder of the network")]
JsonOption = Annotated[bool, typer.Option("--json", help="one JSON object instead of words")]


def make_console(stderr: bool = False) -> Console:
    """Where words go. Names of people and files are shown as they are: what looks like markup in them is only text.

    A terminal that cannot show a character gets a question mark instead of an error.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    return Console(stderr=stderr, markup=False, highlight=False)
