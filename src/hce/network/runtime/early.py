"""Messages of the next height that overtook the decision of this one. Bounded per peer: one proposal and a few votes.

They are kept as they came: a message is decoded when its height has come, and so at most once for each place.
"""

from __future__ import annotations

from hce.network.consensus.prefix import MessageKind

MAX_EARLY = {MessageKind.PROPOSAL: 1, MessageKind.VOTES: 8}
"""Messages of one peer for the next height; a node that lags further behind asks for whole blocks."""


class EarlyMessages:
    """Kept until the height starts, then handed over once."""

    def __init__(self) -> None:
        self._kept: dict[MessageKind, dict[int, list[bytes]]] = {kind: {} for kind in MAX_EARLY}

    def keep(self, peer: int, kind: MessageKind, raw: bytes) -> bool:
        """Beyond the bound the newest is dropped, which the answer tells; its sender shares it again."""
        kept = self._kept[kind].setdefault(peer, [])
        if len(kept) >= MAX_EARLY[kind]:
            return False
        kept.append(raw)
        return True

    def take(self) -> list[tuple[int, bytes]]:
        """Everything, proposals first; the keeper is empty afterwards."""
        by_peer = [item for kept in self._kept.values() for item in kept.items()]
        self._kept = {kind: {} for kind in MAX_EARLY}
        return [(peer, raw) for peer, raws in by_peer for raw in raws]
