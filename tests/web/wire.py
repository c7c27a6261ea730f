"""Everything a browser sends, as it leaves it: a forward proxy that writes down each request, byte for byte, and who it was for.

Pages of a demo network and what they ask are plain HTTP, so nothing is hidden from it: addresses, headers and bodies of pages, workers and
the browser itself. What asks for a tunnel (TLS, WebSockets) is written down and refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

HEAD_BYTES = 1 << 20


class Wire:
    """`sent`: one item for each request. `hosts`: whom they were for. `tunnels`: whom nothing got through to."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.hosts: set[str] = set()
        self.tunnels: set[str] = set()
        self.url = ""
        self._carrying: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def end(self) -> None:
        """Ends what is still open: browsers connect before they have anything to ask."""
        for writer in self._carrying.values():
            writer.transport.abort()
        await asyncio.gather(*self._carrying)

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request and its answer; then the connection ends."""
        task = asyncio.current_task()
        assert task is not None
        self._carrying[task] = writer
        task.add_done_callback(self._carrying.pop)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            head = await reader.readuntil(b"\r\n\r\n")
            line, _, rest = head.partition(b"\r\n")
            method, target, _ = line.decode("latin-1").split(" ")
            if method == "CONNECT":
                self.sent.append(head)
                self.tunnels.add(target)
                writer.write(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            else:
                fields = dict(field.lower().split(b": ", 1) for field in rest.split(b"\r\n") if field)
                assert b"transfer-encoding" not in fields, "a body without a length would pass unseen"
                body = await reader.readexactly(int(fields.get(b"content-length", b"0")))
                self.sent.append(head + body)
                await self._ask(method, target, rest, body, writer)
        with suppress(ConnectionError):
            await writer.drain()
        writer.close()

    async def _ask(self, method: str, target: str, fields: bytes, body: bytes, writer: asyncio.StreamWriter) -> None:
        asked = urlsplit(target)
        self.hosts.add(asked.netloc)
        path = asked.path + (f"?{asked.query}" if asked.query else "")
        upstream, there = await asyncio.open_connection("127.0.0.1", asked.port or 80)
        kept = [field for field in fields.split(b"\r\n") if field and not field.lower().startswith((b"proxy-", b"connection:"))]
        there.write(b"\r\n".join([f"{method} {path} HTTP/1.1".encode(), *kept, b"connection: close", b"", b""]) + body)
        try:
            while piece := await upstream.read(65_536):
                writer.write(piece)
                await writer.drain()
        finally:
            there.close()


@asynccontextmanager
async def recording() -> AsyncIterator[Wire]:
    """A proxy on this machine for the time of the block."""
    wire = Wire()
    server = await asyncio.start_server(wire.carry, "127.0.0.1", 0, limit=HEAD_BYTES)
    wire.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield wire
    finally:
        server.close()
        await wire.end()
