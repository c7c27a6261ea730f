"""HTTP on a socket, within bounds: what a stranger can hold of this process before it has asked anything that can be refused.

`uvicorn` parses and answers; what it leaves open is closed here, once for node and gateway:

* a request line, headers, chunk extensions or trailers without end: counted, and refused beyond `head_bytes` and `headers`;
* a head that does not come: `head_s` from its first byte, or from the connection's beginning;
* requests sent ahead of their answers: `pipelined` of them, then the connection ends;
* answers that nobody reads: a connection that takes less than `drain_bytes` in `drain_s` ends, and when all unread answers together
  are more than `unread_bytes`, the ones that stall longest end;
* all connections taken: the one that has said nothing whole for longest gives way to the newcomer. Only when all of them are being
  answered is the newcomer refused. So slow clients push out each other and nobody else.

A slow body has its own time and its own budget, of which one address never takes all (`service/http.py:BodyBudget`).
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

import msgspec
import uvicorn
from msgspec import Struct
from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from hce.app.face import Door, Elsewhere
from hce.foundation.types.errors import HceError, Malformed, Refused, Unavailable
from hce.service.http import ALLOW_ORIGIN, PROBLEM_TYPE, problem_body

MIB = 1 << 20
LOOPBACK = "127.0.0.1"


class HttpLimits(Struct, frozen=True):
    """Bounds of one listening process."""

    connections: int = 512
    head_bytes: int = 32 * 1024
    """Of a request before its body, and of what is between the parts of a body; one read (256 KiB) more at most."""
    headers: int = 100
    head_s: float = 10.0
    keep_alive_s: float = 30.0
    pipelined: int = 16
    drain_s: float = 10.0
    drain_bytes: int = 64 * 1024
    unread_bytes: int = 128 * MIB
    goodbye_s: int = 3
    """At a stop, open requests get this long; then they are cut."""


class BadRequest(Malformed):
    """No HTTP request, or one beyond the bounds of heads."""

    code = "http.malformed"


class TooManyConnections(Unavailable):
    """All connections this process allows are being answered."""

    code = "http.too_many_connections"


class PortTaken(Refused):
    """Another program listens on that port."""

    code = "port.taken"
    status = 409


class BoundedHttp(HttpToolsProtocol):
    """One connection. `since_s` is when it last finished something."""

    def __init__(self, *arguments: Any, limits: HttpLimits, pages: str | None, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._limits = limits
        self._extra_headers = {} if pages is None else {ALLOW_ORIGIN: pages}
        self._since_s = self.loop.time()
        self._head_timer: asyncio.TimerHandle | None = None
        self._drain_timer: asyncio.TimerHandle | None = None
        self._stalled_s = 0.0
        self._headers = 0
        self._useless = 0
        """Bytes since anything was complete."""
        self._useful = False

    # Connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn's own narrowing
        super().connection_made(transport)
        self._await_head()
        if len(self.connections) > self._limits.connections:
            others = [one for one in self.connections if isinstance(one, BoundedHttp) and one is not self]
            waiting = [one for one in others if one.is_waiting_for_peer() and not one.transport.is_closing()]
            if waiting:
                min(waiting, key=lambda one: one._since_s).transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_timers()
        super().connection_lost(exc)

    def is_waiting_for_peer(self) -> bool:
        """Nothing is being worked on here: the request has not come whole, or there is none."""
        cycle = self._last()
        return cycle is None or cycle.response_complete or cycle.more_body

    def _last(self) -> RequestResponseCycle | None:
        """The newest request; None before the first, which uvicorn's own type does not say."""
        return self.cycle

    # In

    def data_received(self, data: bytes) -> None:
        self._useful = False
        cycle = self._last()
        if cycle is None or cycle.response_complete:
            self._await_head()
        super().data_received(data)
        self._useless = 0 if self._useful else self._useless + len(data)
        if self._useless > self._limits.head_bytes and not self.transport.is_closing():
            self.send_400_response("")

    def on_message_begin(self) -> None:
        self._headers = 0
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers += 1
        if self._headers > self._limits.headers:
            raise BadRequest("headers")  # `httptools` makes it an error of the parser, answered with 400
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._useful = True
        self._end_head_timer()
        if len(self.pipeline) >= self._limits.pipelined:
            raise BadRequest("too many requests ahead of their answers")
        self.app = self._refuse_newcomer if self._is_crowded() else self.config.loaded_app
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._useful = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._useful = True
        super().on_message_complete()

    def on_response_complete(self) -> None:
        self._since_s = self.loop.time()
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        """The same problem document as every other refusal. What is under way on this connection ends with it."""
        self._end_head_timer()
        cycle = self._last()
        if cycle is None or not cycle.response_started or cycle.response_complete:
            body = _problem(BadRequest())
            lines = ["HTTP/1.1 400 Bad Request", *(f"{name}: {value}" for name, value in self._refusal_headers(body).items())]
            self.transport.write("\r\n".join([*lines, "", ""]).encode("ascii") + body)
        self.transport.close()

    async def _refuse_newcomer(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = _problem(TooManyConnections())
        headers = [(name.encode(), value.encode()) for name, value in self._refusal_headers(body).items()]
        await send({"type": "http.response.start", "status": TooManyConnections.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _refusal_headers(self, body: bytes) -> dict[str, str]:
        """Of what the port itself answers, before any app."""
        given = {"content-type": PROBLEM_TYPE, "content-length": str(len(body)), "connection": "close"}
        return given | self._extra_headers

    def _is_crowded(self) -> bool:
        """Those who had to give way may still be on the list."""
        most = self._limits.connections
        return len(self.connections) > most and sum(not one.transport.is_closing() for one in self.connections) > most

    def _await_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(self._limits.head_s, self.transport.abort)

    # Out

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stalled_s = self.loop.time()
        self._watch_draining(self._unread())
        stalled = [one for one in self.connections if isinstance(one, BoundedHttp) and one.flow.write_paused]
        unread = sum(one._unread() for one in stalled)
        for one in sorted(stalled, key=lambda one: one._stalled_s):
            if unread <= self._limits.unread_bytes:
                break
            unread -= one._unread()
            one.transport.abort()

    def resume_writing(self) -> None:
        self._end_drain_timer()
        super().resume_writing()

    def _unread(self) -> int:
        return self.transport.get_write_buffer_size()

    def _watch_draining(self, before: int) -> None:
        self._end_drain_timer()
        self._drain_timer = self.loop.call_later(self._limits.drain_s, self._look_at_draining, before)

    def _look_at_draining(self, before: int) -> None:
        left = self._unread()
        if before - left < min(self._limits.drain_bytes, before):
            self.transport.abort()
        else:
            self._watch_draining(left)

    # Timers

    def _end_timers(self) -> None:
        self._end_head_timer()
        self._end_drain_timer()

    def _end_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _end_drain_timer(self) -> None:
        if self._drain_timer is not None:
            self._drain_timer.cancel()
            self._drain_timer = None


def _problem(error: HceError) -> bytes:
    return msgspec.json.encode(problem_body(error))


@asynccontextmanager
async def serving(
    app: Starlette, port: int, limits: HttpLimits | None = None, pages: str | None = None, door: Door | None = None
) -> AsyncIterator[None]:
    """HTTP on the loopback address for the time of the block, and over TLS through the door for other machines. Each has its own
    limits, so that nobody outside closes the inner one. Signals stay with the caller.

    `pages`: the origin ("*": any) whose pages may read what the port itself refuses; what the app answers is the app's.
    """
    limits = limits or HttpLimits()
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(_listening(app, LOOPBACK, port, limits, pages, None))
        if door is not None:
            outer = Elsewhere(app, door.hsts)
            await stack.enter_async_context(_listening(outer, door.address, door.port, limits, pages, door.tls))
        yield


@asynccontextmanager
async def _listening(
    app: ASGIApp, host: str, port: int, limits: HttpLimits, pages: str | None, tls: ssl.SSLContext | None
) -> AsyncIterator[None]:
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http=partial(BoundedHttp, limits=limits, pages=pages),  # type: ignore[arg-type]  # it is called like the class
        ws="none",
        log_config=None,
        log_level="warning",
        access_log=False,
        lifespan="off",
        server_header=False,
        proxy_headers=False,  # who is connected counts: anybody can write a header that says otherwise
        timeout_keep_alive=limits.keep_alive_s,  # type: ignore[arg-type]  # a delay like any other
        timeout_graceful_shutdown=limits.goodbye_s,
    )
    config.load()
    config.ssl = tls  # uvicorn's own would offer older ciphers
    server = uvicorn.Server(config)
    task = asyncio.create_task(server._serve())  # `serve` would take the signal handlers
    try:
        while not server.started:
            if task.done():
                await task
                raise PortTaken(port=port)
            await asyncio.sleep(0.01)
        yield
    finally:
        server.should_exit = True
        await task
