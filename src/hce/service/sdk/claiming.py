"""Somebody takes over the account an organisation kept for them. Every step can be taken again: it finds what was done before."""

from __future__ import annotations

from typing import Protocol

from hce.foundation.crypto.secret import SecretBytes
from hce.foundation.crypto.sign import SigningKey
from hce.foundation.types.clock import Clock
from hce.foundation.types.errors import PeerFault, Refused
from hce.service.sdk.handovers import FoundOwner, find_owner, keep_handover
from hce.service.sdk.network import Network
from hce.service.sdk.owner import Owner
from hce.service.terms.claims import ClaimAnswer, ClaimFinish, SignedClaim
from hce.service.terms.states import key_compartment
from hce.service.vault.claiming import make_claim
from hce.service.vault.compartments import CompartmentKeys
from hce.service.vault.handovers import first_own_epoch, make_handover, open_earlier


class AccountExists(Refused):
    """These words have an account of their own: they cannot have the one on a card too."""

    code = "claim.account_exists"
    status = 409


class ClaimNotOurs(PeerFault):
    """The organisation answered as if the account were ours; the chain says it is not."""

    code = "claim.not_ours"


class ClaimDesk(Protocol):
    """The organisation that keeps the account: its gateway's `POST /v1/claims` and `POST /v1/claims/finish`."""

    async def claim(self, signed: SignedClaim, /) -> ClaimAnswer: ...

    async def finish(self, finish: ClaimFinish, /) -> None: ...


async def claim_account(
    network: Network, clock: Clock, seed: SecretBytes, card: SigningKey, org_id: bytes, desk: ClaimDesk
) -> FoundOwner:
    """Makes the account these words': final on chain, the earlier keys kept under the own ones at quorum(n) nodes.

    Believes nothing of what the organisation answers: the chain must say whose the compartment is, and the keys must be those it was
    opened with. Raises `AccountExists`, `HandoverInvalid`, `ClaimNotOurs`, `HandoverNotKept`, and what the organisation refuses with.
    """
    found = await find_owner(network, clock, seed)
    if found is not None:
        if found.handover is None:
            raise AccountExists(compartment_id=found.owner.compartment_id.hex())
        return found
    answer = await desk.claim(make_claim(CompartmentKeys(seed, 0), card, network.chain, org_id))
    name = answer.compartment_id
    keys = CompartmentKeys(seed, 0, name)
    earlier = open_earlier(keys.root, network.chain, name, answer.earlier, answer.sealed)
    state = (await network.reader(key_compartment(name))).compartment(name)
    if state is None or (state.owner_digest, state.recovery_digest) != (keys.owner_digest, keys.recovery_digest):
        raise ClaimNotOurs(compartment_id=name.hex())
    handover = make_handover(keys, network.chain, answer.earlier, answer.sealed, clock.now_ms())
    await keep_handover(network, handover)
    return FoundOwner(Owner(network, clock, keys, first_own_epoch(answer.earlier), earlier), handover)


async def finish_claim(found: FoundOwner, org_id: bytes, serial: int | None, desk: ClaimDesk) -> None:
    """Tells the organisation that it may forget its keys; with a serial it may write on without asking. Again it does no harm."""
    if found.handover is None:
        raise AccountExists(compartment_id=found.owner.compartment_id.hex())
    token = None if serial is None else found.owner.token(org_id, serial)
    await desk.finish(ClaimFinish(found.handover, await found.owner.card(), token))
