"""The portal's page: which files people may be given, said by the super nodes as organisations are, by two_thirds(n) votes.

Whoever serves the page decides what script has people's keys, so no single operator and no organisation publishes one. Editions are
numbered without gaps and a vote is for the next number only: late votes for what is past count for nothing. The map keeps the newest
edition and, by its hash, each one that ever was, so that an old page can be told from a foreign one.

Votes are free. A node has one standing vote; it may change it for another page of the same number, but only `CHANGE_BLOCKS` later.
"""

from __future__ import annotations

from hce.foundation.types.quorum import two_thirds
from hce.service.contracts.health.credentials import voter_of
from hce.service.contracts.health.env import BlockEnv, HealthState
from hce.service.contracts.health.errors import PortalVotedRecently, PortalWrongNumber, VoteRepeated
from hce.service.terms.payloads import PortalRelease, PortalVote
from hce.service.terms.states import KEY_PORTAL, PortalState, PortalVoteState, key_portal, key_portal_vote
from hce.service.terms.transactions import HealthTx

CHANGE_BLOCKS = 600
"""Blocks before a node may vote for another page of the same number: ten minutes of one-second blocks."""


def vote_portal(tx: HealthTx, vote: PortalVote, state: HealthState, env: BlockEnv) -> list[bytes]:
    """Record one node's vote; the vote that completes two_thirds(n) publishes. Produces the bundle's hash then, else nothing."""
    voter = voter_of(tx, vote, env)
    release = vote.release
    newest = state.portal()
    wanted = 1 if newest is None else newest.release.number + 1
    if release.number != wanted:
        raise PortalWrongNumber(expected=wanted, actual=release.number)
    standing = state.portal_vote(vote.voter)
    if standing is not None and standing.release.number == wanted:
        if standing.release == release:
            raise VoteRepeated(subject=release.bundle.hex(), node=voter)
        if env.height < standing.height + CHANGE_BLOCKS:
            raise PortalVotedRecently(allowed_height=standing.height + CHANGE_BLOCKS)
    state.put(key_portal_vote(vote.voter), PortalVoteState(release, env.height))
    if _votes(release, state, env) < two_thirds(len(env.nodes)):
        return []
    published = PortalState(release, env.height, env.time_ms)
    state.put(KEY_PORTAL, published)
    state.put(key_portal(release.bundle), published)
    return [release.bundle]


def _votes(release: PortalRelease, state: HealthState, env: BlockEnv) -> int:
    standing = (state.portal_vote(node.service_key) for node in env.nodes)
    return sum(vote is not None and vote.release == release for vote in standing)
