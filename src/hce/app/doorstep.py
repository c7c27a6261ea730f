"""The doorstep of a TLS port: connections that were taken and have not come through the handshake.

A server that is given a TLS context tells its protocols of a connection when the handshake is done, so nothing above counts what
never comes so far. Without a bound a stranger who opens connections and says nothing takes every file descriptor of the process, and
with them its other ports. Here everybody is counted from the first packet, and who has stood there longest gives way to the newcomer.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from contextlib import suppress

HANDSHAKE_FAILED = (OSError, EOFError)
"""`ssl.SSLError`, `ConnectionError` and `TimeoutError` are kinds of OSError."""


class Doorstep:
    """Those who wait at one port. `most` of them, each for `handshake_s` at most."""

    def __init__(self, tls: ssl.SSLContext, most: int, handshake_s: float) -> None:
        self._tls = tls
        self._most = most
        self._handshake_s = handshake_s
        self._waiting: dict[Guest, asyncio.Transport] = {}
        """Longest first."""

    def take(self, guest: Guest, transport: asyncio.Transport) -> None:
        if len(self._waiting) >= self._most:
            self._waiting.pop(next(iter(self._waiting))).abort()
        self._waiting[guest] = transport

    async def bring_in(self, guest: Guest, make_protocol: Callable[[], asyncio.Protocol]) -> None:
        """Through the handshake, to a protocol of their own. What fails ends the connection and is nobody else's business."""
        transport = self._waiting.get(guest)
        if transport is None:  # others came in the same moment
            return
        early, secure = Early(), None
        shake = asyncio.get_running_loop().start_tls
        with suppress(*HANDSHAKE_FAILED):
            secure = await shake(transport, early, self._tls, server_side=True, ssl_handshake_timeout=self._handshake_s)
        self._waiting.pop(guest, None)
        if secure is None:
            transport.abort()
        else:
            early.hand_over(secure, make_protocol())


class Guest(asyncio.Protocol):
    """One connection from its first packet until it is in or gone."""

    def __init__(self, doorstep: Doorstep, make_protocol: Callable[[], asyncio.Protocol]) -> None:
        self._doorstep = doorstep
        self._make_protocol = make_protocol
        self._coming_in: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # a port of streams has no other
        transport.pause_reading()  # until the handshake reads
        self._doorstep.take(self, transport)
        self._coming_in = asyncio.create_task(self._doorstep.bring_in(self, self._make_protocol))


class Early(asyncio.Protocol):
    """Keeps what a client sends in one breath with the end of its handshake, until there is somebody to hear it."""

    def __init__(self) -> None:
        self._heard: list[bytes] = []
        self._lost: list[Exception | None] = []

    def data_received(self, data: bytes) -> None:
        self._heard.append(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost.append(exc)

    def hand_over(self, transport: asyncio.Transport, protocol: asyncio.Protocol) -> None:
        """From now on everything comes to the protocol, beginning with what was kept."""
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        for data in self._heard:
            protocol.data_received(data)
        for error in self._lost:
            protocol.connection_lost(error)
