"""Earlier keys of a compartment: sealed for whoever owns it now, and opened again with nothing but the keys of now.

What opens is compared before it is used: each seed makes the owner key that stands open beside it, and the oldest one makes the very
compartment, whose id binds the keys it was opened with.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from hce.foundation.codec.dagcbor import decode_as, encode
from hce.foundation.crypto.errors import SealBroken
from hce.foundation.crypto.seal import OpeningKey
from hce.foundation.crypto.seal import seal as seal_to
from hce.foundation.crypto.secret import SecretBytes
from hce.foundation.crypto.sign import SigningKey, verify
from hce.foundation.types.errors import Malformed
from hce.service.terms.grants import MAX_EPOCH_KEYS
from hce.service.terms.handovers import (
    MAX_EARLIER,
    EarlierOwner,
    EarlierSeed,
    EarlierSeeds,
    Handover,
    SignedHandover,
    Sponsor,
    handover_info,
    handover_message,
)
from hce.service.vault.compartments import CompartmentKeys
from hce.service.vault.errors import HandoverInvalid


class EarlierKeys(Struct, frozen=True):
    """Keys a compartment had before, and the reading epochs they wrote feeds in."""

    keys: CompartmentKeys
    first_epoch: int
    last_epoch: int
    seed: EarlierSeed
    """For the next rotation, which hands them on."""

    @property
    def public(self) -> EarlierOwner:
        return EarlierOwner(self.keys.owner.public, self.first_epoch, self.last_epoch)


def first_own_epoch(earlier: Sequence[EarlierOwner]) -> int:
    """Reading epochs go on where the keys before left off."""
    return earlier[-1].last_epoch + 1 if earlier else 0


def seal_earlier(root_key: bytes, chain: bytes, compartment_id: bytes, seeds: Sequence[EarlierSeed]) -> bytes:
    """For the owner of the root key alone. Raises `BadSealKey`."""
    return seal_to(root_key, handover_info(chain, compartment_id), encode(list(seeds)))


def open_earlier(
    root: OpeningKey, chain: bytes, compartment_id: bytes, earlier: Sequence[EarlierOwner], sealed: bytes
) -> list[EarlierKeys]:
    """The keys of before, oldest first. Raises `HandoverInvalid` unless they are the named owners' and made this compartment."""
    try:
        seeds = decode_as(EarlierSeeds, root.open(handover_info(chain, compartment_id), sealed))
    except (SealBroken, Malformed) as error:
        raise HandoverInvalid(error.code, compartment_id=compartment_id.hex()) from error
    if len(seeds) != len(earlier):
        raise HandoverInvalid("not one seed for each owner", compartment_id=compartment_id.hex())
    _require_epochs(earlier, compartment_id)
    opened = [
        EarlierKeys(CompartmentKeys(SecretBytes(one.seed), one.index, compartment_id), owner.first_epoch, owner.last_epoch, one)
        for one, owner in zip(seeds, earlier, strict=True)
    ]
    for one, owner in zip(opened, earlier, strict=True):
        if one.keys.owner.public != owner.owner_key:
            raise HandoverInvalid("a seed makes another owner key", compartment_id=compartment_id.hex())
    if CompartmentKeys(SecretBytes(seeds[0].seed), seeds[0].index).compartment_id(chain) != compartment_id:
        raise HandoverInvalid("another compartment was opened with these keys", compartment_id=compartment_id.hex())
    return opened


def make_handover(
    keys: CompartmentKeys,
    chain: bytes,
    earlier: Sequence[EarlierOwner],
    sealed: bytes,
    now_ms: int,
    sponsor: SigningKey | None = None,
) -> SignedHandover:
    """Signed by the owner key of today; before a rotation by that of tomorrow, with that of today as `sponsor`.

    Raises `HandoverInvalid` for more than nodes keep or grants carry.
    """
    _require_epochs(earlier, keys.compartment_id(chain))
    handover = Handover(
        chain=chain,
        compartment_id=keys.compartment_id(chain),
        owner_key=keys.owner.public,
        log_read_key=keys.log_read.public,
        earlier=list(earlier),
        sealed=sealed,
        issued_ms=now_ms,
    )
    message = handover_message(handover)
    beside = None if sponsor is None else Sponsor(sponsor.public, sponsor.sign(message))
    return SignedHandover(handover, keys.owner.sign(message), beside)


def verify_handover(signed: SignedHandover, chain: bytes, owner_key: bytes, log_read_key: bytes) -> Handover:
    """The handover, when this owner signed it; raises `HandoverInvalid`. That the key is the compartment's, the caller asks the chain."""
    handover = signed.handover
    named = handover.compartment_id.hex()
    if handover.chain != chain:
        raise HandoverInvalid("another chain", compartment_id=named)
    if (handover.owner_key, handover.log_read_key) != (owner_key, log_read_key):
        raise HandoverInvalid("of other keys", compartment_id=named)
    if not verify(owner_key, handover_message(handover), signed.signature):
        raise HandoverInvalid("signature", compartment_id=named)
    _require_epochs(handover.earlier, handover.compartment_id)
    return handover


def _require_epochs(earlier: Sequence[EarlierOwner], compartment_id: bytes) -> None:
    """From 0, upwards, without a gap: each epoch has one owner. The owner of now needs one more, and a grant carries the keys of all:
    whoever hands over does not decide how many feeds the next owner looks for.
    """
    named = compartment_id.hex()
    if len(earlier) > MAX_EARLIER:
        raise HandoverInvalid("more rotations than are followed", compartment_id=named, max_rotations=MAX_EARLIER)
    expected = 0
    for owner in earlier:
        if owner.first_epoch != expected or owner.last_epoch < owner.first_epoch:
            raise HandoverInvalid("reading epochs do not follow each other", compartment_id=named)
        expected = owner.last_epoch + 1
    if expected >= MAX_EPOCH_KEYS:
        raise HandoverInvalid("more reading epochs than a grant carries", compartment_id=named, max_epochs=MAX_EPOCH_KEYS)
