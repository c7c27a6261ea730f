"""Prints the state machine as one table: `python -m hce.network.consensus.table`. The rows are the functions that run."""

from __future__ import annotations

from hce.network.consensus.machine import HANDLERS, TIMEOUTS
from hce.network.consensus.rules import RULES, Transition

COLUMNS = ("function", "while in step", "upon", "then -> step", "lines")


def rows() -> list[Transition]:
    """Inputs first, then the rules in the order in which they are tried."""
    return [*HANDLERS.values(), *TIMEOUTS.values(), *RULES]


def table() -> str:
    """The table as Markdown."""
    lines = [COLUMNS, ("---",) * len(COLUMNS)]
    lines += [(f"`{row.name}`", row.enter, row.upon, row.then, row.lines) for row in rows()]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


if __name__ == "__main__":
    print(table())
