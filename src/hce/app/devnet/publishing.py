"""The portal's page comes onto the chain: operators vote for what was built. Of a demo network all of them at once."""

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
    one place. Raises `PortalNotAgreed`."""
    newest = (await network.reader(KEY_PORTAL)).portal()
    if newest is not None and newest.release.bundle == bundle:
        return newest
    release = _after(newest, bundle)
    keys = [SigningKey(home.node_keys(index).service) for index in range(len(network.genesis.nodes))]
    reader = await network.reader(*(key_portal_vote(key.public) for key in keys))
    standing = [reader.portal_vote(key.public) for key in keys]
    done = sum(vote is not None and vote.release == release for vote in standing)
    free = [key for key, vote in zip(keys, standing, strict=True) if vote is None or vote.release.number < release.number]
    await asyncio.gather(*(_vote(network, key, release) for key in free[: two_thirds(len(keys)) - done]))
    published = (await network.reader(KEY_PORTAL)).portal()
    if published is None or published.release != release:
        raise PortalNotAgreed(number=release.number, bundle=bundle.hex())
    return published


async def vote_for_page(network: Network, key: SigningKey, bundle: bytes) -> tuple[int, bool]:
    """One operator's vote that this bundle is the next edition: (its number, whether it is published now)."""
    newest = (await network.reader(KEY_PORTAL)).portal()
    if newest is not None and newest.release.bundle == bundle:
        return newest.release.number, True
    release = _after(newest, bundle)
    await _vote(network, key, release)
    published = (await network.reader(KEY_PORTAL)).portal()
    return release.number, published is not None and published.release == release


def _after(newest: PortalState | None, bundle: bytes) -> PortalRelease:
    return PortalRelease(1 if newest is None else newest.release.number + 1, bundle, VERSION)


async def _vote(network: Network, key: SigningKey, release: PortalRelease) -> None:
    await network.transact("portal.vote", PortalVote(release, key.public), None, [("node", key)])
