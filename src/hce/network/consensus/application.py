"""The small interface through which consensus drives the ledger, shaped like ABCI 2.0.

Order of calls for one height, on one node: `prepare_proposal` (only when it is its turn) or `process_proposal` (any number of
blocks, discarded without trace), `before_precommit` (once a round, and again after a crash), then exactly once `finalize` and
`commit`. After a crash these two come again for every height above `height`.
"""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

from hce.foundation.types.blocks import LedgerBlock, LedgerHeader
from hce.foundation.types.scalars import Address, Cid, Epoch, Height, TimeMs


class BlockContext(Struct, frozen=True):
    """What execution may know of its block. Never a round: the same block may become final in any of several."""

    height: Height
    epoch: Epoch
    time_ms: TimeMs
    proposer: Address
    """Operator of proposer(h, r0): the author, who earns the reward. Not whoever re-proposed it."""
    parent: Cid
    """Block id of height - 1."""


class Application(Protocol):
    """The ledger, or a counter in tests. Deterministic: equal context and lists give an equal header on every machine."""

    @property
    def height(self) -> Height:
        """Last height whose `commit` is durable."""
        ...

    def prepare_proposal(self, context: BlockContext) -> LedgerBlock:
        """A block from the pool, executed. The proposer does not call `process_proposal` on it again."""
        ...

    def check_lists(self, block: LedgerBlock) -> None:
        """`Refused` unless the lists are the ones the ledger header names by its roots. Cheap, executes nothing, needs no state.

        With it a block id has exactly one body: whatever a peer sends beside a voted header is compared before it is kept.
        """
        ...

    def process_proposal(self, context: BlockContext, block: LedgerBlock) -> None:
        """Executes and compares; `Refused` when the block is not what execution gives. Changes nothing durable."""
        ...

    def before_precommit(self, block_id: Cid, block: LedgerBlock) -> None:
        """Returns only when every revocation in the block is fsynced by the keyholders; the precommit is signed after that."""
        ...

    def finalize(self, context: BlockContext, block: LedgerBlock) -> LedgerHeader:
        """Executes for good; the runtime compares the header with the one that was voted on and stops when they differ."""
        ...

    def commit(self, height: Height) -> None:
        """Makes the finalized height durable, atomically."""
        ...
