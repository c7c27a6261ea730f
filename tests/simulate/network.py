"""n nodes on virtual time, driven from one seed: loss, reorder, duplication, delay, partitions, crashes, liars.

A Byzantine node is a pair of twins: two honest drivers with one key and two disks that do not know of each other. Each talks to a
random half of the others, so they propose and vote for different blocks in the same round, in every way that the code itself can.
In a partition the twins serve one side each: the strongest attack on agreement.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from tests.simulate.world import (
    CHAIN,
    AuditedKey,
    CounterApp,
    Fuse,
    Killed,
    NodeDisk,
    VirtualTime,
    VirtualTimer,
    genesis_block,
    make_nodes,
    signing_key,
)

from hce.foundation.types.blocks import Block, Commit
from hce.foundation.types.errors import HceError
from hce.network.consensus.messages import block_id_of
from hce.network.runtime.blocklog import BlockLog
from hce.network.runtime.driver import Driver
from hce.network.runtime.pace import Pace
from hce.network.runtime.signstate import SignState

PACE = Pace(
    block_interval_ms=200, propose_timeout_ms=300, vote_timeout_ms=150, timeout_step_ms=100, rebroadcast_ms=400, timely_ms=2_000
)


@dataclass
class Weather:
    """What happens to a message on its way."""

    loss: float = 0.0
    duplication: float = 0.0
    min_delay_ms: int = 1
    max_delay_ms: int = 10
    groups: list[set[int]] = field(default_factory=list)
    """Partition: only members of one group hear each other. Empty: all do."""

    def connects(self, sender: int, receiver: int) -> bool:
        return not self.groups or any(sender in group and receiver in group for group in self.groups)


class TwinSignState(SignState):
    """Of a key that signs in two places and does not mind."""

    def require_known(self, height: int, round: int) -> None:
        """Nothing is required."""


class Endpoint:
    """One machine: a disk, and a driver while it is up."""

    def __init__(self, network: SimulatedNetwork, index: int, twin: str = "") -> None:
        """An index beyond the node list makes a follower: it has no key and signs nothing."""
        self.network = network
        self.index = index
        self.twin = twin
        self.disk = NodeDisk(index)
        self.signed: dict[tuple[object, ...], object] = {}
        self.skew_ms = network.rng.randint(-20, 20)
        self.driver: Driver | None = None
        self.app: CounterApp | None = None
        self.blamed: list[tuple[int, HceError]] = []
        self.final: list[tuple[Block, Commit]] = []
        self.sent: list[bytes] = []

    # What the driver is handed

    def now_ms(self) -> int:
        return self.network.time.now_ms() + self.skew_ms

    def call_later(self, delay_ms: int, callback) -> VirtualTimer:
        return self.network.time.call_later(delay_ms, lambda: self.guard(callback))

    def broadcast(self, message: bytes) -> None:
        self.sent.append(message)
        self.network.broadcast(self, message)

    def send(self, peer: int, message: bytes) -> None:
        for other in self.network.endpoints:
            if other.index == peer:
                self.network.post(self, other, message)

    def blame(self, peer: int, fault: HceError) -> None:
        self.blamed.append((peer, fault))

    # Life

    def boot(self) -> None:
        nodes = self.network.nodes
        key = signing_key(self.index) if self.twin else AuditedKey(self.index, self.signed)

        def start() -> None:
            self.app = CounterApp(nodes, self.disk.app, self.twin.encode())
            votes = self.index < len(nodes)
            self.driver = Driver(
                chain=CHAIN,
                nodes=nodes,
                my_index=self.index if votes else None,
                key=key if votes else None,
                app=self.app,
                blocklog=BlockLog(self.disk.log, genesis_block(nodes)),
                signstate=self.sign_state() if votes else None,
                clock=self,
                timers=self,
                network=self,
                pace=self.network.pace,
                on_final=lambda block, commit: self.final.append((block, commit)),
            )
            self.driver.start()

        self.guard(start)

    def crash(self) -> None:
        if self.driver is not None:
            self.driver.stop()
        self.driver = None
        self.disk.crash(self.network.rng)
        self.disk.fuse.kill_at = None

    def crash_and_restart(self, after_ms: int) -> None:
        self.crash()
        self.network.time.call_later(after_ms, self.boot_if_down)

    def boot_if_down(self) -> None:
        if self.driver is None:
            self.boot()

    def guard(self, call) -> None:
        try:
            call()
        except Killed:
            self.crash_and_restart(self.network.rng.randint(50, 500))

    def arm(self, flushes_from_now: int, after: bool) -> None:
        """kill -9 at a coming flush: between sign state and signature, between log and application, ..."""
        fuse: Fuse = self.disk.fuse
        fuse.kill_at, fuse.after = fuse.count + flushes_from_now, after

    @property
    def height(self) -> int:
        return len(self.disk.log) - 1

    def sign_state(self) -> SignState:
        """What is on the disk now."""
        kind = TwinSignState if self.twin else SignState
        return kind(self.disk.sign_records, self.disk.kept_blocks, CHAIN, signing_key(self.index).public)

    def chain(self) -> list[Block]:
        log = BlockLog(self.disk.log, genesis_block(self.network.nodes))
        return [log.read(height).block for height in range(log.height + 1)]

    def commits(self) -> list[Commit]:
        log = BlockLog(self.disk.log, genesis_block(self.network.nodes))
        return [log.read(height).commit for height in range(1, log.height + 1)]


class SimulatedNetwork:
    """All endpoints and the weather between them."""

    def __init__(self, seed: int, n: int, *, byzantine: int = 0, dead: set[int] = frozenset(), pace: Pace = PACE) -> None:
        self.seed = seed
        self.rng = random.Random(seed)
        self.time = VirtualTime()
        self.nodes = make_nodes(n)
        self.pace = pace
        self.weather = Weather()
        self.liars = set(self.rng.sample(sorted(set(range(n)) - dead), byzantine))
        self.endpoints = [Endpoint(self, index) for index in range(n) if index not in self.liars | dead]
        self.honest = list(self.endpoints)
        self.endpoints += [Endpoint(self, index, twin) for index in sorted(self.liars) for twin in ("a", "b")]

    def add_follower(self) -> Endpoint:
        follower = Endpoint(self, len(self.nodes))
        self.endpoints.append(follower)
        self.honest.append(follower)
        return follower

    def boot(self) -> None:
        for endpoint in self.endpoints:
            endpoint.boot()

    def broadcast(self, sender: Endpoint, message: bytes) -> None:
        for receiver in self.endpoints:
            if receiver.index != sender.index and self.talks_to(sender, receiver):
                self.post(sender, receiver, message)

    def talks_to(self, sender: Endpoint, receiver: Endpoint) -> bool:
        if not sender.twin:
            return True
        if self.weather.groups:
            return receiver.index in self.weather.groups[sender.twin == "b"]
        return self.rng.random() < 0.5

    def post(self, sender: Endpoint, receiver: Endpoint, message: bytes) -> None:
        w = self.weather
        copies = 2 if self.rng.random() < w.duplication else 1
        for _ in range(copies):
            if w.connects(sender.index, receiver.index) and self.rng.random() >= w.loss:
                delay_ms = self.rng.randint(w.min_delay_ms, w.max_delay_ms)
                self.time.call_later(delay_ms, lambda: self.deliver(sender.index, receiver, message))

    def deliver(self, peer: int, receiver: Endpoint, message: bytes) -> None:
        if receiver.driver is not None:
            receiver.guard(lambda: receiver.driver.on_message(peer, message))

    # What is claimed

    def run_to(self, height: int, limit_ms: int) -> None:
        """Every honest node reaches the height within the time; the seed is in the message when not."""
        reached = self.time.run_until(lambda: min(e.height for e in self.honest) >= height, limit_ms)
        assert reached, f"seed {self.seed}: stuck at {[self.describe(e) for e in self.honest]}, wanted {height}"

    def describe(self, endpoint: Endpoint) -> str:
        if endpoint.driver is None:
            return f"{endpoint.index} down at {endpoint.height}"
        s = endpoint.driver.state
        return f"{endpoint.index}@{s.height}/{s.round}/{s.step.name} lock {s.lock.locked_round} valid {s.lock.valid_round}"

    def check_agreement(self) -> None:
        """One block id a height among honest nodes, and nobody honest was blamed by an honest node."""
        ids: dict[int, bytes] = {}
        for endpoint in self.honest:
            for block in endpoint.chain():
                block_id = block_id_of(block.header)
                assert ids.setdefault(block.header.height, block_id) == block_id, f"seed {self.seed}: fork at {block.header.height}"
        honest = {endpoint.index for endpoint in self.honest}
        blamed = [(e.index, peer, fault) for e in self.honest for peer, fault in e.blamed if peer in honest]
        assert not blamed, f"seed {self.seed}: {blamed[:3]}"
