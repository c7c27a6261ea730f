"""What a contract sees besides its transaction: the block it runs in, and the health map through the journal."""

from __future__ import annotations

from msgspec import Struct

from hce.foundation.codec.dagcbor import encode
from hce.foundation.store.journal import HEALTH, Journal
from hce.foundation.types.blocks import Node
from hce.service.terms.genesis import Params
from hce.service.terms.states import HealthReader


class BlockEnv(Struct, frozen=True):
    """The block under execution. Time is the block's, never a clock's."""

    chain: bytes
    height: int
    time_ms: int
    epoch: int
    nodes: list[Node]
    """Set in force at this height; the index in it is the node's index."""
    params: Params


class HealthState(HealthReader):
    """The health map of the block under execution: typed reads that see the writes of this block, and writes."""

    def __init__(self, journal: Journal) -> None:
        super().__init__(lambda key: journal.get(HEALTH, key))
        self._journal = journal

    def put(self, key: bytes, value: Struct | bytes | int) -> None:
        self._journal.put(HEALTH, key, encode(value))

    def delete(self, key: bytes) -> None:
        self._journal.delete(HEALTH, key)

    def has(self, key: bytes) -> bool:
        return self._journal.get(HEALTH, key) is not None
