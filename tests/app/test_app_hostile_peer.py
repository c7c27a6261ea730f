"""A node of the network turns on the others, with its own good keys: real processes bear it in bounded memory and go on making blocks."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path
from random import Random

import httpx
import pytest
from tests.app.hostile import Process
from tests.fuzz.borders import BY_NAME, attacked
from tests.fuzz.shapes import value_of

from hce.app.devnet import run
from hce.app.devnet.home import Home
from hce.app.lifeline import SUPERVISED
from hce.app.preflight import free_ports
from hce.foundation.codec.dagcbor import encode
from hce.foundation.crypto.sign import SigningKey
from hce.foundation.types.blocks import Vote
from hce.network.consensus.messages import Proposal, Status, Votes, encode_message, vote_signing_bytes
from hce.network.link.certificates import NodeCertificates, tls_contexts
from hce.network.link.frames import BOUNDS_BYTES, MAX_FRAGMENT_BYTES, FrameDecoder, FrameKind, encode_frame, fragment_head
from hce.network.link.messages import (
    LINK_VERSION,
    ErrorAnswer,
    Gossiped,
    Hello,
    Request,
    Response,
    decode_request,
    encode_gossip,
    encode_request,
    encode_response,
)
from hce.service.terms.genesis import Params, genesis_cid

NODES, LIAR = 4, 0
START_S, BLOCK_MS = 60.0, 200
SOAK = "HCE_SOAK" in os.environ
ATTACK_S = 20.0 if SOAK else 1.0
"""How long each attack lasts, on all three others at once; a ban may end it sooner."""
GROWTH_BYTES = 160 << 20
"""Most that RssAnon of a node may grow under one lying peer: what links hold of one peer (`link/frames.py`, `link/inbox.py`) and one
message being decoded."""

Line = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Besieged:
    """Nodes 1 to 3 as processes; node 0's keys are ours."""

    def __init__(self, root: Path, stack: ExitStack) -> None:
        self.home = Home(root)
        run.create(self.home, free_ports(run.port_count(NODES)), NODES, Params(block_interval_ms=BLOCK_MS))
        self.genesis = self.home.genesis()
        self.key = SigningKey(self.home.node_keys(LIAR).consensus)
        certificates = NodeCertificates([node.link_certificate for node in self.genesis.nodes])
        self._tls = tls_contexts(certificates, LIAR, self.home.node_keys(LIAR).link)[0]
        self.victims = [self._start(index, stack) for index in range(NODES) if index != LIAR]

    def _start(self, index: int, stack: ExitStack) -> Process:
        plan = run.plans(self.home)[0][index]
        log = self.home.root / f"node-{index}.log"
        with log.open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "hce.app.cli", *plan.arguments],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                env=os.environ | {SUPERVISED: "1"},
            )
        stack.callback(process.communicate)
        stack.callback(process.kill)
        return Process(plan.url, process.pid, log, {})

    def height(self) -> int:
        with httpx.Client(trust_env=False, timeout=60) as http:
            return min(int(http.get(one.url + "/v1/status").json()["height"]) for one in self.victims)

    def wait_for(self, height: int) -> None:
        deadline = time.monotonic() + START_S
        while True:
            with suppress(httpx.HTTPError):
                if self.height() >= height:
                    return
            assert time.monotonic() < deadline, [one.log.read_text()[-2_000:] for one in self.victims]
            time.sleep(0.1)

    @asynccontextmanager
    async def line(self, victim: int) -> AsyncIterator[Line]:
        """A greeted connection to one of them, made again while it keeps us out."""
        host, port = self.home.link_addresses()[victim]
        hello = Hello(LINK_VERSION, self.genesis.chain, genesis_cid(self.genesis), LIAR)
        while True:
            with suppress(OSError):
                reader, writer = await asyncio.open_connection(host, port, ssl=self._tls)
                writer.write(encode_frame(FrameKind.HELLO, encode(hello)))
                if await reader.read(1):
                    break
                writer.transport.abort()
            await asyncio.sleep(0.1)
        try:
            yield reader, writer
        finally:
            writer.transport.abort()


@pytest.fixture(scope="module")
def besieged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Besieged]:
    with ExitStack() as stack:
        made = Besieged(tmp_path_factory.mktemp("besieged") / "home", stack)
        made.wait_for(2)
        yield made


Said = Callable[[Besieged, Random], bytes]
"""The next thing the liar says."""


def consensus_junk(besieged: Besieged, rng: Random) -> bytes:
    return encode_frame(FrameKind.CONSENSUS, attacked(BY_NAME["consensus message"], rng) or b"x")


def votes(besieged: Besieged, rng: Random) -> bytes:
    """Signed, for blocks that are not, in rounds far apart, thirty at a time."""
    listed, height = [], rng.randint(1, 200)
    for _ in range(30):
        fields = (rng.choice((1, 2)), 0, height, rng.choice((0, 1, 5, 2**31)), b"\x01\x71\x12\x20" + rng.randbytes(32))
        listed.append(Vote(*fields, LIAR, besieged.key.sign(vote_signing_bytes(besieged.genesis.chain, *fields))))
    return encode_frame(FrameKind.CONSENSUS, encode_message(Votes(listed)))


def large_proposals(besieged: Besieged, rng: Random) -> bytes:
    body = value_of(Proposal, rng)
    body[0], body[6][3][1] = rng.randint(1, 300), [bytes(60_000)] * 60
    return encode_frame(FrameKind.CONSENSUS, encode([1, body]))


