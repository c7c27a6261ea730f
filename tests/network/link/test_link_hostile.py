"""What strangers and misbehaving nodes can do to a link: be told no, cheaply, while the others go on."""

from __future__ import annotations

import asyncio
import datetime
import socket
import ssl
from contextlib import suppress

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from msgspec.structs import replace
from tests.network.link.mesh import (
    CHAIN,
    GENESIS,
    MADE_MS,
    QUICK,
    certificates,
    connected,
    faults,
    lax_contexts,
    limits,
    make_link,
    mesh,
    open_tls,
    seed,
    until,
)

from hce.app.preflight import free_ports
from hce.foundation.codec.dagcbor import encode
from hce.foundation.crypto.sign import SigningKey
from hce.foundation.types.errors import Malformed, NotFound
from hce.network.link.calls import CallLimits
from hce.network.link.certificates import link_key_of, make_certificate, require_keys
from hce.network.link.connection import MIB
from hce.network.link.errors import CertificateMismatch, LinkDown, RequestFailed
from hce.network.link.frames import MAX_FRAGMENT_BYTES, FrameKind, encode_frame, fragment_head
from hce.network.link.messages import LINK_VERSION, Hello, Request, encode_request
from hce.network.link.outbox import LaneLimits

HELLO = Hello(LINK_VERSION, CHAIN, GENESIS, 0)


def hello(**changed: object) -> bytes:
    return encode_frame(FrameKind.HELLO, encode(replace(HELLO, **changed)))


def signed_by(issuer_seed: bytes, issuer: bytes, subject_seed: bytes) -> bytes:
    """A certificate that a node's key signed for somebody else."""
    name = x509.load_der_x509_certificate(issuer).subject
    until_when = datetime.datetime(2100, 1, 1, tzinfo=datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "guest")]))
        .issuer_name(name)
        .public_key(Ed25519PrivateKey.from_private_bytes(subject_seed).public_key())
        .serial_number(77)
        .not_valid_before(datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC))
        .not_valid_after(until_when)
    )
    return builder.sign(Ed25519PrivateKey.from_private_bytes(issuer_seed), None).public_bytes(Encoding.DER)


STRANGER = b"s" * 32
STRANGERS = {
    "a stranger": (make_certificate(STRANGER, CHAIN, 8, MADE_MS), STRANGER),
    "a stranger under a node's name": (make_certificate(STRANGER, CHAIN, 0, MADE_MS), STRANGER),
    "another certificate of a node's own key": (make_certificate(seed(0), CHAIN, 0, MADE_MS + 1_000), seed(0)),
    "one that a node signed": (signed_by(seed(0), certificates(2)[0], STRANGER), STRANGER),
}


async def refused(port: int, context: ssl.SSLContext) -> None:
    """The other side ends it, in the handshake or right after."""
    with suppress(OSError):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        try:
            writer.write(hello())
            assert await reader.read() == b"", "not even a hello for a stranger"
        finally:
            writer.transport.abort()


@pytest.mark.parametrize("who", STRANGERS)
async def test_only_the_exact_certificates_of_the_genesis_are_let_in(who):
    ports = free_ports(2)
    async with make_link(1, 2, ports) as node:
        await refused(ports[1], lax_contexts(*STRANGERS[who])[0])
        assert connected(node) == []
        async with make_link(0, 2, ports) as honest:
            await until(lambda: (connected(node), connected(honest)) == ([0], [1]))


@pytest.mark.parametrize("who", STRANGERS)
async def test_only_the_exact_certificate_is_believed_when_dialing(who):
    """Somebody else answers at node 1's address."""
    ports = free_ports(2)
    _, listening = lax_contexts(*STRANGERS[who])
    heard: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read(1))
        writer.transport.abort()

    server = await asyncio.start_server(answer, "127.0.0.1", ports[1], ssl=listening)
    async with server, make_link(0, 2, ports) as node:
        await asyncio.sleep(0.3)
        assert connected(node) == []
    assert not any(heard), "nothing was said to it"


