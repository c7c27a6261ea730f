"""The portal's page of a demo network comes onto its chain: its operators, whose keys all lie here, vote for what was built."""

from __future__ import annotations

import asyncio

from hce.app.devnet.home import Home
from hce.app.portal.bundle import VERSION
from hce.foundation.crypto.sign import SigningKey
from hce.foundation.types.errors import Unavailable
from hce.foundation.types.quorum import two_thirds
from hce.service.sdk.network import Network
from hce.service.terms.payloads import PortalRelease, PortalVote
from hce.service.terms.states import KEY_PORTAL, PortalState, key_portal_vote


class PortalNotAgreed(Unavailable):
    """Too few operators can vote for this page now: an earlier try left their votes with another one."""

    code = "portal.not_agreed"


async def publish_portal(home: Home, network: Network, bundle: bytes) -> PortalState:
    """The newest edition, which is this bundle: published now unless it was before. Only a demo network holds all operators' keys in
    one place; elsewhere each signs its own `portal.vote` for what it built itself."""
    newest = (await network.reader(KEY_PORTAL)).portal()
    if newest is not None and newest.release.bundle == bundle:
        return newest
    release = PortalRelease(1 if newest is None else newest.release.number + 1, bundle, VERSION)
    keys = [SigningKey(home.node_keys(index).service) for index in range(len(network.genesis.nodes))]
    reader = await network.reader(*(key_portal_vote(key.public) for key in keys))
    standing = [reader.portal_vote(key.public) for key in keys]
    done = sum(vote is not None and vote.release == release for vote in standing)
    free = [key for key, vote in zip(keys, standing, strict=True) if vote is None or vote.release.number < release.number]
    voters = free[: two_thirds(len(keys)) - done]
    votes = [(key, PortalVote(release, key.public)) for key in voters]
    await asyncio.gather(*(network.transact("portal.vote", vote, None, [("node", key)]) for key, vote in votes))
    published = (await network.reader(KEY_PORTAL)).portal()
    if published is None or published.release != release:
        raise PortalNotAgreed(number=release.number, bundle=bundle.hex())
    return published