def statuses(besieged: Besieged, rng: Random) -> bytes:
    """Asks for everything, from everywhere."""
    return encode_frame(FrameKind.CONSENSUS, encode_message(Status(rng.randint(0, 300)))) + encode_frame(
        FrameKind.CONSENSUS, encode([6, [rng.randint(1, 3)]])
    )


def junk_transactions(besieged: Besieged, rng: Random) -> bytes:
    raw = rng.choice((rng.randbytes(200_000), b"\x82" + rng.randbytes(3_000), BY_NAME["value fields"].seed(rng), rng.randbytes(1)))
    return encode_frame(FrameKind.TRANSACTION, encode_gossip(Gossiped(raw, rng.randint(0, 2**32 - 1))))


def questions(besieged: Besieged, rng: Random) -> bytes:
    """Good ones and wrong ones, more than anybody answers; the answers are not read."""
    name = rng.choice([border for border in BY_NAME if border.startswith("peer asks")])
    body = BY_NAME[name].seed(rng) if rng.random() < 0.9 else rng.randbytes(30)
    return encode_frame(FrameKind.REQUEST, encode_request(Request(rng.randint(1, 2**31), name.removeprefix("peer asks "), body)))


def unfinished(besieged: Besieged, rng: Random) -> bytes:
    """As much of a message of each kind as its bound allows, and never its end."""
    full = bytes(MAX_FRAGMENT_BYTES)
    return b"".join(
        (fragment_head(kind, MAX_FRAGMENT_BYTES, more=True) + full) * (bound // MAX_FRAGMENT_BYTES)
        for kind, bound in BOUNDS_BYTES.items()
        if bound > MAX_FRAGMENT_BYTES
    )


def wrong_answers(besieged: Besieged, rng: Random) -> bytes:
    """To questions nobody asked."""
    outcome = rng.choice((rng.randbytes(300_000), ErrorAnswer("x", "y" * 200), b"\x9a\x00\x10\x00\x00" + b"\x80" * 0x100000))
    return encode_frame(FrameKind.RESPONSE, encode_response(Response(rng.randint(0, 9), outcome)))


SAYINGS: list[Said] = [  # the first four also in `make test`
    *(consensus_junk, large_proposals, junk_transactions, unfinished),
    *(votes, statuses, questions, wrong_answers),
]


async def say(besieged: Besieged, victim: int, said: Said, seconds: float) -> None:
    """On one line after another, until the time is over. Nothing that comes back is read."""
    rng = Random(victim)
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while True:
                with suppress(OSError):
                    async with besieged.line(victim) as (_, writer):
                        while not writer.transport.is_closing():
                            writer.write(said(besieged, rng))
                            await writer.drain()
                            await asyncio.sleep(0)


async def answer_wrongly(besieged: Besieged, victim: int, seconds: float) -> None:
    """Pings are answered as they should be, questions with bombs of the right type and of none."""
    rng, decoder = Random(victim), FrameDecoder({**BOUNDS_BYTES, FrameKind.HELLO: 256})
    with suppress(TimeoutError, OSError):
        async with asyncio.timeout(seconds), besieged.line(victim) as (reader, writer):
            await reader.readexactly(3 + 0)  # the rest of the head of its hello; the first byte told us that we are in
            await reader.read(200)
            while data := await reader.read(65_536):
                decoder.feed(data)
                while (frame := decoder.next()) is not None:
                    if frame.kind == FrameKind.PING:
                        writer.write(encode_frame(FrameKind.PONG, frame.payload))
                    if frame.kind == FrameKind.REQUEST:
                        bomb = rng.choice((b"", b"\x9a\x00\x06\x00\x00" + b"\x80" * 0x60000, rng.randbytes(8 << 20)))
                        writer.write(
                            encode_frame(FrameKind.RESPONSE, encode_response(Response(decode_request(frame.payload).id, bomb)))
                        )
                await writer.drain()


def survives(besieged: Besieged, attack: Callable[[int], Awaitable[None]]) -> int:
    """Runs it against all three; the most that one of them grew. They go on making blocks and have nothing to be ashamed of."""
    began, before = besieged.height(), [one.rss_anon_bytes() for one in besieged.victims]
    most = [0] * len(before)

    async def watched() -> None:
        attacks = [asyncio.create_task(attack(index)) for index in range(NODES) if index != LIAR]
        while not all(task.done() for task in attacks):
            for place, one in enumerate(besieged.victims):
                most[place] = max(most[place], one.rss_anon_bytes() - before[place])
            await asyncio.sleep(0.05)
        for task in attacks:
            task.result()

    asyncio.run(watched())
    besieged.wait_for(began + 3)
    assert all(one.is_alive() and one.said_wrong() == [] for one in besieged.victims)
    return max(most)


@pytest.mark.parametrize("said", SAYINGS if SOAK else SAYINGS[:4], ids=lambda said: said.__name__)
def test_a_peer_that_floods_and_does_not_listen_is_borne(besieged: Besieged, said: Said) -> None:
    assert survives(besieged, lambda victim: say(besieged, victim, said, ATTACK_S)) < GROWTH_BYTES


def test_a_peer_that_answers_with_bombs_is_borne(besieged: Besieged) -> None:
    assert survives(besieged, lambda victim: answer_wrongly(besieged, victim, ATTACK_S)) < GROWTH_BYTES
