"""`hce`: every command in one list, errors in plain words with the code behind."""

from __future__ import annotations

import os
import sys

import typer

from hce.app import logs
from hce.app.cli.backup import backup, restore
from hce.app.cli.bench import bench
from hce.app.cli.doctor import doctor
from hce.app.cli.gateway import gateway
from hce.app.cli.import_ import import_
from hce.app.cli.node import node
from hce.app.cli.status import status
from hce.app.cli.tour import tour
from hce.app.cli.up import up
from hce.app.words import explain, say
from hce.foundation.types.errors import HceError

app = typer.Typer(
    name="hce",
    help="HCE, the Health Care Ecosystem. 医疗健康生态平台",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("up")(up)
app.command("tour")(tour)
app.command("import")(import_)
app.command("status")(status)
app.command("doctor")(doctor)
app.add_typer(node, name="node")
app.add_typer(backup, name="backup")
app.add_typer(restore, name="restore")
app.add_typer(bench, name="bench")
app.command("gateway")(gateway)


def main() -> None:
    """Entry point. A named error ends with exit code 1 and two lines; anything else is a bug and shows its traceback."""
    logs.set_up(os.environ)
    try:
        app()
    except HceError as error:
        shown = ", ".join(f"{name}: {value}" for name, value in error.fields.items())
        print(explain(error), file=sys.stderr)
        if error.detail or shown:
            print(say("cli.detail", detail=" ".join(part for part in (error.detail, shown) if part)), file=sys.stderr)
        sys.exit(1)
    except OSError as error:  # a folder that cannot be read or written: the system says which and why
        print(say("cli.system", reason=error.strerror or str(error), path=error.filename or "-"), file=sys.stderr)
        sys.exit(1)