async def test_a_client_without_certificate_is_refused():
    ports = free_ports(2)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    async with make_link(1, 2, ports) as node:
        await refused(ports[1], context)
        assert connected(node) == []


async def test_older_tls_is_refused():
    ports = free_ports(2)
    context, _ = lax_contexts(certificates(2)[0], seed(0))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    async with make_link(1, 2, ports):
        with pytest.raises(OSError):  # an alert or a reset, as OpenSSL likes
            await asyncio.open_connection("127.0.0.1", ports[1], ssl=context)


async def test_a_certificate_that_is_not_valid_now_is_refused():
    tomorrow_ms = int(datetime.datetime.now(datetime.UTC).timestamp() * 1_000) + 3 * 24 * 3_600_000
    early = [make_certificate(seed(index), CHAIN, index, tomorrow_ms) for index in range(2)]
    ports = free_ports(2)
    async with make_link(1, 2, ports, certificates=early) as node, make_link(0, 2, ports, certificates=early):
        await refused(ports[1], lax_contexts(early[0], seed(0))[0])
        assert connected(node) == []


async def test_the_node_with_the_higher_index_does_not_dial():
    ports = free_ports(3)
    async with make_link(1, 3, ports) as node:
        reader, writer = await open_tls(ports[1], 2, 3)
        with suppress(OSError):
            assert await reader.read() == b""
        writer.transport.abort()
        assert connected(node) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"version": 2},
        {"chain": bytes(16)},
        {"genesis": b"\x01\x71\x12\x20" + bytes(32)},
        {"index": 1},
    ],
    ids=["version", "chain", "genesis", "index"],
)
async def test_a_hello_that_does_not_fit_ends_the_connection(wrong):
    await said_first(hello(**wrong))


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        encode_frame(FrameKind.HELLO, b"\xff\xff"),
        encode_frame(FrameKind.CONSENSUS, b"vote"),
        fragment_head(FrameKind.HELLO, 257, more=False),
    ],
    ids=["http", "unreadable hello", "no hello", "long hello"],
)
async def test_garbage_instead_of_hello_ends_the_connection(garbage):
    await said_first(garbage)


@pytest.mark.parametrize(
    "garbage",
    [
        hello(),
        fragment_head(FrameKind.CONSENSUS, MAX_FRAGMENT_BYTES + 1, more=True),
        fragment_head(FrameKind.PING, 9, more=False),
        fragment_head(FrameKind.CONSENSUS, 0, more=True),
        b"\x7f\x00\x00\x01x",
        encode_frame(FrameKind.REQUEST, b"\x00\x00"),
        encode_frame(FrameKind.RESPONSE, b"\x00\x00\x00\x01\x07"),
        encode_frame(FrameKind.TRANSACTION, b"\x00\x00\x00\x01"),
    ],
    ids=["hello twice", "huge", "long ping", "empty", "kind", "request", "response", "transaction"],
)
async def test_a_broken_frame_after_hello_ends_the_connection_and_is_counted(garbage):
    await said_first(hello() + garbage)


async def said_first(said: bytes) -> None:
    """Node 0, with its real key, says this; it is cut off, kept away for a while, and may come back with manners."""
    ports = free_ports(2)
    async with make_link(1, 2, ports) as node:
        reader, writer = await open_tls(ports[1], 0, 2)
        writer.write(said)
        with suppress(OSError):
            while await reader.read(1 << 16):
                pass
        writer.transport.abort()
        await until(lambda: faults(node, 0) == 1)
        assert connected(node) == []
        async with make_link(0, 2, ports):
            await asyncio.sleep(0.05)
            assert connected(node) == [], "not while the ban lasts"
            await until(lambda: connected(node) == [0])


async def test_a_peer_that_says_nothing_is_let_go():
    ports = free_ports(2)
    async with make_link(1, 2, ports) as node:
        _, writer = await open_tls(ports[1], 0, 2)
        await until(lambda: faults(node, 0) == 1)
        writer.transport.abort()
        assert connected(node) == []


