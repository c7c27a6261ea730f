"""Every HTTP route of a real node and a real gateway against strangers: a named refusal, no trace, bounded memory, and it goes on."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from random import Random
from typing import Any
from unittest.mock import MagicMock

import httpx
import pytest
from tests.app.hostile import HEADERS, IN_PATHS, METHODS, QUERIES, Process, bodies, fault_in, start_gateway
from tests.service.running import OneNode, certified

from hce.foundation.crypto.secret import SecretBytes
from hce.service.api.app import routes
from hce.service.gateway.http import make_app

GROWTH_BYTES = 160 << 20
"""Most that RssAnon may grow by what one stranger does at a time: one bomb of 16 MiB in its copies, and what the allocator keeps."""
FLOOD_BYTES = 320 << 20
"""The same when hundreds do it at once: the budget of bodies (160 MiB), of unread answers (128 MiB), and the above."""


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OneNode]:
    with ExitStack() as stack:
        made = OneNode(tmp_path_factory.mktemp("hostile") / "home", stack)
        asyncio.run(certified(made))
        yield made


@pytest.fixture(scope="module")
def gateway(node: OneNode) -> Iterator[Process]:
    with ExitStack() as stack:
        yield start_gateway(node, "riverside", stack)


@pytest.fixture(params=["node", "gateway"])
def under_attack(request: pytest.FixtureRequest, node: OneNode) -> Iterator[Process]:
    """Afterwards it lives, answers, has said nothing wrong, and holds little more than before."""
    if request.param == "gateway":
        one = request.getfixturevalue("gateway")
    else:
        assert node._process is not None
        one = Process(node.url, node._process.pid, node.home.root / "node.log", {})
    before = one.rss_anon_bytes()
    yield one
    assert one.is_alive()
    with httpx.Client(trust_env=False, timeout=60) as http:
        assert http.get(one.url + "/v1/status").status_code == 200
    assert one.said_wrong() == []
    assert one.rss_anon_bytes() - before < GROWTH_BYTES


def paths_of(one: Process) -> list[tuple[str, str]]:
    """(method, path) of everything it serves, and some it does not. No handler is called here."""
    if one.headers:
        app = make_app(MagicMock(), SecretBytes(b"x"), dict)
        served = [(method, route.path) for route in app.routes for method in route.methods - {"HEAD"}]  # type: ignore[attr-defined]
    else:
        served = [(method, path) for method, path, _ in routes(MagicMock())]
    return [*served, ("GET", "/"), ("GET", "/v1"), ("POST", "/v1/../metrics"), ("GET", "//v1//status")]


def test_every_route_refuses_by_name(under_attack: Process) -> None:
    one, rng, faults = under_attack, Random(7), []
    with httpx.Client(trust_env=False, timeout=60, headers=one.headers) as http:

        def ask(method: str, path: str, **options: Any) -> None:
            try:
                answer = http.request(method, one.url + path, **options)
            except httpx.RemoteProtocolError:
                return  # it hung up on us before we were done: allowed, and no answer to look at
            fault = fault_in(answer)
            if fault is not None:
                faults.append((method, path[:80], str(options)[:200], fault))

        for method, path in paths_of(one):
            concrete = path.replace("{", "").replace("}", "")
            for wrong in METHODS:
                ask(wrong, concrete, headers=rng.choice(HEADERS))
            for value in IN_PATHS if "{" in path else ():
                start, _, rest = path.partition("{")
                ask(method, start + value + rest.partition("}")[2])
            for query in QUERIES if method == "GET" else QUERIES[-6:]:
                ask(method, f"{concrete}?{query}")
            if method == "POST":
                real = path.replace("{operation}", rng.choice(("read", "act", "post", "card"))).replace("{grant_id}", "00" * 32)
                for body in bodies(rng):
                    ask("POST", real, content=body, headers=rng.choice(HEADERS[:4]))
    assert faults == []


def test_many_large_bodies_at_once_are_bounded_and_small_requests_pass(node: OneNode) -> None:
    """Sixty clients send 16 MiB each: a gigabyte, of which the node holds what its budget allows and refuses the rest."""
    assert node._process is not None
    one = Process(node.url, node._process.pid, node.home.root / "node.log", {})
    before, most = one.rss_anon_bytes(), 0
    codes: set[str] = set()

    async def send(http: httpx.AsyncClient, body: bytes) -> None:
        try:
            codes.add((await http.post(one.url + "/v1/intake", content=body)).json()["code"])
        except httpx.HTTPError:
            codes.add("cut")

    async def watch(http: httpx.AsyncClient, sending: list[asyncio.Task[None]]) -> None:
        nonlocal most
        while not all(task.done() for task in sending):
            most = max(most, one.rss_anon_bytes())
            assert (await http.get(one.url + "/v1/status")).status_code == 200
            await asyncio.sleep(0.02)

    async def attack() -> None:
        body = b"\x9a\x00\x00\xff\xff" + b"\x59\x00\xfd" * 4 + bytes((16 << 20) - 100)
        limits = httpx.Limits(max_connections=80, max_keepalive_connections=0)
        async with httpx.AsyncClient(trust_env=False, timeout=120, limits=limits) as http, asyncio.TaskGroup() as group:
            sending = [group.create_task(send(http, body)) for _ in range(60)]
            await watch(http, sending)

    asyncio.run(attack())
    assert {"malformed"} <= codes <= {"malformed", "http.too_many_bodies", "http.too_much_from_address", "cut", "api.busy"}
    assert most - before < FLOOD_BYTES
    assert one.said_wrong() == []


def test_more_idle_connections_than_there_are_keep_nobody_out(under_attack: Process) -> None:
    idle: list[socket.socket] = []
    try:
        for number in range(560):
            with suppress(OSError):
                idle.append(socket.create_connection(under_attack.address, timeout=20))
                idle[-1].sendall((b"", b"GET /v1/st", b"POST /v1/intake HTTP/1.1\r\ncontent-length: 99\r\n\r\n")[number % 3])
        with httpx.Client(trust_env=False, timeout=20) as http:
            assert http.get(under_attack.url + "/v1/status").status_code == 200
    finally:
        for one in idle:
            one.close()


def test_a_peer_that_closes_half_is_answered_or_let_go(under_attack: Process) -> None:
    for said in (
        b"GET /v1/status HTTP/1.1\r\nhost: x\r\n\r\n",
        b"POST /v1/intake HTTP/1.1\r\ncontent-length: 9\r\n\r\nabc",
        b"GET ",
    ):
        with socket.create_connection(under_attack.address, timeout=60) as line:
            line.sendall(said)
            line.shutdown(socket.SHUT_WR)
            with suppress(ConnectionError):
                while line.recv(65_536):
                    pass


Answer = tuple[bytes, dict[bytes, bytes], dict[str, Any]]
"""Status line, headers, problem."""


async def answered(one: Process, source: str, body_bytes: int, keep: int, opened: list[asyncio.StreamWriter]) -> Answer:
    """What comes back to a body of zeros from this address whose last `keep` bytes do not come."""
    host, port = one.address
    reader, writer = await asyncio.open_connection(host, port, local_addr=(source, 0))
    opened.append(writer)
    path = "/v1/import" if one.headers else "/v1/intake"
    lines = [
        f"POST {path} HTTP/1.1",
        "host: x",
        f"content-length: {body_bytes}",
        *(f"{name}: {one.headers[name]}" for name in one.headers),
    ]
    with suppress(ConnectionError):
        writer.write("\r\n".join([*lines, "", ""]).encode() + bytes(body_bytes - keep))
        await writer.drain()
    head = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
    headers = dict(line.lower().split(b": ", 1) for line in head[1:-2])
    return head[0], headers, json.loads(await reader.readexactly(int(headers[b"content-length"])))


def test_one_address_that_floods_leaves_room_for_another(under_attack: Process) -> None:
    """Bodies without an end from 127.0.0.2, more than it may hold; a whole one from 127.0.0.1 is taken in meanwhile."""
    one, opened = under_attack, list[asyncio.StreamWriter]()

    async def attack() -> tuple[Answer, Answer]:
        flood = [asyncio.create_task(answered(one, "127.0.0.2", 16 << 20, 1, opened)) for _ in range(6)]
        refused, _ = await asyncio.wait(flood, return_when=asyncio.FIRST_COMPLETED)
        other = await answered(one, "127.0.0.1", 16 << 20, 0, opened)
        first = refused.pop().result()
        for task in flood:
            task.cancel()
        await asyncio.gather(*flood, return_exceptions=True)
        for writer in opened:
            writer.transport.abort()
        return first, other

    (status, headers, problem), (_, _, other) = asyncio.run(attack())
    assert (problem["code"], status.split()[1]) == ("http.too_much_from_address", b"503")
    assert headers[b"retry-after"] == b"1"
    assert other["code"] not in ("http.too_many_bodies", "http.too_much_from_address"), "its body was looked at"
