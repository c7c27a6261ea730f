"""The parts that a simulated network is made of: virtual time, disks that can be killed, a counter for an application."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256

from hce.foundation.codec.cid import cid_of_raw
from hce.foundation.codec.dagcbor import decode, encode
from hce.foundation.crypto.sign import SigningKey
from hce.foundation.proofs.listhash import list_root
from hce.foundation.types.blocks import RULES_VERSION, Block, ConsensusHeader, HealthHead, LedgerBlock, LedgerHeader, Node
from hce.foundation.types.errors import Refused
from hce.network.consensus.application import BlockContext
from hce.network.consensus.blockrules import nodes_cid
from hce.network.runtime.signstate import first_record

CHAIN = b"simulated chain."
EMPTY_LIST = list_root([])
GENESIS_MS = 1_700_000_000_000


class Killed(BaseException):
    """kill -9 inside a disk call. A BaseException, so that nothing of ours handles it."""


def signing_key(index: int) -> SigningKey:
    return SigningKey(sha256(b"node %d" % index).digest())


def make_nodes(n: int) -> list[Node]:
    return [Node(bytes([index]) * 20, signing_key(index).public, bytes(32), bytes(32)) for index in range(n)]


# Application: a counter


@dataclass
class CounterDisk:
    height: int = 0
    total: int = 0
    headers: list[LedgerHeader] = field(default_factory=list)


class CounterApp:
    """Adds up the lengths of its transactions; the sum is its state root."""

    def __init__(self, nodes: list[Node], disk: CounterDisk, salt: bytes = b"") -> None:
        self._nodes_cid = nodes_cid(nodes)
        self._disk = disk
        self._salt = salt
        self._finalized: CounterDisk | None = None
        self.precommitted: list[bytes] = []
        self.pool: list[bytes] = []

    @property
    def height(self) -> int:
        return self._disk.height

    def prepare_proposal(self, context: BlockContext) -> LedgerBlock:
        txs = [b"%d" % context.height + self._salt, *self.pool]
        return LedgerBlock(self._header(context, txs), txs, [])

    def check_lists(self, block: LedgerBlock) -> None:
        if block.value_txs or block.header.health_head.txs_root != list_root(block.health_txs):
            raise Refused("other lists")

    def process_proposal(self, context: BlockContext, block: LedgerBlock) -> None:
        if block.header != self._header(context, block.health_txs):
            raise Refused("wrong total")

    def before_precommit(self, block_id: bytes, block: LedgerBlock) -> None:
        self.precommitted.append(block_id)

    def finalize(self, context: BlockContext, block: LedgerBlock) -> LedgerHeader:
        if context.height <= self._disk.height:
            return self._disk.headers[context.height - 1]
        assert context.height == self._disk.height + 1
        header = self._header(context, block.health_txs)
        self._finalized = CounterDisk(context.height, self._total(block.health_txs), [*self._disk.headers, header])
        return header

    def commit(self, height: int) -> None:
        if height <= self._disk.height:
            return
        assert self._finalized is not None
        assert self._finalized.height == height
        self._disk.height, self._disk.total = self._finalized.height, self._finalized.total
        self._disk.headers = self._finalized.headers

    def _total(self, txs: list[bytes]) -> int:
        return self._disk.total + sum(len(tx) for tx in txs)

    def _header(self, context: BlockContext, txs: list[bytes]) -> LedgerHeader:
        root = sha256(encode([self._total(txs), context.height, context.time_ms, context.proposer, context.parent])).digest()
        return ledger_header(self._nodes_cid, root, txs_root=list_root(txs))


def ledger_header(
    next_validators: bytes, root: bytes = bytes(32), next_epoch: int = 0, txs_root: bytes = EMPTY_LIST
) -> LedgerHeader:
    head = HealthHead(txs_root, bytes(32), root)
    return LedgerHeader(RULES_VERSION, b"", head, bytes(32), next_epoch, next_validators, bytes(32))


def genesis_block(nodes: list[Node]) -> Block:
    ledger = LedgerBlock(ledger_header(nodes_cid(nodes)), [], [])
    header = ConsensusHeader(RULES_VERSION, CHAIN, 0, 0, 0, 0, GENESIS_MS, None, None, None, cid_of_raw(b""))
    return Block(header, None, [], ledger)


# Disk


@dataclass
class Fuse:
    """Counts flushes and kills at the chosen one, before or after it takes effect."""

    kill_at: int | None = None
    after: bool = False
    count: int = 0

    def flush(self, take_effect: Callable[[], None]) -> None:
        self.count += 1
        if self.count != self.kill_at:
            take_effect()
            return
        if self.after:
            take_effect()
        raise Killed


class MemoryFile:
    """A file that forgets or tears what was not flushed."""

    def __init__(self, fuse: Fuse, initial: bytes = b"") -> None:
        self.fuse = fuse
        self._durable = bytearray(initial)
        self._cached = bytearray(initial)
        self._pending: list[tuple[bytes, int]] = []

    def read(self, size: int, offset: int) -> bytes:
        return bytes(self._cached[offset : offset + size])

    def write(self, data: bytes, offset: int) -> None:
        _write_into(self._cached, data, offset)
        self._pending.append((data, offset))

    def sync(self) -> None:
        self.fuse.flush(self._flush)

    def close(self) -> None:
        """Nothing to do."""

    def crash(self, rng: random.Random) -> None:
        """Of the unflushed writes any part may have reached the disk."""
        for data, offset in self._pending:
            start = rng.randint(0, len(data))
            _write_into(self._durable, data[start : rng.randint(start, len(data))], offset + start)
        self._pending.clear()
        self._cached = bytearray(self._durable)

    def _flush(self) -> None:
        self._durable = bytearray(self._cached)
        self._pending.clear()


def _write_into(target: bytearray, data: bytes, offset: int) -> None:
    target.extend(bytes(max(0, offset + len(data) - len(target))))
    target[offset : offset + len(data)] = data


class MemoryRecords:
    """An append-only log whose last append is there or not."""

    def __init__(self, fuse: Fuse) -> None:
        self.fuse = fuse
        self._records: list[bytes] = []

    def __len__(self) -> int:
        return len(self._records)

    def append(self, record: bytes, sync: bool = True) -> int:
        self.fuse.flush(lambda: self._records.append(record))
        return len(self._records) - 1

    def read(self, index: int) -> bytes:
        return self._records[index]

    def lose(self, count: int) -> None:
        """The disk damaged the newest records; the log was cut there."""
        del self._records[max(1, len(self._records) - count) :]


@dataclass
class NodeDisk:
    """All that survives a crash of one node."""

    index: int
    fuse: Fuse = field(default_factory=Fuse)
    app: CounterDisk = field(default_factory=CounterDisk)

    def __post_init__(self) -> None:
        self.sign_records = MemoryFile(self.fuse, first_record(CHAIN, signing_key(self.index).public))
        self.kept_blocks = MemoryFile(self.fuse)
        self.log = MemoryRecords(self.fuse)

    def crash(self, rng: random.Random) -> None:
        self.sign_records.crash(rng)
        self.kept_blocks.crash(rng)


# Time


class VirtualTimer:
    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None


class VirtualTime:
    """A clock that stands still while code runs and jumps to the next thing due."""

    def __init__(self) -> None:
        self._now_ms = GENESIS_MS
        self._due: list[tuple[int, int, VirtualTimer]] = []
        self._made = 0

    def now_ms(self) -> int:
        return self._now_ms

    def call_later(self, delay_ms: int, callback: Callable[[], None]) -> VirtualTimer:
        timer = VirtualTimer(callback)
        self._made += 1
        heapq.heappush(self._due, (self._now_ms + delay_ms, self._made, timer))
        return timer

    def run_until(self, end: Callable[[], bool], limit_ms: int) -> bool:
        """Runs until `end()` holds (True) or `limit_ms` have passed (False)."""
        stop_ms = self._now_ms + limit_ms
        while not end():
            if not self._due or self._due[0][0] > stop_ms:
                self._now_ms = stop_ms
                return end()
            self._now_ms, _, timer = heapq.heappop(self._due)
            if timer.callback is not None:
                timer.callback()
        return True


# Signatures


class AuditedKey(SigningKey):
    """A key that fails the test as soon as it signs two things that contradict each other."""

    __slots__ = ("_signed",)

    def __init__(self, index: int, signed: dict[tuple[object, ...], object]) -> None:
        super().__init__(sha256(b"node %d" % index).digest())
        self._signed = signed

    def sign(self, message: bytes) -> bytes:
        domain, _chain, *fields = decode(message)
        if domain == "hce/vote/1":
            type_, epoch, height, round_, value = fields
            place = (type_, epoch, height, round_)
        else:
            assert domain == "hce/proposal/1"
            epoch, height, round_, *value = fields
            place = ("proposal", epoch, height, round_)
        assert self._signed.setdefault(place, value) == value, f"signed twice at {place}"
        return super().sign(message)
