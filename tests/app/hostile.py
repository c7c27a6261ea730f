"""Strangers at the HTTP ports of real processes: what they send, and what may come back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import urlsplit

import httpx
from tests.fuzz import rooms
from tests.fuzz.borders import BY_NAME, attacked
from tests.service.running import OneNode, bundle_of

from hce.app.devnet import run
from hce.app.gateway import bearer_token
from hce.app.lifeline import SUPERVISED
from hce.foundation.codec.dagcbor import encode
from hce.service.http import PROBLEM_TYPE

START_S = 60.0
DEEP_JSON = b'{"a":' * 50_000
DEEP_CBOR = b"\x81" * 60_000
IN_PATHS = (
    *("00" * 36, "00" * 32, "00" * 20, "0155122" + "0" * 65, "0", "1", "-1", "1e9", "9" * 400, "\u0661", "00 " * 36, "A" * 9_000),
    *("..%2f..%2fkeys.cbor", "%00", "%ff%fe", "%F0%9F%92%89", "%2e%2e", ";x", "*", "read", "card"),
)
QUERIES = (
    *("", "wait_ms=x", "wait_ms=-1", "wait_ms=99999999999", "wait_ms=1&wait_ms=x", "start=" + "9" * 12, "nonce=" + "0" * 64),
    *("nonce=%00", "author=zz", "author=" + "0" * 64, "patient_id=%00", "=&&&=", "a" * 20_000),
)
JSONS: tuple[Any, ...] = (
    *(None, [], {}, 1, "x", {"reason": 1}, {"reason": "\u202e\x00", "records": ["0" * 64] * 1_001}, {"records": []}),
    *({"reason": "", "records": [None]}, {"reason": "x", "unknown": 1}, {"owner_digest": "g" * 64, "recovery_digest": ""}),
    {"owner_digest": "0" * 64, "recovery_digest": "0" * 64, "more": [[[]]]},
    {"patient": {"resourceType": "Patient", "name": "x"}, "card": "", "token": ""},
    {"patient": {"resourceType": "Patient", "birthDate": "9" * 5_000}, "card": "8" * 3, "token": "80"},
    {"patient": {"resourceType": "Patient", "id": {"a": 10**400}}, "card": "80", "token": "80"},
    {"credential_id": "0" * 64, "purpose": "treatment", "date_from": "2020-02-31", "date_to": "\U0001f600", "mode": "read"},
    {"credential_id": "0" * 64, "purpose": "treatment", "date_from": "9", "date_to": ["x"], "mode": "write"},
)
HEADERS: tuple[dict[str, Any], ...] = (
    {},
    {"content-type": "text/html"},
    {"content-type": "multipart/form-data; boundary=" + "x" * 2_000},
    {"content-encoding": "gzip"},
    {"accept": "image/png", "range": "bytes=0-1", "if-none-match": "*"},
    {"x-http-method-override": "DELETE", "x-forwarded-for": "a, b", "host": "../.."},
    {"cookie": b"a" * 8_000, "authorization": b"Bearer \xe9"},
    {"expect": "100-continue"},
)
METHODS = ("GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "BREW")


def bodies(rng: Random) -> Iterator[bytes]:
    """Of every kind that some route reads, good and spoiled."""
    yield from (b"", b"\x00", b"\xff" * 3_000, DEEP_JSON, DEEP_CBOR, b"[" * 5_000, b'{"reason": 1e999999}', b"\x9b" + b"\xff" * 8)
    yield b'{"card":"","token":"","patient":' + DEEP_JSON
    yield b'{"resourceType":"Bundle","type":"transaction","entry":[{"resource":' + DEEP_JSON
    yield b'{"resourceType":"Bundle","type":"transaction","entry":[{"resource":{"resourceType":"Patient","id":"a","x":' + DEEP_JSON
    yield from (json.dumps(one).encode() for one in JSONS)
    names = ("intake batch", "mailbox read", "mailbox act", "mailbox post", "mailbox card", "release request", "pool", "hcefs cids")
    for name in names:
        yield BY_NAME[name].seed(rng)
        yield attacked(BY_NAME[name], rng)
    yield encode([rooms.any_tx(rng), b"", b"\x82" * 9, rng.randbytes(300)] * 20)
    yield encode([rng.randbytes(size) for size in (0, 1, 128, 129)])
    yield bundle_of("anna", ["x"])
    yield b"\x9a\x00\xff\xff\xf0" + b"\x80" * 0xFFFFF0


class Process:
    """One process under attack: where it listens, what it is called with, what it keeps in memory and says in its log."""

    def __init__(self, url: str, pid: int, log: Path, headers: dict[str, str]) -> None:
        self.url, self.pid, self.log, self.headers = url, pid, log, headers

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", urlsplit(self.url).port or 0

    def rss_anon_bytes(self) -> int:
        lines = Path(f"/proc/{self.pid}/status").read_text("ascii").splitlines()
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith("RssAnon:"))

    def is_alive(self) -> bool:
        return Path(f"/proc/{self.pid}/stat").read_text("ascii").split()[2] not in "ZX"

    def said_wrong(self) -> list[str]:
        """Lines of the log that no stranger should be able to cause."""
        return [line for line in self.log.read_text("utf-8", "replace").splitlines() if "Traceback" in line or "ERROR" in line]


def start_gateway(node: OneNode, name: str, stack: ExitStack) -> Process:
    """A gateway's process over the network of one node."""
    plan = next(one for one in run.plans(node.home)[1] if one.name == f"gateway-{name}")
    log = node.home.root / "gateway.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "hce.app.cli", *plan.arguments],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            env=os.environ | {SUPERVISED: "1"},
        )
    stack.callback(process.communicate)
    stack.callback(process.kill)
    deadline = time.monotonic() + START_S
    with httpx.Client(trust_env=False) as http:
        while not _serves(http, plan.url):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
    token = bearer_token(node.home.gateway(name))
    return Process(plan.url, process.pid, log, {"authorization": f"Bearer {token}"})


def _serves(http: httpx.Client, url: str) -> bool:
    try:
        return http.get(url + "/v1/status").status_code == 200
    except httpx.HTTPError:
        return False


def fault_in(answer: httpx.Response) -> str | None:
    """What is wrong with an answer to a hostile request."""
    if answer.status_code >= 500 and answer.status_code != 503:
        return f"status {answer.status_code}: {answer.text[:200]}"
    if answer.status_code < 400 or answer.request.method == "HEAD":
        return None
    if answer.headers.get("content-type") != PROBLEM_TYPE or "Traceback" in answer.text:
        return f"no problem document: {answer.status_code} {answer.text[:200]}"
    return None if answer.json().get("code") else "a problem without code"
