"""Options several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

DEFAULT_HOME = Path("run")
DEFAULT_PORT_BASE = 7100

HomeOption = Annotated[Path, typer.Option("--home", help="folder of the network")]
JsonOption = Annotated[bool, typer.Option("--json", help="one JSON object instead of words")]
