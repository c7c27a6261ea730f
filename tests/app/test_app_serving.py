"""What strangers on raw sockets can hold of a process that serves HTTP: little, for a short time, and from nobody else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hce.app.preflight import free_ports
from hce.app.serving import MIB, HttpLimits, serving
from hce.service.http import EXCEPTION_HANDLERS, read_body

GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
QUICK_S = 0.2
LARGE = bytes(8 * MIB)

Line = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Served:
    """A small app behind the bounds, and raw lines to it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.let_go = asyncio.Event()
        """Set: those who wait get their answer."""
        self.arrived: asyncio.Queue[None] = asyncio.Queue()
        """One item for each request that waits."""
        self.lines: list[Line] = []

    @property
    def app(self) -> Starlette:
        async def quick(request: Request) -> Response:
            return Response(b"ok")

        async def large(request: Request) -> Response:
            return Response(LARGE)

        async def wait(request: Request) -> Response:
            self.arrived.put_nowait(None)
            await self.let_go.wait()
            return Response(b"ok")

        async def take(request: Request) -> Response:
            return Response(str(len(await read_body(request, MIB))))

        async def fail(request: Request) -> Response:
            raise KeyError("secret of the house")

        routes = [Route("/", quick), Route("/large", large), Route("/wait", wait), Route("/fail", fail)]
        return Starlette(routes=[*routes, Route("/take", take, methods=["POST"])], exception_handlers=EXCEPTION_HANDLERS)

    async def dial(self, said: bytes = b"") -> Line:
        line = await asyncio.open_connection("127.0.0.1", self._port)
        self.lines.append(line)
        line[1].write(said)
        return line

    async def answer(self, said: bytes) -> bytes:
        """Everything that comes back until the other side ends it; the peer stops talking when told no."""
        reader, writer = await self.dial()
        with suppress(ConnectionError):
            writer.write(said)
            await writer.drain()
        return await heard(reader, writer)