async def test_a_peer_that_is_switched_off_is_noticed():
    """Its machine is gone: nothing ends the connection, nothing answers any more."""
    ports = free_ports(2)
    async with make_link(1, 2, ports) as node:
        _, writer = await open_tls(ports[1], 0, 2)
        writer.write(hello())
        await until(lambda: connected(node) == [0])
        await until(lambda: connected(node) == [])
        writer.transport.abort()


async def test_a_peer_that_sends_a_byte_now_and_then_is_let_go():
    """Slow loris with the right certificate: bytes are no progress, whole fragments are."""
    ports = free_ports(2)
    async with make_link(1, 2, ports) as node:
        _, writer = await open_tls(ports[1], 0, 2)
        writer.write(hello() + fragment_head(FrameKind.CONSENSUS, 1_000, more=False))
        await until(lambda: connected(node) == [0])
        with suppress(OSError):
            while connected(node):
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.01)
        writer.transport.abort()
        assert faults(node, 0) == 1


async def test_a_peer_that_asks_and_never_reads_pins_little_and_is_let_go():
    """Its answers are finished long before the socket takes them."""
    ports, answer = free_ports(2), bytes(4 * MIB)
    pinned: list[int] = []
    hasty = limits(drain_s=0.5, ping_s=3_600, call=CallLimits(waiting_bytes=16 * MIB), calls=LaneLimits(128, 16 * MIB))

    async def large(peer: int, body: bytes) -> bytes:
        pinned.append(node._peers[0].connection.calls._waiting_bytes)
        return answer

    async with make_link(1, 2, ports, limits=hasty) as node:
        node.serve("large", large)
        _, writer = await open_tls(ports[1], 0, 2)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)  # else it takes megabytes
        writer.write(hello())
        await until(lambda: connected(node) == [0])
        for number in range(1_000):
            writer.write(encode_frame(FrameKind.REQUEST, encode_request(Request(number, "large", b""))))
        await until(lambda: connected(node) == [])
        assert faults(node, 0) == 1
        assert len(pinned) > 8, "all asked at once"
        assert max(pinned) <= 16 * MIB, "beyond the budget they were told that we are busy"
        writer.transport.abort()


async def test_a_peer_that_talks_and_never_listens_is_let_go():
    """It reads nothing, so no ping of ours is answered, however much it says itself."""
    ports = free_ports(2)
    async with make_link(1, 2, ports, limits=limits(unheard_pings=5)) as node:
        _, writer = await open_tls(ports[1], 0, 2)
        writer.write(hello())
        await until(lambda: connected(node) == [0])
        with suppress(OSError):
            while connected(node):
                writer.write(encode_frame(FrameKind.PING, b"12345678"))
                await writer.drain()
                await asyncio.sleep(0.01)
        writer.transport.abort()
        assert faults(node, 0) == 1


async def test_a_peer_that_answers_pings_stays():
    async with mesh(2, limits=limits(unheard_pings=5)) as links:
        await asyncio.sleep(0.6)
        assert connected(links[0]) == [1]
        assert faults(links[0], 1) == 0


async def test_handshakes_that_never_end_keep_nobody_out():
    """Slow loris without certificate: more of them than there are places from this host, and none lasts."""
    ports = free_ports(2)
    few = replace(QUICK, handshakes=4, handshakes_per_host=4, handshake_s=0.2)
    async with make_link(1, 2, ports, limits=few) as node:
        silent = [await asyncio.open_connection("127.0.0.1", ports[1]) for _ in range(12)]
        async with make_link(0, 2, ports):
            await until(lambda: connected(node) == [0])
        for _, writer in silent:
            writer.transport.abort()


async def test_garbage_instead_of_a_handshake_harms_nobody():
    async with mesh(2) as links:
        host, port = "127.0.0.1", links[1]._addresses[1][1]
        for garbage in (b"\x00" * 100, b"\x16\x03\x01" + b"\xff" * 200, b"GET / HTTP/1.1\r\n\r\n"):
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(garbage)
            with suppress(OSError):
                await asyncio.wait_for(reader.read(), 2)
            writer.transport.abort()
        links[0].send(1, b"still here")
        assert await links[1].receive() == (0, b"still here")


