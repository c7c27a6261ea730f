"""Claiming a custodial account with a card (`docs/formats.md`, section Claims; `docs/adr/0014-claim-by-rotation.md`).

The card is a signing key: what stands on it is the secret that makes the key, and it never leaves the claimant's device.
"""

from __future__ import annotations

from msgspec import Struct

from hce.foundation.crypto.sign import signing_bytes
from hce.foundation.types.scalars import Bytes32, ChainId, Digest, PublicKey, SealKey, Signature
from hce.service.terms.grants import SignedCard, SignedToken
from hce.service.terms.handovers import EarlierOwners, SealedSeeds, SignedHandover


class Claim(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What the holder of a card asks the organisation for: that its keys make room for these."""

    chain: ChainId
    org_id: Bytes32
    """Whose card it is: no other organisation can pass the claim on."""
    card_key: PublicKey
    owner_key: PublicKey
    recovery_digest: Digest
    root_key: SealKey
    """Where the earlier keys are sealed to."""


class SignedClaim(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    claim: Claim
    card_signature: Signature
    owner_signature: Signature
    """Nobody claims for keys that nobody has."""


class ClaimAnswer(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The compartment is the claimant's on chain; these are the keys that open what was written before."""

    compartment_id: Bytes32
    earlier: EarlierOwners
    sealed: SealedSeeds


class ClaimFinish(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The earlier keys are kept at the nodes: the organisation may forget them, and seals to this card from now on."""

    handover: SignedHandover
    card: SignedCard
    token: SignedToken | None
    """With it the organisation writes on without quarantine."""


def claim_message(claim: Claim) -> bytes:
    return signing_bytes("claim", claim.chain, claim)