async def heard(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    parts: list[bytes] = []
    with suppress(ConnectionError):
        while part := await reader.read(65_536):
            parts.append(part)
    writer.transport.abort()
    return b"".join(parts)


async def ended(line: Line) -> bool:
    async with asyncio.timeout(20):
        await heard(*line)
    return True


@asynccontextmanager
async def served(pages: str | None = None, **changed: float) -> AsyncIterator[Served]:
    [port] = free_ports(1)
    one = Served(port)
    limits = HttpLimits(**{"goodbye_s": 0, **changed})  # type: ignore[arg-type]  # ints and floats by name
    async with serving(one.app, port, limits, pages):
        try:
            yield one
        finally:
            for _, writer in one.lines:
                writer.transport.abort()


def code_in(answer: bytes) -> str:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"application/problem+json" in head, answer[:300]
    return str(json.loads(body)["code"])


@pytest.mark.parametrize(
    "said",
    [
        b"GET /" + b"a" * MIB,
        b"GET / HTTP/1.1\r\nx: " + b"a" * MIB,
        b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 100_000,
        b"POST /take HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1;" + b"a" * MIB,
        b"POST /take HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx: " + b"a" * MIB,
        b"POST /take HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n" + b"x: y\r\n" * 100_000,
    ],
    ids=["path", "header", "headers", "chunk extension", "trailer", "trailers"],
)
async def test_a_head_without_end_is_refused(said: bytes) -> None:
    async with served() as one:
        answer = await one.answer(said)
        assert answer == b"" or code_in(answer) == "http.malformed"  # a reset may overtake the words
        assert b"ok" in await one.answer(GET.replace(b"host", b"connection: close\r\nhost"))


@pytest.mark.parametrize(
    "said",
    [
        b"\x00\xff\x16\x03\x01",
        b"GET http://[ HTTP/1.1\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"POST /take HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"POST /take HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        b"POST /take HTTP/1.1\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
    ids=["binary", "address", "path", "http2", "chunk", "length", "two lengths"],
)
async def test_what_is_no_request_gets_a_problem_document(said: bytes) -> None:
    async with served() as one:
        assert code_in(await one.answer(said)) == "http.malformed"


async def test_every_refusal_of_the_router_has_a_code_and_a_surprise_tells_nothing() -> None:
    close = b" HTTP/1.1\r\nconnection: close\r\n\r\n"
    async with served() as one:
        assert code_in(await one.answer(b"GET /nowhere" + close)) == "http.no_such_path"
        wrong = await one.answer(b"DELETE /" + close)
        assert code_in(wrong) == "http.wrong_method"
        assert b"\r\nallow: " in wrong.lower()
        failed = await one.answer(b"GET /fail" + close)
        assert code_in(failed) == "internal"
        assert b"secret" not in failed


@pytest.mark.parametrize("said", [b"", b"GET / HT", GET + b"\r\n", GET + b"POST /take HTTP/1.1\r\nx"])
async def test_a_head_that_does_not_come_ends_the_line(said: bytes) -> None:
    async with served(head_s=QUICK_S, keep_alive_s=QUICK_S) as one:
        assert await ended(await one.dial(said))


async def test_bytes_now_and_then_are_no_head() -> None:
    async with served(head_s=QUICK_S) as one:
        reader, writer = await one.dial(b"GET / HTTP/1.1\r\n")
        with suppress(ConnectionError):
            while not reader.at_eof():
                writer.write(b"a: b\r\n")
                await writer.drain()
                await asyncio.sleep(0.02)
        assert await ended((reader, writer))


async def test_requests_far_ahead_of_their_answers_end_the_line() -> None:
    async with served(pipelined=16) as one:
        line = await one.dial(GET.replace(b"/", b"/wait", 1) + GET * 5_000)
        assert await ended(line)
        polite = await one.dial(GET * 15)
        assert (await polite[0].readuntil(b"ok")).startswith(b"HTTP/1.1 200")


async def test_an_answer_that_nobody_reads_ends_the_line_and_one_that_is_read_slowly_arrives() -> None:
    ask = b"GET /large HTTP/1.1\r\nconnection: close\r\n\r\n"
    async with served(drain_s=QUICK_S) as one:
        reader, writer = await one.dial(ask)
        await asyncio.sleep(4 * QUICK_S)
        assert len(await heard(reader, writer)) < len(LARGE)
        reader, writer = await one.dial(ask)
        got = 0
        while part := await reader.read(MIB):
            got += len(part)
            await asyncio.sleep(QUICK_S / 20)
        assert got > len(LARGE)


async def test_unread_answers_together_are_bounded_and_the_longest_unread_goes_first() -> None:
    ask = b"GET /large HTTP/1.1\r\n\r\n"
    async with served(drain_s=60, unread_bytes=8 * MIB) as one:
        lines = []
        for _ in range(6):
            lines.append(await one.dial(ask))
            await lines[-1][0].readuntil(b"\r\n\r\n")
        for line in lines[:2]:
            assert await ended(line)
        newest = await one.dial(ask.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"))
        assert len(await heard(*newest)) > len(LARGE)


async def test_slow_clients_push_out_each_other_and_nobody_else() -> None:
    async with served(connections=8, head_s=60) as one:
        busy = await one.dial(GET.replace(b"/", b"/wait", 1))
        await one.arrived.get()
        idle = [await one.dial(b"POST /take HTTP/1.1\r\ncontent-length: 9\r\n\r\n") for _ in range(20)]
        for line in idle[:12]:
            assert await ended(line)
        assert b"ok" in await one.answer(GET.replace(b"host", b"connection: close\r\nhost"))
        one.let_go.set()
        assert b"ok" in await busy[0].readuntil(b"ok")


async def test_when_all_are_being_answered_a_newcomer_is_told_so() -> None:
    async with served(connections=3) as one:
        busy = [await one.dial(GET.replace(b"/", b"/wait", 1)) for _ in range(3)]
        for _ in busy:
            await one.arrived.get()
        assert code_in(await one.answer(GET)) == "http.too_many_connections"
        one.let_go.set()


@pytest.mark.parametrize("pages", ["*", "http://portal.example", None])
async def test_pages_can_read_what_the_port_itself_refuses(pages: str | None) -> None:
    """Without the header a page sees a node that cannot be reached."""
    allowed = f"access-control-allow-origin: {pages}\r\n".encode()
    async with served(pages, connections=1) as one:
        assert (allowed in await one.answer(b"\x00\xff\x16\x03\x01")) == (pages is not None)
        await one.dial(GET.replace(b"/", b"/wait", 1))
        await one.arrived.get()
        refused = await one.answer(GET)
        assert code_in(refused) == "http.too_many_connections"
        assert (allowed in refused) == (pages is not None)
        one.let_go.set()
