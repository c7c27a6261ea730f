"""All connections of one node: dials the nodes after it in the genesis, listens for those before it, keeps at most one to each.

A connection that ends is made again for as long as the node runs, after a wait that doubles to a bound. When a peer comes again
while its old connection still seems alive (its machine was switched off), the new one counts: only the holder of the key can do it.

What is unauthenticated is bounded: so many handshakes at once, so long each. A surprise while serving one connection is logged and
ends that connection only.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import socket
import ssl
from asyncio import StreamReader, StreamReaderProtocol, StreamWriter
from collections import Counter, OrderedDict
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from msgspec import Struct

from hce.foundation.types.clock import Clock
from hce.foundation.types.errors import HceError, PeerFault
from hce.foundation.types.scalars import ChainId, Cid, NodeIndex
from hce.network.link.bounds import Backoff, BlameLimits
from hce.network.link.calls import Handler, Method
from hce.network.link.certificates import NodeCertificates, tls_contexts
from hce.network.link.connection import MIB, READ_BYTES, Connection, ConnectionLimits
from hce.network.link.errors import LinkAddressTaken, LinkDown, PeerUnknown
from hce.network.link.frames import MAX_BODY_BYTES, Frame, FrameKind
from hce.network.link.inbox import Inbox
from hce.network.link.messages import LINK_VERSION, Gossiped, Hello, decode_gossip, encode_gossip
from hce.network.link.outbox import LaneLimits
from hce.network.link.peers import Peer, PeerStatus

log = logging.getLogger("hce.link")

Address = tuple[str, int]
"""Host and port."""

WHOLE_FAULT = 10.0
"""Weight of what no working node sends by mistake: ends the connection at once."""


class LinkLimits(Struct, frozen=True):
    """Bounds of a whole node's links."""

    connection: ConnectionLimits = ConnectionLimits()
    blame: BlameLimits = BlameLimits()
    backoff: Backoff = Backoff()
    handshake_s: float = 5.0
    handshakes: int = 64
    """Connections whose peer is not known yet, at one time; more are closed at once."""
    handshakes_per_host: int = 16
    inbox: LaneLimits = LaneLimits(512, 16 * MIB)
    """Consensus messages of one peer that wait for us; then it is not read from."""
    transactions: LaneLimits = LaneLimits(4_096, 8 * MIB)
    """Transactions of one peer that wait for us; then they are dropped."""
    seen_transactions: int = 65_536
    """Digests remembered, so that a transaction is passed on once."""
    gossip_rest_s: float = 0.05
    """Least time between two moments at which transactions are sent: one that comes after a rest leaves at once, what comes
    sooner leaves together. A wake-up, a TLS record and a read cost as much for one as for fifty."""
    stranger_note_s: float = 1.0
    """Time between two lines in the log about strangers."""
    steady_s: float = 5.0
    """A connection that lived so long was no failure."""


