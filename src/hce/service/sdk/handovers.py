"""Earlier keys of a compartment, at the nodes: kept by its owner, found again by the words, followed by grantees."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from hce.foundation.crypto.secret import SecretBytes
from hce.foundation.types.clock import Clock
from hce.foundation.types.errors import HceError, Refused, Unavailable
from hce.foundation.types.quorum import quorum
from hce.service.sdk.errors import Remote
from hce.service.sdk.mail import SLOW_S
from hce.service.sdk.network import Network
from hce.service.sdk.node import NodeClient
from hce.service.sdk.owner import Owner
from hce.service.terms.grants import log_address
from hce.service.terms.handovers import SignedHandover
from hce.service.terms.payloads import owner_digest
from hce.service.terms.states import CompartmentState, key_compartment
from hce.service.vault.compartments import CompartmentKeys
from hce.service.vault.errors import HandoverInvalid
from hce.service.vault.handovers import first_own_epoch, open_earlier, verify_handover

NOT_FOUND = 404


class HandoverNotKept(Unavailable):
    """Too few nodes keep the earlier keys yet. Trying again is right; nothing is lost meanwhile."""

    code = "handover.not_kept"


class OwnerReplaced(Refused):
    """Other keys have been put in the place of these."""

    code = "owner.replaced"
    status = 409


class FoundOwner(Struct, frozen=True):
    """An owner found by words alone; `handover` for compartments whose keys were others before."""

    owner: Owner
    handover: SignedHandover | None


async def keep_handover(network: Network, signed: SignedHandover) -> None:
    """Has the earlier keys at quorum(n) nodes; a node that has this very one already says so. Raises `HandoverNotKept`."""
    answers = await network.every_node(lambda node: node.keep_handover(signed), SLOW_S)
    kept = sum(not isinstance(answer, HceError) for answer in answers)
    if kept < quorum(len(network.genesis.nodes)):
        raise HandoverNotKept(kept=kept) from next(answer for answer in answers if isinstance(answer, HceError))


async def kept_handover(network: Network, owner_key: bytes, log_read_key: bytes) -> SignedHandover | None:
    """The newest that any node has of this owner; None when there is none. Raises what the nodes said when none answered."""
    address = log_address(log_read_key, owner_key)
    answers = await network.every_node(lambda node: _asked(node, address), SLOW_S)
    if all(isinstance(answer, HceError) for answer in answers):
        raise next(answer for answer in answers if isinstance(answer, HceError))
    valid = [
        answer for answer in answers if isinstance(answer, SignedHandover) and _is_valid(network, answer, owner_key, log_read_key)
    ]
    return max(valid, key=lambda signed: signed.handover.issued_ms, default=None)


async def find_owner(network: Network, clock: Clock, seed: SecretBytes, index: int = 0) -> FoundOwner | None:
    """Whose words these are: a compartment they took over, or else the one they opened. None when they own none.

    What they took over comes first: they have signed for it, while anybody who pays can open a compartment for digests that stand in a
    rotation on chain. Raises `OwnerReplaced` when other keys have been put in the place of these.
    """
    keys = CompartmentKeys(seed, index)
    signed = await kept_handover(network, keys.owner.public, keys.log_read.public)
    taken = None if signed is None else await _state(network, CompartmentKeys(seed, index, signed.handover.compartment_id))
    if signed is not None and taken is not None and taken.owner_digest == keys.owner_digest:
        handover = signed.handover
        ours = CompartmentKeys(seed, index, handover.compartment_id)
        earlier = open_earlier(ours.root, network.chain, handover.compartment_id, handover.earlier, handover.sealed)
        return FoundOwner(Owner(network, clock, ours, first_own_epoch(handover.earlier), earlier), signed)
    opened = await _state(network, keys)
    if opened is not None and opened.owner_digest == keys.owner_digest:
        return FoundOwner(Owner(network, clock, keys), None)
    if opened is None and (signed is None or _is_to_come(signed, taken)):
        return None
    replaced = keys.compartment_id(network.chain) if signed is None else signed.handover.compartment_id
    raise OwnerReplaced(compartment_id=replaced.hex())


async def owner_keys_by_epoch(network: Network, owner_key: bytes, log_read_key: bytes, epochs: Sequence[int]) -> dict[int, bytes]:
    """Whose key is in the address of the feed of each reading epoch: the owner's of today, or one of before."""
    signed = await kept_handover(network, owner_key, log_read_key) if len(epochs) > 1 else None
    earlier = [] if signed is None else signed.handover.earlier
    return {
        epoch: next((one.owner_key for one in earlier if one.first_epoch <= epoch <= one.last_epoch), owner_key) for epoch in epochs
    }


async def _asked(node: NodeClient, address: bytes) -> SignedHandover | None:
    try:
        return await node.handover(address)
    except Remote as error:
        if error.status != NOT_FOUND:
            raise
        return None


def _is_valid(network: Network, signed: SignedHandover, owner_key: bytes, log_read_key: bytes) -> bool:
    try:
        verify_handover(signed, network.chain, owner_key, log_read_key)
    except HandoverInvalid:
        return False
    return True


def _is_to_come(signed: SignedHandover, state: CompartmentState | None) -> bool:
    """The rotation it was kept for has not been: the owner beside it still is the owner."""
    return signed.sponsor is not None and state is not None and owner_digest(signed.sponsor.owner_key) == state.owner_digest


async def _state(network: Network, keys: CompartmentKeys) -> CompartmentState | None:
    name = keys.compartment_id(network.chain)
    return (await network.reader(key_compartment(name))).compartment(name)
