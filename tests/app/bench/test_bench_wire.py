"""The load's own HTTP: one connection is used again, a node that is gone is an error by name, and the next request goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from hce.app.bench.wire import Wire


@asynccontextmanager
async def answering(*answers: bytes) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server that gives these answers to the requests of each connection and then hangs up; its address and what it was asked."""
    asked: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                (int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")), 0
            )
            asked.append(head + await reader.readexactly(length))
            writer.write(answer)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}", asked


def answer(body: bytes, status: bytes = b"200 OK") -> bytes:
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\nX-Is: here\r\n\r\n%s" % (status, len(body), body)


async def test_one_connection_carries_request_after_request() -> None:
    async with (
        answering(answer(b"first"), answer(b"", b"404 Not Found")) as (url, asked),
        httpx.AsyncClient(transport=Wire()) as http,
    ):
        first = await http.post(url + "/lists?x=1", content=b"sent")
        second = await http.get(url + "/missing")
    assert (first.status_code, first.content, first.headers["x-is"]) == (200, b"first", "here")
    assert (second.status_code, second.content) == (404, b"")
    assert asked[0].startswith(b"POST /lists?x=1 HTTP/1.1\r\n")
    assert asked[0].endswith(b"\r\n\r\nsent")


async def test_a_connection_that_was_closed_is_not_used_again() -> None:
    async with answering(answer(b"only")) as (url, asked), httpx.AsyncClient(transport=Wire()) as http:
        for _ in range(3):
            try:
                assert (await http.get(url)).content == b"only"
            except httpx.ReadError:  # closed between two requests: the next one opens another
                continue
    assert asked


async def test_what_ends_in_the_middle_is_a_transport_error() -> None:
    async with (
        answering(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf") as (url, _),
        httpx.AsyncClient(transport=Wire()) as http,
    ):
        with pytest.raises(httpx.TransportError):
            await http.get(url)


async def test_nobody_there_is_a_transport_error() -> None:
    async with httpx.AsyncClient(transport=Wire()) as http:
        with pytest.raises(httpx.TransportError):
            await http.get("http://127.0.0.1:1/")
