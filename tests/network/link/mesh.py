"""Nodes with real certificates on real loopback sockets, and hostile ones beside them."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from hashlib import sha256
from typing import Any

from msgspec.structs import replace

from hce.app.preflight import free_ports
from hce.foundation.codec.cid import cid_of_dag_cbor
from hce.foundation.types.clock import SystemClock
from hce.network.link.bounds import Backoff, BlameLimits
from hce.network.link.certificates import NodeCertificates, make_certificate, tls_contexts
from hce.network.link.connection import ConnectionLimits
from hce.network.link.link import Link, LinkLimits

CHAIN = bytes(range(16))
GENESIS = cid_of_dag_cbor(b"genesis")
MADE_MS = 1_700_000_000_000
LIMIT_S = 20
"""Only a hang reaches this."""
QUICK = LinkLimits(
    connection=ConnectionLimits(hello_s=0.5, ping_s=0.05),
    backoff=Backoff(first_s=0.02, most_s=0.1),
    blame=BlameLimits(first_ban_s=0.3, most_ban_s=0.3),
    handshake_s=0.5,
)


def seed(index: int) -> bytes:
    return sha256(b"link %d" % index).digest()


def certificates(n: int) -> list[bytes]:
    return [make_certificate(seed(index), CHAIN, index, MADE_MS) for index in range(n)]


def make_link(index: int, n: int, ports: list[int], **changed: Any) -> Link:
    settings: dict[str, Any] = {
        "chain": CHAIN,
        "genesis": GENESIS,
        "index": index,
        "certificates": certificates(n),
        "link_seed": seed(index),
        "addresses": [("127.0.0.1", port) for port in ports],
        "clock": SystemClock(),
        "chance": lambda: 0.5,
        "limits": QUICK,
    }
    return Link(**settings | changed)


@asynccontextmanager
async def mesh(n: int, **changed: Any) -> AsyncIterator[list[Link]]:
    """n nodes, all connected."""
    ports = free_ports(n)
    async with AsyncExitStack() as stack:
        links = [await stack.enter_async_context(make_link(index, n, ports, **changed)) for index in range(n)]
        await until(lambda: all(status.connected for link in links for status in link.peers()))
        yield links


async def until(holds: Callable[[], bool]) -> None:
    """Waits until something is so; a test that hangs here has failed."""
    async with asyncio.timeout(LIMIT_S):
        while not holds():  # noqa: ASYNC110  # what is waited for is seen from outside only
            await asyncio.sleep(0.005)


def connected(link: Link) -> list[int]:
    return [status.index for status in link.peers() if status.connected]


def faults(link: Link, peer: int) -> int:
    return next(status.faults for status in link.peers() if status.index == peer)


def limits(**changed: Any) -> LinkLimits:
    """The quick ones, with other bounds for each connection."""
    return replace(QUICK, connection=replace(QUICK.connection, **changed))


async def open_tls(port: int, index: int, n: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection with the right certificate of this node, and nothing said yet."""
    dialing, _ = tls_contexts(NodeCertificates(certificates(n)), index, seed(index))
    return await asyncio.open_connection("127.0.0.1", port, ssl=dialing)


def lax_contexts(certificate: bytes, link_seed: bytes) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """TLS of a stranger, for dialing and listening: shows this certificate and accepts whatever the other side shows."""
    contexts = tls_contexts(NodeCertificates([certificate]), 0, link_seed)
    for context in contexts:
        context.verify_mode = ssl.CERT_NONE
    return contexts
