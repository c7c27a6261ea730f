"""Contact cards that owners publish: the newest for each feed, for authors whose own has died.

    cards   feed address -> SignedCard

A card is public to whoever knows the feed's address, and that takes an earlier card. Only compartments on chain have any, as many as
they have feeds. Publishing one also binds the feed to its compartment (`places.py`).
"""

from __future__ import annotations

from hce.foundation.codec.dagcbor import decode_as, encode
from hce.foundation.crypto.sign import verify
from hce.foundation.store.kv import Reader, WriteTxn
from hce.service.mailbox import places
from hce.service.mailbox.errors import BadSignature, CardOlder, CardOutsideDates
from hce.service.mailbox.final import FinalState
from hce.service.mailbox.quotas import Bounds
from hce.service.mailbox.rules import Here, require_chain
from hce.service.terms.grants import CARD_LIFE_MS, CLOCK_SKEW_MS, SignedCard, card_message, feed_address
from hce.service.terms.mailbox import Ownership

CARDS = "cards"
TABLES = (CARDS,)


def check(final: FinalState, signed: SignedCard, here: Here) -> None:
    """Alive, and signed by the current owner. Raises `WrongChain`, `CardOutsideDates`, `BadSignature`, `NotCurrentOwner`."""
    card = signed.card
    require_chain(card.chain, here)
    if not card.issued_ms - CLOCK_SKEW_MS <= here.now_ms < card.expires_ms <= card.issued_ms + CARD_LIFE_MS:
        raise CardOutsideDates(now_ms=here.now_ms, issued_ms=card.issued_ms, expires_ms=card.expires_ms)
    if not verify(card.owner_key, card_message(card), signed.signature):
        raise BadSignature(kind="card")
    places.require_current(final.health, Ownership(card.compartment_id, card.owner_key))


def put(batch: WriteTxn, signed: SignedCard, bounds: Bounds) -> None:
    """Keep it in place of an older one; the same again changes nothing. Raises `CardOlder`, and as `places.bind`."""
    card = signed.card
    address = feed_address(card.feed_read_key, card.owner_key)
    kept = get(batch, address)
    if kept is not None and kept != signed and kept.card.issued_ms >= card.issued_ms:
        raise CardOlder(kept_ms=kept.card.issued_ms, issued_ms=card.issued_ms)
    places.bind(batch, address, card.compartment_id, bounds)
    batch.put(CARDS, address, encode(signed))


def get(tables: Reader, address: bytes) -> SignedCard | None:
    raw = tables.get(CARDS, address)
    return None if raw is None else decode_as(SignedCard, raw)


def in_force(final: FinalState, signed: SignedCard, now_ms: int) -> bool:
    """Still alive, its owner key still the compartment's."""
    return now_ms < signed.card.expires_ms and places.is_current(final.health, signed.card.compartment_id, signed.card.owner_key)