async def test_a_flood_is_read_at_its_rate_and_others_are_heard_meanwhile():
    ports = free_ports(3)
    slow = limits(consensus_per_s=50, consensus_burst=20)
    async with make_link(2, 3, ports, limits=slow) as node, make_link(1, 3, ports):
        await until(lambda: connected(node) == [1])
        _, writer = await open_tls(ports[2], 0, 3)
        writer.write(hello() + encode_frame(FrameKind.CONSENSUS, b"flood") * 5_000)
        await until(lambda: connected(node) == [0, 1])
        began = asyncio.get_running_loop().time()
        for _ in range(40):
            await node.receive()
        assert asyncio.get_running_loop().time() - began > 0.2, "twenty at once, twenty more at fifty a second"
        writer.transport.abort()


async def test_faults_reported_from_above_add_up_to_a_disconnect():
    async with mesh(2) as links:
        for _ in range(11):  # ten, and one for what was forgiven meanwhile
            assert connected(links[1]) == [0]
            links[1].blame(0, CertificateMismatch("for example"))
        await until(lambda: connected(links[1]) == [])
        await until(lambda: connected(links[1]) == [0])
        assert faults(links[1], 0) == 11


@pytest.mark.parametrize("method", ["unreadable", "long"])
async def test_requests_that_no_node_sends_add_up_to_a_disconnect(method):
    read: list[bytes] = []

    async def unreadable(peer: int, body: bytes) -> bytes:
        read.append(body)
        raise Malformed("for example")

    async with mesh(2) as links:
        links[1].serve("unreadable", unreadable, max_request_bytes=100)
        links[1].serve("long", unreadable, max_request_bytes=1)
        for _ in range(11):  # ten, and one for what was forgiven meanwhile
            with suppress(RequestFailed, LinkDown):
                await links[0].request(1, method, b"xx", 10)
        await until(lambda: connected(links[1]) == [])
        assert faults(links[1], 0) >= 10
        assert bool(read) == (method == "unreadable"), "what is too long is not even looked at"


async def test_a_request_for_what_is_not_there_is_nobodys_fault():
    async def absent(peer: int, body: bytes) -> bytes:
        raise NotFound("blob")

    async with mesh(2) as links:
        links[1].serve("absent", absent)
        for _ in range(30):
            with pytest.raises(RequestFailed):
                await links[0].request(1, "absent", b"", 10)
        assert faults(links[1], 0) == 0


async def test_the_newest_connection_of_a_peer_counts():
    """A peer whose machine was switched off comes back before we noticed that it was gone."""
    ports = free_ports(2)
    async with make_link(1, 2, ports, limits=limits(ping_s=3_600)) as node:
        _, old = await open_tls(ports[1], 0, 2)
        old.write(hello())
        await until(lambda: connected(node) == [0])
        reader, new = await open_tls(ports[1], 0, 2)
        new.write(hello())
        with suppress(OSError):
            while await asyncio.wait_for(reader.readexactly(1), 0.3):
                pass
        new.write(encode_frame(FrameKind.CONSENSUS, b"from the new one"))
        assert await node.receive() == (0, b"from the new one")
        old.transport.abort()
        new.transport.abort()


def test_a_certificate_is_made_for_the_key_and_twice_alike():
    made = make_certificate(seed(3), CHAIN, 3, MADE_MS)
    assert made == make_certificate(seed(3), CHAIN, 3, MADE_MS)
    assert link_key_of(made) == SigningKey(seed(3)).public
    require_keys([made], [SigningKey(seed(3)).public])
    for wrong in (made[:-1], b""):
        with pytest.raises(CertificateMismatch):
            require_keys([wrong], [SigningKey(seed(3)).public])
    with pytest.raises(CertificateMismatch):
        require_keys([made], [SigningKey(seed(4)).public])
