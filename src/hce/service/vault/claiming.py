"""The card with which somebody takes over the account a hospital kept for them.

    code        18 characters of secret (90 bits) and 2 of checksum, in fours of five: 7Q2MK-XJ0A9-TTB4H-C5WE8
    card key    Ed25519 of derive_seed(the 18 characters, "claim-card")

The hospital keeps the public half. The code is printed once and never sent: a claim is signed with the key it makes. Characters are
Crockford's base32, so that no two of them look alike; O is read as 0, I and L as 1, and case, spaces and hyphens do not matter.
"""

from __future__ import annotations

from collections.abc import Sequence

from hce.foundation.crypto.derive import derive_seed
from hce.foundation.crypto.hashing import digest
from hce.foundation.crypto.secret import SecretBytes
from hce.foundation.crypto.sign import SigningKey, verify
from hce.foundation.types.errors import Malformed
from hce.service.terms.claims import Claim, ClaimAnswer, SignedClaim, claim_message
from hce.service.terms.handovers import EarlierOwner, EarlierSeed
from hce.service.vault.compartments import SYSTEM_RANDOM, CompartmentKeys, Random
from hce.service.vault.errors import ClaimInvalid
from hce.service.vault.handovers import seal_earlier

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
SECRET_CHARS = 18
"""90 bits: nobody finds a card by trying, not even with its public key at hand."""
CHECK_CHARS = 2
"""A slip of the hand is noticed 1,023 times of 1,024, before anybody is asked."""
GROUP_CHARS = 5
_READ_AS = str.maketrans({"O": "0", "I": "1", "L": "1"})


class CodeUnreadable(Malformed):
    """Not a code as it stands on a card: mistyped, or cut."""

    code = "claim.code_unreadable"


def new_code(random: Random = SYSTEM_RANDOM) -> str:
    """A fresh code as it is printed."""
    number = int.from_bytes(random(16), "big")
    secret = "".join(ALPHABET[number >> 5 * place & 31] for place in range(SECRET_CHARS))
    whole = secret + _check_of(secret)
    return "-".join(whole[start : start + GROUP_CHARS] for start in range(0, len(whole), GROUP_CHARS))


def card_key(code: str) -> SigningKey:
    """The key of a card, from the code as somebody typed it. Raises `CodeUnreadable`."""
    plain = "".join(character for character in code.upper() if character not in "- \t\n").translate(_READ_AS)
    secret, check = plain[:SECRET_CHARS], plain[SECRET_CHARS:]
    if len(secret) != SECRET_CHARS or not set(plain) <= set(ALPHABET) or check != _check_of(secret):
        raise CodeUnreadable
    return SigningKey(derive_seed(SecretBytes(secret.encode()), "claim-card").reveal())


def make_claim(keys: CompartmentKeys, card: SigningKey, chain: bytes, org_id: bytes) -> SignedClaim:
    """Asks an organisation to put these keys in the place of its own."""
    claim = Claim(chain, org_id, card.public, keys.owner.public, keys.recovery_digest, keys.root.public)
    message = claim_message(claim)
    return SignedClaim(claim, card.sign(message), keys.owner.sign(message))


def verify_claim(signed: SignedClaim, chain: bytes, org_id: bytes) -> Claim:
    """The claim, when it is for this organisation and both keys signed it; raises `ClaimInvalid`."""
    claim = signed.claim
    if claim.chain != chain:
        raise ClaimInvalid("another chain")
    if claim.org_id != org_id:
        raise ClaimInvalid("another organisation", expected=org_id.hex(), actual=claim.org_id.hex())
    message = claim_message(claim)
    if not verify(claim.card_key, message, signed.card_signature) or not verify(claim.owner_key, message, signed.owner_signature):
        raise ClaimInvalid("signature")
    return claim


def answer_claim(claim: Claim, compartment_id: bytes, seeds: Sequence[EarlierSeed], owners: Sequence[EarlierOwner]) -> ClaimAnswer:
    """The keys of before, for the claimant alone."""
    return ClaimAnswer(compartment_id, list(owners), seal_earlier(claim.root_key, claim.chain, compartment_id, seeds))


def _check_of(secret: str) -> str:
    number = int.from_bytes(digest("hce/claim-code/1", secret)[:2], "big")
    return "".join(ALPHABET[number >> 5 * place & 31] for place in range(CHECK_CHARS))
