"""Earlier keys of a compartment, kept for its owner at the nodes (`docs/formats.md`, section Handovers).

A rotation gives a compartment new keys; what was written before lies in feeds of the keys before, sealed to them. Whoever owns the
compartment now keeps those keys here, sealed to the root key of today, under an address that follows from the keys of today: so the words
alone find the compartment and everything in it. Which owner keys there were stands open beside, for grantees follow the same feeds.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from hce.foundation.codec.dagcbor import encode
from hce.foundation.crypto.sign import signing_bytes
from hce.foundation.types.scalars import MAX_SAFE_INT, Bytes32, ChainId, PublicKey, Signature, TimeMs
from hce.service.terms.grants import log_address

MAX_EARLIER = 16
"""Rotations a compartment's keys are followed through."""
MAX_SEALED_BYTES = 4096
"""16 seeds take about 2,400 bytes, sealed."""

ReadingEpoch = Annotated[int, Meta(ge=0, le=MAX_SAFE_INT)]


class EarlierOwner(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """An owner key of before and the reading epochs it wrote its feeds in. Epochs go on over a rotation, so one number names one feed."""

    owner_key: PublicKey
    first_epoch: ReadingEpoch
    last_epoch: ReadingEpoch


class EarlierSeed(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What all keys of an `EarlierOwner` follow from."""

    seed: Annotated[bytes, Meta(min_length=32, max_length=64)]
    index: Annotated[int, Meta(ge=0, le=MAX_SAFE_INT)]

    def __repr__(self) -> str:
        """Never the seed."""
        return f"EarlierSeed(index={self.index})"


EarlierOwners = Annotated[list[EarlierOwner], Meta(min_length=1, max_length=MAX_EARLIER)]
EarlierSeeds = Annotated[list[EarlierSeed], Meta(min_length=1, max_length=MAX_EARLIER)]
SealedSeeds = Annotated[bytes, Meta(max_length=MAX_SEALED_BYTES)]


class Handover(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    chain: ChainId
    compartment_id: Bytes32
    owner_key: PublicKey
    """Of today, or of the rotation that is about to come; it signs."""
    log_read_key: PublicKey
    earlier: EarlierOwners
    """Oldest first, without a gap between their epochs."""
    sealed: SealedSeeds
    """`EarlierSeeds` of the same owners in the same order, for the root key of today."""
    issued_ms: TimeMs


class Sponsor(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Whose the compartment is while the handover's owner key is not in force yet."""

    owner_key: PublicKey
    signature: Signature
    """Over the same bytes."""


class SignedHandover(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    handover: Handover
    signature: Signature
    sponsor: Sponsor | None
    """Given where the handover is kept before the rotation it is for, so that the new words lead somewhere from the first block."""


def handover_message(handover: Handover) -> bytes:
    return signing_bytes("handover", handover.chain, handover)


def handover_info(chain: bytes, compartment_id: bytes) -> bytes:
    """HPKE info of the sealed seeds."""
    return encode(["hce/handover-seal/1", chain, compartment_id])


def handover_address(handover: Handover) -> bytes:
    """Where it is kept: that of the owner's log."""
    return log_address(handover.log_read_key, handover.owner_key)
