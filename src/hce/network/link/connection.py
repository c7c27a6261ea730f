"""One connection at work: TLS is up and the certificate has told who the peer is; hello, frames, keep-alive, until either side ends."""

from __future__ import annotations

import asyncio
from asyncio import StreamReader, StreamWriter
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any

from msgspec import Struct

from hce.foundation.codec.dagcbor import decode_as, encode
from hce.foundation.types.errors import HceError, Malformed
from hce.network.link.bounds import TokenBucket
from hce.network.link.calls import CallLimits, Calls, Method
from hce.network.link.errors import HelloInvalid, PeerSilent
from hce.network.link.frames import BOUNDS_BYTES, HELLO_ONLY, Frame, FrameDecoder, FrameKind, encode_frame
from hce.network.link.messages import Hello
from hce.network.link.outbox import LaneLimits, Outbox

READ_BYTES = 256 * 1024
WRITE_BYTES = 128 * 1024
"""Handed to TLS at a time; what waits behind it can still be overtaken by a vote."""
MIB = 1024 * 1024


class ConnectionLimits(Struct, frozen=True):
    """Bounds and times of one connection."""

    urgent: LaneLimits = LaneLimits(512, 24 * MIB)
    calls: LaneLimits = LaneLimits(128, 24 * MIB)
    gossip: LaneLimits = LaneLimits(8_192, 8 * MIB)
    call: CallLimits = CallLimits()
    hello_s: float = 5.0
    """From the end of the handshake to the peer's hello."""
    ping_s: float = 2.0
    silent_pings: int = 5
    """Pings in a row during which no whole fragment came: the peer is gone."""
    unheard_pings: int = 15
    """Pings in a row without answer, whatever else came: the peer does not read."""
    drain_s: float = 15.0
    """For the peer to take the next `WRITE_BYTES`: who reads more slowly is of no use to consensus."""
    consensus_per_s: float = 500.0
    consensus_burst: float = 2_000.0
    frames_per_s: float = 5_000.0
    frames_burst: float = 20_000.0
    """Beyond its rate a peer is read more slowly; nothing is lost."""


