"""A node that proposes what it is dealt, and notes what every call of consensus to its ledger cost it.

A dealt block lies as a file in the deals' folder; whichever node proposes next takes it away. It executes the lists once in a ledger
that is thrown away, which gives the header, and then judges the block as all others do: with a ledger that has not seen one of its
transactions. So a lone node measures the same as one of nine.

Notes are lines of JSON, one file for each node, written after the call they tell of.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct

from hce.app.devnet.home import Home
from hce.app.lives import run_node
from hce.foundation.codec.dagcbor import decode_as, encode
from hce.foundation.store.disk import replace_file
from hce.foundation.store.kv import KeyValueStore
from hce.foundation.types.blocks import LedgerBlock, LedgerHeader
from hce.foundation.types.errors import Refused
from hce.foundation.types.scalars import Cid, Height
from hce.network.consensus.application import BlockContext
from hce.service.contracts.value.header import decode_header, encode_header
from hce.service.ledger.ledger import Ledger
from hce.service.terms.genesis import Genesis

Call = Literal["decode", "check", "process", "precommit", "finalize", "commit"]
log = logging.getLogger("hce.bench")

DEAL_SUFFIX = ".deal"
FILE_MODE = 0o600


class Deal(Struct, frozen=True, array_like=True):
    """Lists somebody wants in the next block."""

    health_txs: list[bytes]
    value_txs: list[bytes]
    roots: tuple[bytes, bytes] | None = None
    """Of the two lists, when the rules refuse them: they are then proposed under a header that names them and is wrong otherwise."""

    @property
    def valid(self) -> bool:
        return self.roots is None

    @property
    def name(self) -> str:
        """Of the lists, the same on every node."""
        return name_of(self.health_txs, self.value_txs)


class Note(Struct, frozen=True):
    """What one call cost one node."""

    name: str
    """Of the block's lists."""
    call: Call
    wall_ms: float
    cpu_ms: float
    """Of all threads of the process."""
    refused: str = ""
    """Code, where the call ended with one."""


def name_of(health_txs: list[bytes], value_txs: list[bytes]) -> str:
    found = hashlib.sha256()
    for raw in (*health_txs, *value_txs):
        found.update(raw)
    return found.hexdigest()[:16]


NOTHING = name_of([], [])
"""Of the empty blocks between two that are dealt: nobody asks what they cost."""


def put_deal(folder: Path, deal: Deal) -> None:
    """For whichever node proposes next."""
    folder.mkdir(exist_ok=True)
    replace_file(folder / (deal.name + DEAL_SUFFIX), encode(deal), FILE_MODE)


def take_deal(folder: Path, index: int) -> Deal | None:
    """The dealt block, for this node alone; None without one."""
    for path in folder.glob("*" + DEAL_SUFFIX):
        mine = path.with_suffix(f".taken-{index}")
        try:
            path.rename(mine)
        except FileNotFoundError:  # another node was faster
            continue
        return decode_as(Deal, mine.read_bytes())
    return None


def notes_path(folder: Path, index: int) -> Path:
    return folder / f"notes-{index}.jsonl"


def read_notes(folder: Path, index: int) -> list[Note]:
    """All of a node so far; a line that is still being written is left for later."""
    path = notes_path(folder, index)
    if not path.exists():
        return []
    return [msgspec.json.decode(line, type=Note) for line in path.read_bytes().split(b"\n")[:-1]]


class DealtLedger(Ledger):
    """The product's ledger, watched."""

    def __init__(self, store: KeyValueStore, genesis: Genesis, *, folder: Path, index: int, **others: Any) -> None:
        super().__init__(store, genesis, **others)
        self._folder, self._index = folder, index
        self._make = partial(Ledger, store, genesis, on_revokes=lambda _: None, monotonic_ns=time.monotonic_ns)
        self._final = ""
        self._alone = len(genesis.nodes) == 1

    def prepare_proposal(self, context: BlockContext) -> LedgerBlock:
        usual = super().prepare_proposal(context)
        deal = take_deal(self._folder, self._index)
        if deal is None:
            return usual
        try:
            block = LedgerBlock(self._header(context, deal, usual.header), deal.health_txs, deal.value_txs)
            if deal.valid or self._alone:
                self.process_proposal(context, block)
        except Refused as refusal:
            log.warning("dealt block %s: %s", deal.name, refusal)
            return usual
        return block

    def check_lists(self, block: LedgerBlock) -> None:
        self._noted("check", block, partial(super().check_lists, block))

    def process_proposal(self, context: BlockContext, block: LedgerBlock) -> None:
        raw = encode(block)
        self._noted("decode", block, lambda: decode_as(LedgerBlock, raw, max_bytes=len(raw)))
        self._noted("process", block, partial(super().process_proposal, context, block))

    def before_precommit(self, block_id: Cid, block: LedgerBlock) -> None:
        self._noted("precommit", block, partial(super().before_precommit, block_id, block))

    def finalize(self, context: BlockContext, block: LedgerBlock) -> LedgerHeader:
        self._final = name_of(block.health_txs, block.value_txs)
        header: LedgerHeader = self._noted("finalize", block, partial(super().finalize, context, block))
        return header

    def commit(self, height: Height) -> None:
        self._timed("commit", self._final, partial(super().commit, height))

    def _header(self, context: BlockContext, deal: Deal, usual: LedgerHeader) -> LedgerHeader:
        """What execution gives; for lists that it refuses, the header of a usual block with their roots."""
        if deal.roots is None:
            return self._make().finalize(context, LedgerBlock(usual, deal.health_txs, deal.value_txs))
        health_root, value_root = deal.roots
        value_head = msgspec.structs.replace(decode_header(usual.value_head), transactions_root=value_root)
        health_head = msgspec.structs.replace(usual.health_head, txs_root=health_root)
        return msgspec.structs.replace(usual, value_head=encode_header(value_head), health_head=health_head)

    def _noted(self, call: Call, block: LedgerBlock, work: Callable[[], Any]) -> Any:
        return self._timed(call, name_of(block.health_txs, block.value_txs), work)

    def _timed(self, call: Call, name: str, work: Callable[[], Any]) -> Any:
        if name == NOTHING:
            return work()
        wall_ns, cpu_ns, refused = time.perf_counter_ns(), time.process_time_ns(), ""
        try:
            return work()
        except Refused as refusal:
            refused = refusal.code
            raise
        finally:
            wall_ms, cpu_ms = (time.perf_counter_ns() - wall_ns) / 1e6, (time.process_time_ns() - cpu_ns) / 1e6
            note = {"name": name, "call": call, "wall_ms": wall_ms, "cpu_ms": cpu_ms, "refused": refused}
            with notes_path(self._folder, self._index).open("a") as notes:
                notes.write(json.dumps(note) + "\n")


async def run_dealt_node(home: Home, index: int, port: int, folder: Path) -> None:
    """The product's node with a watched ledger."""
    await run_node(home, index, port, partial(DealtLedger, folder=folder, index=index))
