"""What the API serves from: the parts of a running node, wired by `app/node.py`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from msgspec import Struct

from hce.foundation.types.blocks import Block, Commit
from hce.foundation.types.scalars import Height
from hce.network.hcefs.fs import HceFs
from hce.network.link.peers import PeerStatus
from hce.service.api.finality import Finality
from hce.service.api.meters import NodeMeters
from hce.service.intake.service import Intake
from hce.service.keyholders.service import Keyholder
from hce.service.ledger.ledger import Ledger
from hce.service.mailbox.service import Mailbox
from hce.service.terms.genesis import Genesis
from hce.service.terms.identity import Identity


class FinalBlock(Protocol):
    """A final block as the block log hands it out; genesis has no commit."""

    @property
    def block(self) -> Block: ...

    @property
    def commit(self) -> Commit | None: ...


Worker = Callable[..., Awaitable[Any]]
"""`await worker(function, *arguments)`: runs it off the loop that drives consensus."""


class NodeServices(Struct, frozen=True):
    """Handed to every handler."""

    genesis: Genesis
    node_index: int
    identify: Callable[[bytes], Identity]
    """Signs which node this is, for a client's nonce."""
    ledger: Ledger
    final_block: Callable[[Height], FinalBlock]
    final_height: Callable[[], Height]
    """Of the newest block this node has and has executed."""
    finality: Finality
    mailbox: Mailbox
    intake: Intake
    keyholder: Keyholder
    files: HceFs
    worker: Worker
    started_ms: int
    uptime_s: Callable[[], float]
    gossip: Callable[[bytes], None]
    """Passes a transaction that was taken here on to the other nodes."""
    peers: Callable[[], list[PeerStatus]]
    """How the links to the other nodes stand."""
    syncing: Callable[[], bool]
    """Whether a peer proved a height final that this node does not have."""
    voting: Callable[[], bool]
    """Whether this node signs; one that was restored from a backup only watches at first."""
    meters: NodeMeters
    disk_bytes: Callable[[], dict[str, int]]
    """Bytes on disk, by part of the node's folder. Looks at the disk."""
    free_bytes: Callable[[], int]
    """Room left on that disk."""
