"""All keys of one compartment, from the seed alone, and the contact card and write token its owner signs.

    seed --owner--------> Ed25519   signs cards, tokens, grants; H(public) is on chain
         --recovery-----> Ed25519   replaces the owner key
         --root---------> X-Wing    opens the owner's lock of every session
         --reading,e----> 32 bytes  the reading seed of epoch e, handed to grantees: X-Wing key, and --feed,e--> Ed25519
         --log----------> X-Wing    opens the receipts of releases
         --log-read-----> Ed25519   fetches them
         --revoke,nonce-> Ed25519   one per grant: revokes it

A grantee holds a reading seed and nothing above it: he opens lock A and reads the feed of that epoch, no other.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cached_property
from typing import TypeAlias

from hce.foundation.crypto.derive import derive_seed
from hce.foundation.crypto.seal import OpeningKey
from hce.foundation.crypto.secret import SecretBytes
from hce.foundation.crypto.sign import SigningKey, verify
from hce.service.terms import payloads
from hce.service.terms.grants import (
    CARD_LIFE_MS,
    CLOCK_SKEW_MS,
    ContactCard,
    SignedCard,
    SignedToken,
    WriteToken,
    card_message,
    feed_address,
    log_address,
    token_message,
)
from hce.service.terms.payloads import CompartmentOpen
from hce.service.vault.errors import CardInvalid, TokenInvalid

Random: TypeAlias = Callable[[int], bytes]
"""n -> n random bytes. `os.urandom` except where vectors are made."""
SYSTEM_RANDOM: Random = os.urandom


class CompartmentKeys:
    """Keys of the compartment number `index` of a seed, derived when first asked for. Does not print them."""

    def __init__(self, seed: SecretBytes, index: int, opened_as: bytes | None = None) -> None:
        """`opened_as`: id of the compartment, where it was opened with other keys and a rotation has since put these in their place."""
        if index < 0:
            raise ValueError("compartments count from 0")
        self._seed = seed
        self.index = index
        self._opened_as = opened_as

    def compartment_id(self, chain: bytes) -> bytes:
        return self._opened_as or payloads.compartment_id(chain, CompartmentOpen(self.owner_digest, self.recovery_digest))

    @property
    def owner_digest(self) -> bytes:
        return payloads.owner_digest(self.owner.public)

    @property
    def recovery_digest(self) -> bytes:
        """On chain like the owner's: the recovery key shows itself only when it is used."""
        return payloads.owner_digest(self.recovery.public)

    @cached_property
    def owner(self) -> SigningKey:
        return self._signing_key("owner")

    @cached_property
    def recovery(self) -> SigningKey:
        return self._signing_key("recovery")

    @cached_property
    def root(self) -> OpeningKey:
        return self._opening_key("root")

    @cached_property
    def log(self) -> OpeningKey:
        return self._opening_key("log")

    @cached_property
    def log_read(self) -> SigningKey:
        return self._signing_key("log-read")

    def reading_seed(self, epoch: int) -> SecretBytes:
        """What a grantee receives for this epoch."""
        return self._derive("reading", epoch)

    def reading(self, epoch: int) -> OpeningKey:
        return reading_key_of(self.reading_seed(epoch))

    def feed(self, epoch: int) -> SigningKey:
        return feed_key_of(self.reading_seed(epoch), epoch)

    def revoke(self, grant_nonce: bytes) -> SigningKey:
        return SigningKey(self._derive("revoke", grant_nonce).reveal())

    def feed_address(self, epoch: int) -> bytes:
        return feed_address(self.feed(epoch).public, self.owner.public)

    @property
    def log_address(self) -> bytes:
        return log_address(self.log_read.public, self.owner.public)

    def __repr__(self) -> str:
        return f"CompartmentKeys(index={self.index}, owner={self.owner.public.hex()[:8]}…)"

    def _derive(self, use: str, *path: int | bytes) -> SecretBytes:
        return derive_seed(self._seed, "compartment/" + use, self.index, *path)

    def _signing_key(self, use: str) -> SigningKey:
        return SigningKey(self._derive(use).reveal())

    def _opening_key(self, use: str) -> OpeningKey:
        return OpeningKey.from_seed(self._derive(use).reveal())


