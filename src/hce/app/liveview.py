"""What `hce up` shows while it runs: the turn as it goes round, and one line for each node. Pure: statuses in, a picture out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from hce.app.words import say

NARROW = 60
"""Terminals with fewer columns are shown fewer of ours."""
COLUMNS = ("node", "height", "final", "peers", "shards", "waiting")
NARROW_COLUMNS = ("node", "height", "peers")

Status = dict[str, Any]


def view(statuses: Sequence[Status], slots: int, width: int, now_ms: int) -> RenderableType:
    """Statuses by node, an empty one for a node that does not answer; `slots`: blocks of one turn."""
    awake = [status for status in statuses if status]
    if not awake:
        return Text(say("up.silent"))
    newest = max(awake, key=lambda status: int(status["height"]))
    return Group(_headline(newest, slots, now_ms), _table(statuses, newest, NARROW_COLUMNS if width < NARROW else COLUMNS))


def _headline(newest: Status, slots: int, now_ms: int) -> Text:
    """Where the network is, and the blocks of this turn as beads: done, and still to come."""
    done = int(newest["slot"]) + 1
    beads = Text("●" * done, "green") + Text("○" * max(slots - done, 0), "bright_black")
    age_s = max(now_ms - int(newest["time_ms"]), 0) / 1_000
    told = say("up.headline", height=newest["height"], producer=newest["producer"], turn=newest["turn"], age=f"{age_s:.1f}")
    return Text("  ") + beads + Text("  " + told)


def _table(statuses: Sequence[Status], newest: Status, columns: Sequence[str]) -> Table:
    table = Table(box=None, padding=(0, 2), pad_edge=True)
    for column in columns:
        table.add_column(say(f"up.column_{column}"), justify="right")
    for index, status in enumerate(statuses):
        if not status:
            table.add_row(str(index), Text(say("up.silent"), "red"))
        else:
            cells = _cells(status, produces=index == newest["producer"])
            table.add_row(*(cells[column] for column in columns))
    return table


def _cells(status: Status, produces: bool) -> dict[str, Text]:
    shards, finality = status["shards"], status["finality_ms"]
    linked = sum(bool(peer["connected"]) for peer in status["peers"])
    damaged = int(shards["damaged"]) - int(shards["restored"])
    style = "yellow" if status["syncing"] else "bold green" if produces else "default"
    return {
        "node": Text(f"{'▶ ' if produces else ''}{status['node']}", style),
        "height": Text(str(status["height"]), style),
        "final": Text("-" if finality is None else f"{finality / 1_000:.2f} s"),
        "peers": Text(f"{linked}/{int(status['nodes']) - 1}", "default" if linked == status["nodes"] - 1 else "yellow"),
        "shards": Text(say("up.mending", count=damaged), "yellow") if damaged > 0 else Text(say("up.whole"), "green"),
        "waiting": Text(str(status["waiting"])),
    }
