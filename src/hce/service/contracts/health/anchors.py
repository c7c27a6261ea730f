"""Anchors: a node binds itself to the list of release receipts it wrote in a period, once, soon after the period has ended.

Free, as votes are, and bounded by the period: one for each node and period, and only for the last `ANCHOR_LATE_PERIODS`. They are
kept for ever, about 90 bytes each: an owner may look years later. Nothing here knows whether the list is true; each owner checks that
every receipt he has stands in it (`vault/anchors.py`).
"""

from __future__ import annotations

from hce.service.contracts.health.credentials import node_of
from hce.service.contracts.health.env import BlockEnv, HealthState
from hce.service.contracts.health.errors import AnchorExists, AnchorNotOwn, AnchorTooEarly, AnchorTooLate
from hce.service.terms.payloads import ANCHOR_LATE_PERIODS, AnchorPost
from hce.service.terms.states import AnchorState, key_anchor
from hce.service.terms.transactions import HealthTx


def post_anchor(tx: HealthTx, post: AnchorPost, state: HealthState, env: BlockEnv) -> list[bytes]:
    """Keep one node's anchor of a period that is over. Produces nothing."""
    if tx.signer("node") != post.node:
        raise AnchorNotOwn(node=post.node.hex())
    node_of(env.nodes, post.node)
    last = env.height // env.params.anchor_blocks - 1
    if post.period > last:
        raise AnchorTooEarly(period=post.period, allowed_height=(post.period + 1) * env.params.anchor_blocks)
    if post.period < last - ANCHOR_LATE_PERIODS:
        raise AnchorTooLate(period=post.period, oldest=last - ANCHOR_LATE_PERIODS)
    key = key_anchor(post.node, post.period)
    if state.has(key):
        raise AnchorExists(period=post.period)
    state.put(key, AnchorState(post.count, post.root, env.height))
    return []
