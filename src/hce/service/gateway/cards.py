"""Contact cards that owners publish at the nodes, as an author finds them: by the feed's address, with the owner's signature."""

from __future__ import annotations

from contextlib import suppress

from hce.foundation.types.clock import Clock
from hce.service.sdk.mail import SLOW_S
from hce.service.sdk.network import Network
from hce.service.terms.grants import SignedCard, feed_address
from hce.service.vault.compartments import verify_card
from hce.service.vault.errors import CardInvalid

Feed = tuple[bytes, bytes, bytes]
"""Whose feed: compartment_id, owner_key, feed_read_key."""


def feed_of(signed: SignedCard) -> Feed:
    card = signed.card
    return card.compartment_id, card.owner_key, card.feed_read_key


async def published_card(network: Network, clock: Clock, feed: Feed, owner_digest: bytes) -> SignedCard | None:
    """The newest card of this feed that any node has; None when no node has a valid one."""
    _, owner_key, feed_read_key = feed
    place = feed_address(feed_read_key, owner_key)
    answers = await network.every_node(lambda node: node.card(place), SLOW_S)
    valid: list[SignedCard] = []
    for signed in answers:
        if isinstance(signed, SignedCard) and feed_of(signed) == feed:
            with suppress(CardInvalid):
                verify_card(signed, network.chain, clock.now_ms(), owner_digest)
                valid.append(signed)
    return max(valid, key=lambda signed: signed.card.issued_ms, default=None)
