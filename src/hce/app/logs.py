"""What a process writes down: one line an event, as text for people or, with HCE_LOG=json, as JSON for machines.

    {"time": "2026-01-02T03:04:05.678Z", "level": "info", "logger": "hce.link", "process": "node-0",
     "event": "node %d: link up", "fields": [3]}

`event` is the same for all lines of its kind, so machines count by it; `fields` fill its places in order. A line that says the same for
the hundredth time in a moment helps nobody and fills the disk, so each event has a budget, and what was left out is counted.

A process under a supervisor owns its log file: it begins a new one before it grows too large, keeps a few old ones, and moves its
standard output along, so that a last traceback lies in the newest file too.

No secret reaches a log: keys have types that do not print (`foundation/crypto/secret.py`), errors hold no contents, and paths of
requests are written as routes. What came from outside cannot begin a line of its own.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Callable, Mapping
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

from hce.foundation.types.errors import HceError

FORMAT_VARIABLE = "HCE_LOG"
"""Environment variable: "json", or anything else for text."""
FILE_VARIABLE = "HCE_LOG_FILE"
"""Set by a supervisor: the file its child's standard output goes to, which the child may replace."""
MAX_FILE_BYTES = 20 << 20
KEPT_FILES = 3
"""Old files beside the present one."""
MAX_FIELD_CHARS = 2_000
LINES_IN_WINDOW = 20
"""Lines of one event in one window; more are counted only."""
WINDOW_S = 10.0
MAX_EVENTS = 1_000
"""Different events whose lines are counted at one time; a program that makes up more is cut short."""


def set_up(environment: Mapping[str, str]) -> None:
    """Directs everything this process logs. Called once, at its start."""
    path = environment.get(FILE_VARIABLE)
    handler: logging.Handler = logging.StreamHandler(sys.stderr) if path is None else OwnFile(Path(path))
    process = "hce" if path is None else Path(path).stem
    handler.setFormatter(JsonLines(process) if environment.get(FORMAT_VARIABLE) == "json" else TextLines())
    handler.addFilter(Budget(time.monotonic))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("httpx").setLevel(logging.WARNING)


class OwnFile(RotatingFileHandler):
    """The log file of this process. Standard output and error follow it into each new file."""

    def __init__(
        self, path: Path, max_bytes: int = MAX_FILE_BYTES, kept: int = KEPT_FILES, follow: tuple[int, ...] = (1, 2)
    ) -> None:
        super().__init__(path, maxBytes=max_bytes, backupCount=kept, encoding="utf-8")
        self._follow = follow

    def doRollover(self) -> None:
        super().doRollover()
        stream = self.stream or self._open()
        self.stream = stream
        for descriptor in self._follow:
            os.dup2(stream.fileno(), descriptor)


class Budget(logging.Filter):
    """Lets so many lines of an event pass in a window; the first one of the next window says how many did not."""

    def __init__(self, monotonic_s: Callable[[], float], lines: int = LINES_IN_WINDOW, window_s: float = WINDOW_S) -> None:
        super().__init__()
        self._monotonic_s = monotonic_s
        self._lines = lines
        self._window_s = window_s
        self._seen: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        event, now_s = (record.name, str(record.msg)), self._monotonic_s()
        if len(self._seen) >= MAX_EVENTS and event not in self._seen:
            self._seen.clear()
        began_s, count = self._seen.get(event, (now_s, 0))
        if now_s - began_s >= self._window_s:
            record.left_out = max(0, count - self._lines)
            began_s, count = now_s, 0
        self._seen[event] = (began_s, count + 1)
        return count < self._lines


class TextLines(logging.Formatter):
    """For people."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        more = f" (and {left} more like it)" if (left := _left_out(record)) else ""
        return printable(super().formatMessage(record)) + more


class JsonLines(logging.Formatter):
    """For machines."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        seconds, milliseconds = divmod(int(record.created * 1_000), 1_000)
        line: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{milliseconds:03}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": self._process,
            "event": printable(str(record.msg)),
            "fields": [_field(value) for value in record.args] if isinstance(record.args, tuple) else [],
        }
        if left := _left_out(record):
            line["left_out"] = left
        if record.exc_info and record.exc_info[0] is not None:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def printable(text: str) -> str:
    """One line of bounded length: what would break or repaint it is spelled out."""
    shown = "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)
    return shown if len(shown) <= MAX_FIELD_CHARS else shown[:MAX_FIELD_CHARS] + "..."


def _field(value: object) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, HceError):
        return {"code": value.code, "detail": printable(value.detail)}
    return printable(str(value))


def _left_out(record: logging.LogRecord) -> int:
    return getattr(record, "left_out", 0)