class Connection:
    """Make it, `await greet(...)`, then `await run()`. `close` ends `run` from outside."""

    def __init__(
        self,
        peer: int,
        reader: StreamReader,
        writer: StreamWriter,
        *,
        methods: Mapping[str, Method],
        deliver: Callable[[int, Frame], Awaitable[None]],
        blame: Callable[[HceError], None],
        limits: ConnectionLimits,
    ) -> None:
        """`deliver` takes consensus and transaction frames; while it waits, nothing more is read. `blame` hears of wrong requests."""
        self.peer = peer
        self.rtt_s: float | None = None
        self.outbox = Outbox(limits.urgent, limits.calls, limits.gossip)
        self.calls = Calls(peer, methods, self.outbox, self._wake, blame, limits.call)
        self._reader = reader
        self._writer = writer
        self._deliver = deliver
        self._limits = limits
        self._decoder = FrameDecoder(HELLO_ONLY)
        self._waiting = asyncio.Event()
        self._closing = asyncio.Event()
        self._busy = False
        self._pinged: tuple[bytes, float] | None = None
        self._heard = 0

    async def greet(self, mine: Hello) -> None:
        """Says hello and hears it; `HelloInvalid` when the peer is not who its certificate says, or of another network or version."""
        self._writer.write(encode_frame(FrameKind.HELLO, encode(mine)))
        try:
            async with asyncio.timeout(self._limits.hello_s):
                frame = await self._next_frame()
        except TimeoutError:
            raise PeerSilent("no hello", peer=self.peer) from None
        if frame is None:
            raise ConnectionResetError("ended before hello")
        try:
            theirs = decode_as(Hello, frame.payload)
        except Malformed as error:
            raise HelloInvalid("unreadable") from error
        expected = Hello(mine.version, mine.chain, mine.genesis, self.peer)
        if theirs != expected:
            raise HelloInvalid("another version, network or index", expected=expected, actual=theirs)
        self._decoder.bounds = BOUNDS_BYTES

    def offer(self, kind: FrameKind, payload: bytes) -> None:
        """Never waits; a full lane drops its oldest."""
        self.outbox.add(kind, payload)
        self._wake()

    def put_aside(self, kind: FrameKind, payload: bytes) -> None:
        """As `offer`, but it leaves with whatever leaves next, at the latest at `send_aside`."""
        self.outbox.add(kind, payload)

    def send_aside(self) -> None:
        """What was put aside leaves now."""
        if self.outbox:
            self._wake()

    def close(self) -> None:
        self._closing.set()

    async def run(self) -> None:
        """Until the peer ends (returns), `close` (returns), or something is wrong (raises)."""
        work: list[Coroutine[Any, Any, object]] = [self._read(), self._write(), self._keep_alive(), self._closing.wait()]
        tasks = [asyncio.create_task(one) for one in work]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            self.calls.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    # In

    async def _read(self) -> None:
        now_s = asyncio.get_running_loop().time
        limits = self._limits
        consensus = TokenBucket(limits.consensus_per_s, limits.consensus_burst, now_s())
        others = TokenBucket(limits.frames_per_s, limits.frames_burst, now_s())
        while (frame := await self._next_frame()) is not None:
            self._busy = True
            wait_s = (consensus if frame.kind == FrameKind.CONSENSUS else others).take(now_s())
            if wait_s:
                await asyncio.sleep(wait_s)
            await self._handle(frame)
            self._busy = False

    async def _next_frame(self) -> Frame | None:
        """None when the peer has ended the stream."""
        while (frame := self._decoder.next()) is None:
            data = await self._reader.read(READ_BYTES)
            if not data:
                return None
            self._decoder.feed(data)
        return frame

    async def _handle(self, frame: Frame) -> None:
        match frame.kind:
            case FrameKind.PING:
                self.offer(FrameKind.PONG, frame.payload)
            case FrameKind.PONG:
                self._on_pong(frame.payload)
            case FrameKind.REQUEST:
                self.calls.on_request(frame.payload)
            case FrameKind.RESPONSE:
                self.calls.on_response(frame.payload)
            case _:
                await self._deliver(self.peer, frame)

    def _on_pong(self, payload: bytes) -> None:
        self._heard = max(self._heard, int.from_bytes(payload, "big"))
        if self._pinged is not None and self._pinged[0] == payload:
            self.rtt_s = asyncio.get_running_loop().time() - self._pinged[1]
            self._pinged = None

    # Out

    def _wake(self) -> None:
        self._waiting.set()

    async def _write(self) -> None:
        while True:
            await self._waiting.wait()
            self._waiting.clear()
            while self.outbox:
                self._writer.write(self.outbox.take(WRITE_BYTES))
                self.calls.sent()
                await self._drain()

    async def _drain(self) -> None:
        try:
            async with asyncio.timeout(self._limits.drain_s):
                await self._writer.drain()
        except TimeoutError:
            raise PeerSilent("does not read", peer=self.peer, seconds=self._limits.drain_s) from None

    async def _keep_alive(self) -> None:
        """Counts pings, not seconds: when this process itself was stopped for a while, that is not the peer's silence."""
        silent, seen = 0, self._decoder.fragments
        unheard, heard, number = 0, self._heard, 0
        while silent < self._limits.silent_pings and unheard < self._limits.unheard_pings:
            number += 1
            payload = number.to_bytes(8, "big")
            self._pinged = (payload, asyncio.get_running_loop().time())
            self.offer(FrameKind.PING, payload)
            await asyncio.sleep(self._limits.ping_s)
            silent = 0 if self._busy or self._decoder.fragments != seen else silent + 1
            seen = self._decoder.fragments
            unheard = 0 if self._busy or self._heard != heard else unheard + 1
            heard = self._heard
        raise PeerSilent(peer=self.peer, seconds=max(silent, unheard) * self._limits.ping_s)
