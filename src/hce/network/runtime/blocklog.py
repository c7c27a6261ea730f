"""Final blocks with their commits, in one append-only log. Record i is height genesis + i; record 0 is the genesis block.

A block and its commit are one record, so a torn write loses both or none. The log is the truth of what is final: the application
replays from it. Whatever reads it may rely on gapless heights and on each block naming its parent.
"""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

from hce.foundation.codec.dagcbor import decode_as, encode
from hce.foundation.types.blocks import Block, Commit
from hce.foundation.types.errors import Bug, NotFound
from hce.foundation.types.scalars import Height
from hce.network.consensus.messages import BOUNDS_BYTES, block_id_of
from hce.network.consensus.prefix import MessageKind
from hce.network.runtime.errors import ChainMismatch

MAX_RECORD_BYTES = BOUNDS_BYTES[MessageKind.FINAL_BLOCK]
"""What can be sent can be stored, and the reverse."""


class Records(Protocol):
    """An append-only log of byte records: `foundation.store.appendlog.AppendLog`, or memory in the simulator."""

    def __len__(self) -> int: ...

    def append(self, record: bytes, sync: bool = True) -> int: ...

    def read(self, index: int) -> bytes: ...


class StoredBlock(Struct, frozen=True, array_like=True):
    """One record."""

    block: Block
    commit: Commit | None
    """None for genesis only."""


class BlockLog:
    """The chain on disk, from genesis to the last final height."""

    def __init__(self, records: Records, genesis: Block) -> None:
        """Writes the genesis into an empty log; `ChainMismatch` when the log began with another one."""
        self._records = records
        self.base_height: Height = genesis.header.height
        if len(records) == 0:
            records.append(encode(StoredBlock(genesis, None)))
        elif self._read_index(0).block != genesis:
            raise ChainMismatch("the log began with another genesis")
        self._head = self._read_index(len(records) - 1)

    @property
    def head(self) -> StoredBlock:
        """The last final block."""
        return self._head

    @property
    def height(self) -> Height:
        """Height of the last final block."""
        return self._head.block.header.height

    def append(self, block: Block, commit: Commit) -> None:
        """Durable on return. The commit was verified by the caller; that it is for this block and the next height is asserted."""
        header, head = block.header, self._head.block.header
        if header.height != head.height + 1 or header.parent != block_id_of(head) or commit.block_id != block_id_of(header):
            raise Bug(f"block {header.height} does not follow block {head.height} of the log")
        stored = StoredBlock(block, commit)
        self._records.append(encode(stored))
        self._head = stored

    def read(self, height: Height) -> StoredBlock:
        """The block of that height; `NotFound` before genesis and above the head."""
        if not self.base_height <= height <= self.height:
            raise NotFound("block", height=height, first=self.base_height, last=self.height)
        return self._head if height == self.height else self._read_index(height - self.base_height)

    def _read_index(self, index: int) -> StoredBlock:
        return decode_as(StoredBlock, self._records.read(index), max_bytes=MAX_RECORD_BYTES)