class Link:
    """`async with Link(...)`: listens and dials for the time of the block. Serves as `network` of the consensus runtime."""

    def __init__(
        self,
        *,
        chain: ChainId,
        genesis: Cid,
        index: NodeIndex,
        certificates: Sequence[bytes],
        link_seed: bytes,
        addresses: Sequence[Address],
        clock: Clock,
        chance: Callable[[], float],
        limits: LinkLimits | None = None,
    ) -> None:
        """`certificates` (DER) and `addresses` in node order; `chance` gives numbers in [0, 1) for waiting times."""
        self.index = index
        self._hello = Hello(LINK_VERSION, chain, genesis, index)
        self._certificates = NodeCertificates(certificates)
        self._dialing_tls, self._listening_tls = tls_contexts(self._certificates, index, link_seed)
        self._addresses = list(addresses)
        self._clock = clock
        self._chance = chance
        self._limits = limits or LinkLimits()
        n = len(certificates)
        self._peers = {one: Peer(one, self._limits.blame) for one in range(n) if one != index}
        self._methods: dict[str, Method] = {}
        self._greeters: list[Callable[[int], None]] = []
        self._inbox: Inbox[bytes] = Inbox(n, self._limits.inbox, len)
        self._transactions: Inbox[Gossiped] = Inbox(n, self._limits.transactions, lambda one: len(one.raw))
        self._seen: OrderedDict[bytes, None] = OrderedDict()
        self._gossip_due: asyncio.TimerHandle | None = None
        self._gossiped_s = 0.0
        self._tasks: set[asyncio.Task[None]] = set()
        self._handshakes: Counter[str] = Counter()
        self._listener: socket.socket | None = None
        self._quiet_until_s = 0.0

    # Life

    async def __aenter__(self) -> Self:
        """`LinkAddressTaken`."""
        host, port = self._addresses[self.index]
        try:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            self._listener = socket.create_server((host, port), family=family, backlog=self._limits.handshakes)
        except OSError as error:
            raise LinkAddressTaken(host=host, port=port) from error
        self._listener.setblocking(False)
        self._spawn(self._listen(self._listener))
        for peer in self._peers.values():
            if peer.index > self.index:
                self._spawn(self._keep_dialing(peer))
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._gossip_due is not None:
            self._gossip_due.cancel()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._listener is not None:
            self._listener.close()

    # Network of the consensus runtime

    def broadcast(self, message: bytes) -> None:
        for peer in self._peers:
            self.send(peer, message)

    def send(self, peer: int, message: bytes) -> None:
        connection = self._peers[peer].connection
        if connection is not None:
            connection.offer(FrameKind.CONSENSUS, message)

    def blame(self, peer: int, fault: HceError, weight: float = 1.0) -> None:
        """Counts; enough of it ends the connection and keeps the peer away for a while."""
        log.info("node %d: %s", peer, fault)
        found = self._peers[peer]
        if found.book.blame(_now_s(), weight) and found.connection is not None:
            log.warning("node %d: disconnected for its faults, the last: %s", peer, fault)
            found.connection.close()

    async def receive(self) -> tuple[int, bytes]:
        return await self._inbox.take()

    # Transactions

    def gossip_tx(self, raw: bytes) -> None:
        """Passes a transaction of our own users on to every peer, unless that was done before."""
        if self._first_seen(raw):
            self._pass_on(Gossiped(raw, 0))

    def relay(self, gossiped: Gossiped) -> None:
        """Passes a received transaction that was found good on to those peers that may not have it."""
        self._pass_on(gossiped)

    async def receive_transactions(self, max_count: int) -> list[tuple[int, Gossiped]]:
        """(peer, transaction) of up to `max_count` received ones, each for the first time; waits for at least one."""
        found = [await self._transactions.take()]
        while len(found) < max_count and (more := self._transactions.take_now()) is not None:
            found.append(more)
        return found

    def _pass_on(self, gossiped: Gossiped) -> None:
        """The set names everybody it is being sent to, so that in a full mesh it crosses each link once."""
        known_to = gossiped.known_to | 1 << self.index
        missing: list[Connection] = []
        for one, peer in self._peers.items():
            if peer.connection is not None and not known_to >> one & 1:
                known_to |= 1 << one
                missing.append(peer.connection)
        if not missing:
            return
        payload = encode_gossip(Gossiped(gossiped.raw, known_to))
        for connection in missing:
            connection.put_aside(FrameKind.TRANSACTION, payload)
        if self._gossip_due is None:
            wait_s = self._gossiped_s + self._limits.gossip_rest_s - _now_s()
            self._gossip_due = asyncio.get_running_loop().call_later(max(0.0, wait_s), self._send_gossip)

    def _send_gossip(self) -> None:
        self._gossip_due, self._gossiped_s = None, _now_s()
        for peer in self._peers.values():
            if peer.connection is not None:
                peer.connection.send_aside()

    def _first_seen(self, raw: bytes) -> bool:
        digest = hashlib.sha256(raw).digest()
        if digest in self._seen:
            return False
        self._seen[digest] = None
        if len(self._seen) > self._limits.seen_transactions:
            self._seen.popitem(last=False)
        return True

    # Requests

    def serve(self, method: str, handler: Handler, *, max_request_bytes: int = MAX_BODY_BYTES) -> None:
        """`await handler(peer, body) -> answer` for every request of that name; longer bodies are refused before it."""
        if method in self._methods:
            raise ValueError(f"{method} is served already")
        self._methods[method] = Method(handler, max_request_bytes)

    async def request(
        self, peer: int, method: str, payload: bytes, timeout_s: float, *, max_response_bytes: int = MAX_BODY_BYTES
    ) -> bytes:
        """The peer's answer. `LinkDown`, `LinkBusy`, `AnswerLate`, or `RequestFailed` with the peer's error code."""
        connection = self._peers[peer].connection
        if connection is None:
            raise LinkDown(peer=peer)
        return await connection.calls.request(method, payload, timeout_s, max_response_bytes)

    # Who is there

    def on_connected(self, greeter: Callable[[int], None]) -> None:
        """Called with the peer's index whenever a connection to it is ready."""
        self._greeters.append(greeter)

    def peers(self) -> list[PeerStatus]:
        return [peer.status() for peer in self._peers.values()]

    # Dialing

    async def _keep_dialing(self, peer: Peer) -> None:
        failures = 0
        while True:
            began_s = _now_s()
            with suppress(OSError, TimeoutError):  # ssl.SSLError is an OSError
                reader, writer = await self._dial(peer)
                await self._talk(peer, reader, writer)
            failures = 0 if _now_s() - began_s > self._limits.steady_s else failures + 1
            wait_s = self._limits.backoff.wait_s(max(0, failures - 1), self._chance())
            await asyncio.sleep(max(wait_s, peer.book.banned_for_s(_now_s())))

    async def _dial(self, peer: Peer) -> tuple[StreamReader, StreamWriter]:
        host, port = self._addresses[peer.index]
        async with asyncio.timeout(2 * self._limits.handshake_s):
            return await asyncio.open_connection(
                host,
                port,
                ssl=self._dialing_tls,
                limit=READ_BYTES,
                ssl_handshake_timeout=self._limits.handshake_s,
            )

    # Listening

    async def _listen(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, address = await loop.sock_accept(listener)
            except OSError as error:  # out of descriptors, or gone before we looked
                log.warning("accepting: %s", error)
                await asyncio.sleep(self._limits.backoff.first_s)
                continue
            host = str(address[0])
            if self._handshakes.total() >= self._limits.handshakes or self._handshakes[host] >= self._limits.handshakes_per_host:
                accepted.close()
                continue
            self._handshakes[host] += 1
            self._spawn(self._answer(accepted, host))

    async def _answer(self, accepted: socket.socket, host: str) -> None:
        try:
            reader, writer = await self._handshake(accepted)
        except OSError as error:
            self._note_stranger(host, error)
            return
        finally:
            self._handshakes[host] -= 1
            if not self._handshakes[host]:
                del self._handshakes[host]
        try:
            peer = self._peer_at(writer)
        except PeerUnknown as error:
            self._note_stranger(host, error)
            await _end(writer)
            return
        with suppress(OSError):
            await self._talk(peer, reader, writer)

    def _note_stranger(self, host: str, error: Exception) -> None:
        """At most one line in `stranger_note_s`: whoever knocks must not fill the disk."""
        if _now_s() >= self._quiet_until_s:
            self._quiet_until_s = _now_s() + self._limits.stranger_note_s
            log.info("a stranger at %s: %s", host, error)

    async def _handshake(self, accepted: socket.socket) -> tuple[StreamReader, StreamWriter]:
        loop = asyncio.get_running_loop()
        reader = StreamReader(limit=READ_BYTES, loop=loop)
        protocol = StreamReaderProtocol(reader, loop=loop)
        try:
            transport, _ = await loop.connect_accepted_socket(
                lambda: protocol, accepted, ssl=self._listening_tls, ssl_handshake_timeout=self._limits.handshake_s
            )
        except BaseException:
            accepted.close()
            raise
        return reader, StreamWriter(transport, protocol, reader, loop)

    def _peer_at(self, writer: StreamWriter) -> Peer:
        """The node that dialed, `PeerUnknown` when that is not one that should dial us."""
        index = self._certificates.index_of(_presented(writer))
        if index >= self.index:
            raise PeerUnknown("the node with the lower index dials", index=index)
        return self._peers[index]

    # Both

    async def _talk(self, peer: Peer, reader: StreamReader, writer: StreamWriter) -> None:
        """One connection from handshake to end. OSError when it broke."""
        connection = Connection(
            peer.index,
            reader,
            writer,
            methods=self._methods,
            deliver=self._deliver,
            blame=lambda fault: self.blame(peer.index, fault),
            limits=self._limits.connection,
        )
        try:
            if self._certificates.index_of(_presented(writer)) != peer.index:
                raise PeerUnknown("another node answers there", expected=peer.index)
            if peer.book.banned_for_s(_now_s()):
                return
            await connection.greet(self._hello)
            self._adopt(peer, connection)
            await connection.run()
        except PeerUnknown as error:
            log.warning("dialing node %d: %s", peer.index, error)
        except PeerFault as fault:
            self.blame(peer.index, fault, WHOLE_FAULT)
        except OSError:
            raise
        except Exception:
            log.exception("link to node %d", peer.index)
        finally:
            if peer.connection is connection:
                peer.connection = None
                log.info("node %d: link down", peer.index)
            await _end(writer)

    def _adopt(self, peer: Peer, connection: Connection) -> None:
        if peer.connection is not None:
            peer.connection.close()
        peer.connection, peer.since_ms = connection, self._clock.now_ms()
        log.info("node %d: link up", peer.index)
        for greeter in self._greeters:
            greeter(peer.index)

    async def _deliver(self, peer: int, frame: Frame) -> None:
        if frame.kind == FrameKind.CONSENSUS:
            await self._inbox.put(peer, frame.payload)
            return
        gossiped = decode_gossip(frame.payload)
        if not self._transactions.is_full(peer) and self._first_seen(gossiped.raw):
            await self._transactions.put(peer, gossiped)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a task of the links ended", exc_info=error)


def _presented(writer: StreamWriter) -> bytes | None:
    tls: ssl.SSLObject = writer.get_extra_info("ssl_object")
    return tls.getpeercert(binary_form=True)


async def _end(writer: StreamWriter) -> None:
    """Drops what is unsent: whoever needed it asks again."""
    writer.transport.abort()
    with suppress(OSError):
        await writer.wait_closed()


def _now_s() -> float:
    return asyncio.get_running_loop().time()