def reading_key_of(reading_seed: SecretBytes) -> OpeningKey:
    """The key lock A is made for."""
    return OpeningKey.from_seed(reading_seed.reveal())


def feed_key_of(reading_seed: SecretBytes, epoch: int) -> SigningKey:
    """The key that reads the epoch's feed: grantees derive it too, without knowing the compartment's index."""
    return SigningKey(derive_seed(reading_seed, "compartment/feed", epoch).reveal())


def make_card(keys: CompartmentKeys, chain: bytes, version: int, reading_epoch: int, now_ms: int) -> SignedCard:
    """A card valid from now for 30 days; `version` is the compartment's version on chain."""
    card = ContactCard(
        chain=chain,
        compartment_id=keys.compartment_id(chain),
        version=version,
        owner_key=keys.owner.public,
        reading_epoch=reading_epoch,
        reading_key=keys.reading(reading_epoch).public,
        root_key=keys.root.public,
        feed_read_key=keys.feed(reading_epoch).public,
        issued_ms=now_ms,
        expires_ms=now_ms + CARD_LIFE_MS,
    )
    return SignedCard(card, keys.owner.sign(card_message(card)))


def verify_card(signed: SignedCard, chain: bytes, now_ms: int, expected_owner_digest: bytes) -> ContactCard:
    """The card, when its owner signed it and it is alive; raises `CardInvalid`.

    `expected_owner_digest` is the compartment's on the final chain: only the chain knows which key is in force.
    """
    card = signed.card
    if card.chain != chain:
        raise CardInvalid("another chain", expected=chain.hex(), actual=card.chain.hex())
    digest = payloads.owner_digest(card.owner_key)
    if digest != expected_owner_digest:
        raise CardInvalid("not the compartment's owner key", compartment_id=card.compartment_id.hex())
    if not verify(card.owner_key, card_message(card), signed.signature):
        raise CardInvalid("signature", compartment_id=card.compartment_id.hex())
    if card.expires_ms - card.issued_ms > CARD_LIFE_MS:
        raise CardInvalid("lives too long", expires_ms=card.expires_ms, max_ms=CARD_LIFE_MS)
    if not card.issued_ms - CLOCK_SKEW_MS <= now_ms < card.expires_ms:
        raise CardInvalid("outside its dates", now_ms=now_ms, expires_ms=card.expires_ms)
    return card


def make_token(keys: CompartmentKeys, chain: bytes, org_id: bytes, reading_epoch: int, serial: int, expires_ms: int) -> SignedToken:
    """Lets an organisation write to the feed of one epoch; the owner revokes it by its serial."""
    token = WriteToken(keys.compartment_id(chain), org_id, keys.feed_address(reading_epoch), serial, expires_ms)
    return SignedToken(token, keys.owner.public, keys.feed(reading_epoch).public, keys.owner.sign(token_message(chain, token)))


def verify_token(signed: SignedToken, chain: bytes, org_id: bytes, card: ContactCard, now_ms: int) -> WriteToken:
    """The token, when the card's owner gave it to this organisation for the card's feed; raises `TokenInvalid`."""
    token = signed.token
    if (signed.owner_key, signed.feed_read_key) != (card.owner_key, card.feed_read_key):
        raise TokenInvalid("another owner or feed than the card's", serial=token.serial)
    if token.feed != feed_address(signed.feed_read_key, signed.owner_key):
        raise TokenInvalid("address does not follow from its keys", serial=token.serial)
    if token.compartment_id != card.compartment_id:
        raise TokenInvalid("another compartment than the card's", serial=token.serial)
    if token.org_id != org_id:
        raise TokenInvalid("another organisation", expected=org_id.hex(), actual=token.org_id.hex())
    if now_ms >= token.expires_ms:
        raise TokenInvalid("expired", expires_ms=token.expires_ms)
    if not verify(signed.owner_key, token_message(chain, token), signed.signature):
        raise TokenInvalid("signature", serial=token.serial)
    return token
