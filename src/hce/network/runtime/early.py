"""Messages of the next height that overtook the decision of this one. Bounded per peer: one proposal and a few votes."""

from __future__ import annotations

from hce.network.consensus.messages import Proposal, Votes

MAX_EARLY_VOTE_MESSAGES = 8
"""Vote messages of one peer for the next height; a node that lags further behind asks for whole blocks."""


class EarlyMessages:
    """Kept until the height starts, then handed over once."""

    def __init__(self) -> None:
        self._proposals: dict[int, Proposal] = {}
        self._votes: dict[int, list[Votes]] = {}

    def keep(self, peer: int, message: Proposal | Votes) -> None:
        """Beyond the bound the newest is dropped; its sender shares it again."""
        if isinstance(message, Proposal):
            self._proposals.setdefault(peer, message)
        elif len(votes := self._votes.setdefault(peer, [])) < MAX_EARLY_VOTE_MESSAGES:
            votes.append(message)

    def take(self) -> list[tuple[int, Proposal | Votes]]:
        """Everything, proposals first; the keeper is empty afterwards."""
        taken: list[tuple[int, Proposal | Votes]] = [*self._proposals.items()]
        taken += [(peer, message) for peer, messages in self._votes.items() for message in messages]
        self._proposals, self._votes = {}, {}
        return taken
