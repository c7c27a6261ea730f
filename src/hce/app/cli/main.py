"""`hce`: every command in one list, errors in plain words with the code behind."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from importlib import import_module

import typer

from hce.app import logs
from hce.app.words import explain, say
from hce.foundation.types.errors import HceError

COMMANDS = {
    "up": "up",
    "tour": "tour",
    "import": "import_",
    "card": "card",
    "status": "status",
    "doctor": "doctor",
    "node": "node",
    "backup": "backup",
    "restore": "backup",
    "bench": "bench",
    "gateway": "gateway",
    "portal": "portal",
    "verify-portal": "verify_portal",
}
"""Command -> its module in this package."""


def app_of(names: Iterable[str]) -> typer.Typer:
    """The command line with these commands. Only their modules are loaded: a node that starts again should not wait for the others."""
    app = typer.Typer(
        name="hce",
        help="HCE, the Health Care Ecosystem. 医疗健康生态平台",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    app.callback()(_many)
    for name in names:
        module = import_module(f"hce.app.cli.{COMMANDS[name]}")
        command = getattr(module, name if hasattr(module, name) else COMMANDS[name])
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command(name)(command)
    return app


def _many() -> None:
    """One command of many, also when only one is loaded."""


def main() -> None:
    """Entry point. A named error ends with exit code 1 and two lines; anything else is a bug and shows its traceback."""
    logs.set_up(os.environ)
    try:
        named = sys.argv[1] if len(sys.argv) > 1 else ""
        app_of([named] if named in COMMANDS else COMMANDS)()
    except HceError as error:
        shown = ", ".join(f"{name}: {value}" for name, value in error.fields.items())
        print(explain(error), file=sys.stderr)
        if error.detail or shown:
            print(say("cli.detail", detail=" ".join(part for part in (error.detail, shown) if part)), file=sys.stderr)
        sys.exit(1)
    except OSError as error:  # a folder that cannot be read or written: the system says which and why
        print(say("cli.system", reason=error.strerror or str(error), path=error.filename or "-"), file=sys.stderr)
        sys.exit(1)
