"""New words in the place of old ones: who fears that somebody has theirs keeps the account and everything in it, under other keys.

The handover is kept first, for the owner that is to be; then the recovery key rotates. Broken off before the block nothing has changed,
after it the new words find everything. What the old words opened before, whoever has them may know; they open nothing that comes.
"""

from __future__ import annotations

from hce.foundation.crypto.secret import SecretBytes
from hce.foundation.types.clock import Clock
from hce.service.sdk.handovers import FoundOwner, keep_handover
from hce.service.sdk.network import Network
from hce.service.sdk.owner import Owner
from hce.service.terms.handovers import EarlierSeed
from hce.service.terms.payloads import CompartmentRotate
from hce.service.vault.compartments import CompartmentKeys
from hce.service.vault.handovers import EarlierKeys, make_handover, seal_earlier


async def rotate_account(network: Network, clock: Clock, found: FoundOwner, seed: SecretBytes, new_seed: SecretBytes) -> FoundOwner:
    """The same compartment under the keys of `new_seed`; `seed` is the one of `found`. Every grant ends.

    Raises `HandoverNotKept`, and what the chain refuses a rotation with.
    """
    owner, chain = found.owner, network.chain
    first_epoch = owner.earlier[-1].last_epoch + 1 if owner.earlier else 0
    last = EarlierKeys(owner.keys, first_epoch, owner.reading_epoch, EarlierSeed(seed.reveal(), owner.keys.index))
    earlier = [*owner.earlier, last]
    keys = CompartmentKeys(new_seed, 0, owner.compartment_id)
    sealed = seal_earlier(keys.root.public, chain, owner.compartment_id, [one.seed for one in earlier])
    handover = make_handover(keys, chain, [one.public for one in earlier], sealed, clock.now_ms(), owner.keys.owner)
    await owner.publish_card()  # every node learns whose the old feed is
    await keep_handover(network, handover)
    rotation = CompartmentRotate(owner.compartment_id, keys.owner_digest, keys.recovery_digest)
    await network.transact("compartment.rotate", rotation, None, [("recovery", owner.keys.recovery)])
    return FoundOwner(Owner(network, clock, keys, owner.reading_epoch + 1, earlier), handover)
