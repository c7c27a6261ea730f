"""What the ledger measurement sends, decided by counting alone, so that one seed always means one load.

Of a hundred transactions ten are plain transfers, the others are grants and access entries in turn. An access entry stands under the
grant of `ACCESS_LAG` grants before it: in the same lane of the same payer, so that it never overtakes it, and far enough behind for
nodes that pass transactions on in another order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Literal

from msgspec import Struct

from hce.foundation.crypto.hashing import digest

TRANSFER_PERCENT = 10
ACCESS_LAG = 100
"""Grants between an access entry and the grant it stands under."""
PAYERS = 2
"""Organisations whose tanks pay."""
SENDERS = 64
"""Accounts that send transfers: the pool lets each have 64 waiting."""

Kind = Literal["grant", "access", "transfer"]


class Item(Struct, frozen=True, array_like=True):
    """One transaction to come. `number` counts grants (an access has its grant's) or transfers."""

    kind: Kind
    number: int

    @property
    def payer(self) -> int:
        return self.number % PAYERS

    @property
    def sender(self) -> int:
        return self.number % SENDERS

    @property
    def nonce(self) -> int:
        """Of its sender's account, which has sent nothing before."""
        return self.number // SENDERS

    def node(self, nodes: int) -> int:
        """Where it is submitted: what must keep its order stays at one node."""
        return (self.sender if self.kind == "transfer" else self.number) % nodes


def plan(count: int) -> list[Item]:
    """The first `count` transactions."""
    return list(islice(_all(), count))


def _all() -> Iterator[Item]:
    grants = accesses = transfers = 0
    place = 0
    while True:
        place += 1
        if place * TRANSFER_PERCENT % 100 < TRANSFER_PERCENT:
            yield Item("transfer", transfers)
            transfers += 1
        elif grants - accesses > ACCESS_LAG:
            yield Item("access", accesses)
            accesses += 1
        else:
            yield Item("grant", grants)
            grants += 1


def secret_of(seed: int, what: str, number: int) -> bytes:
    """32 bytes that are always the same for this seed and name. For measurements only: whoever knows the seed knows them."""
    return digest("hce/bench/1", seed, what, number)


def parts(items: Sequence[Item], size: int) -> list[Sequence[Item]]:
    """Consecutive runs of at most `size`."""
    return [items[start : start + size] for start in range(0, len(items), size)]


def due(elapsed_s: float, rate: float) -> int:
    """How many have been offered after that long at that rate."""
    return int(elapsed_s * rate)
