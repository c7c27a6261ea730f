"""HTTP/1.1 to nodes on this machine, with little around it: the load runs on the cores it measures, and httpx's own transport took
half of its processor time. Connections are kept and used again; an answer has a length, as our nodes' answers do.
"""

from __future__ import annotations

import asyncio
from asyncio import StreamReader, StreamWriter
from collections import defaultdict

import httpx

MAX_HEAD_BYTES = 65_536
ANSWER_S = 60.0
"""Longer than a node may take for anything, waiting for a block included."""

Connection = tuple[StreamReader, StreamWriter]
Address = tuple[str, int]


class Wire(httpx.AsyncBaseTransport):
    """A transport for plain HTTP. What goes wrong is an `httpx.TransportError`, and the connection is not used again."""

    def __init__(self) -> None:
        self._idle: defaultdict[Address, list[Connection]] = defaultdict(list)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        address = request.url.host, request.url.port or 80
        try:
            async with asyncio.timeout(ANSWER_S):
                connection = await self._connection(address)
                try:
                    answer = await _exchange(connection, request)
                except BaseException:
                    connection[1].close()
                    raise
        except (OSError, EOFError, asyncio.LimitOverrunError, ValueError) as error:
            raise httpx.ReadError(str(error) or type(error).__name__) from error
        if answer.headers.get("connection", "").lower() == "close":
            connection[1].close()
        else:
            self._idle[address].append(connection)
        return answer

    async def aclose(self) -> None:
        for connections in self._idle.values():
            for _, writer in connections:
                writer.close()
        self._idle.clear()

    async def _connection(self, address: Address) -> Connection:
        """One that nobody uses and the node has not closed, or a new one."""
        idle = self._idle[address]
        while idle:
            reader, writer = idle.pop()
            if not reader.at_eof():
                return reader, writer
            writer.close()
        return await asyncio.open_connection(*address, limit=MAX_HEAD_BYTES)


async def _exchange(connection: Connection, request: httpx.Request) -> httpx.Response:
    reader, writer = connection
    body = await request.aread()
    head = b"%s %s HTTP/1.1\r\n" % (request.method.encode(), request.url.raw_path)
    writer.write(head + b"".join(b"%s: %s\r\n" % field for field in request.headers.raw) + b"\r\n" + body)
    await writer.drain()
    first, *lines = (await reader.readuntil(b"\r\n\r\n"))[:-4].split(b"\r\n")
    fields = [(name, value.strip()) for name, _, value in (line.partition(b":") for line in lines)]
    headers = httpx.Headers(fields)
    content = await reader.readexactly(int(headers["content-length"])) if "content-length" in headers else b""
    return httpx.Response(int(first.split()[1]), headers=fields, stream=httpx.ByteStream(content))
