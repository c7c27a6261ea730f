"""What a process logs: one line an event, bounded, nothing secret in it."""

from __future__ import annotations

import json
import logging
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from tests.service.running import OneNode

from hce.app.logs import KEPT_FILES, LINES_IN_WINDOW, WINDOW_S, Budget, JsonLines, OwnFile, TextLines, printable
from hce.foundation.types.errors import NotFound, Unavailable

FLOOD = 300
CANARY = "canary-3f1c9d"


def record(text: str, *args: object) -> logging.LogRecord:
    return logging.LogRecord("hce.test", logging.WARNING, "file", 1, text, args, None)


def test_a_line_for_machines_has_the_event_and_what_fills_it() -> None:
    line = json.loads(JsonLines("node-3").format(record("node %d: %s", 7, NotFound("card", address="ab"))))
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "warning",
        "logger": "hce.test",
        "process": "node-3",
        "event": "node %d: %s",
        "fields": [7, {"code": "not_found", "detail": "card"}],
    }


def test_an_error_is_one_line_too() -> None:
    try:
        raise Unavailable("first\nsecond")
    except Unavailable:
        failed = record("failed")
        failed.exc_info = sys.exc_info()
    assert "\n" not in JsonLines("node-0").format(failed)


@pytest.mark.parametrize("hostile", ["a\n2026-01-01 INFO hce.node all is well", "\x1b[2J", "x" * 10_000])
def test_what_comes_from_outside_cannot_begin_a_line_or_repaint_a_screen(hostile: str) -> None:
    for formatter in (TextLines(), JsonLines("node-0")):
        line = formatter.format(record("told: %s", hostile))
        assert "\n" not in line
        assert "\x1b" not in line
        assert len(line) < 3_000
    assert printable("河畔 ok") == "河畔 ok"


def test_a_flood_of_one_event_is_cut_and_counted_and_others_pass() -> None:
    now_s = 0.0
    budget = Budget(lambda: now_s)
    assert sum(budget.filter(record("Invalid HTTP request received.")) for _ in range(FLOOD)) == LINES_IN_WINDOW
    assert budget.filter(record("something else"))
    now_s = WINDOW_S
    first = record("Invalid HTTP request received.")
    assert budget.filter(first)
    assert f"and {FLOOD - LINES_IN_WINDOW} more" in TextLines().format(first)


def test_a_log_begins_anew_before_it_is_too_large_and_output_follows_it(tmp_path: Path) -> None:
    path = tmp_path / "node-0.log"
    output = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    handler = OwnFile(path, max_bytes=1_000, follow=(output,))
    for number in range(200):
        handler.handle(record("line %d of some length, so that files fill", number))
    os.write(output, b"last words\n")
    handler.close()
    os.close(output)
    files = sorted(file.name for file in tmp_path.iterdir())
    assert files == ["node-0.log", *(f"node-0.log.{number}" for number in range(1, KEPT_FILES + 1))]
    assert all(file.stat().st_size <= 1_100 for file in tmp_path.iterdir())
    assert path.read_text().endswith("last words\n")


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OneNode]:
    monkeypatch.setenv("HCE_LOG", "json")
    with ExitStack() as stack:
        yield OneNode(tmp_path / "home", stack)


def test_a_running_node_logs_no_canary_no_key_and_no_flood(node: OneNode) -> None:
    seen = {"authorization": f"Bearer {CANARY}", "cookie": CANARY, "user-agent": CANARY}
    with httpx.Client(trust_env=False, headers=seen) as http:
        for path in ("/v1/release", "/v1/intake", "/v1/mailbox/post", "/v1/health-tx", f"/v1/mailbox/{CANARY}"):
            http.post(f"{node.url}{path}?reason={CANARY}", content=CANARY.encode() * 10)
        for path in (f"/v1/cards/{CANARY.encode().hex()}", f"/v1/blobs/{CANARY}", f"/{CANARY}"):
            http.get(node.url + path)
    for _ in range(FLOOD):
        with socket.create_connection(("127.0.0.1", urlsplit(node.url).port or 0)) as raw:
            raw.sendall(f"{CANARY}\r\n\r\n".encode())
            raw.recv(1_000)
    node.kill()
    log = (node.home.root / "node.log").read_text("utf-8")
    lines = [json.loads(line) for line in log.splitlines()]
    floods = [line for line in lines if line["event"].startswith("Invalid HTTP request")]
    assert 0 < len(floods) <= 2 * LINES_IN_WINDOW
    keys = node.home.node_keys(0)
    secrets = [keys.consensus.hex(), keys.link.hex(), keys.service.hex(), keys.operator.hex(), repr(keys.consensus)[2:-1]]
    assert [one for one in (CANARY, CANARY.encode().hex(), *secrets) if one in log] == []
