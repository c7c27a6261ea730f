"""Every receipt a node writes is in a list it says on chain: once, whole, after the period is over, whatever happens to the process."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import pytest
from tests.service.keyholders.scene import NODE_KEY, Scene

from hce.foundation.codec.dagcbor import decode_as, encode
from hce.foundation.crypto.seal import OpeningKey
from hce.foundation.proofs.listhash import list_root, verify_list_proof
from hce.service.keyholders.anchoring import Anchoring
from hce.service.mailbox import anchors
from hce.service.mailbox.anchors import ReceiptLeaf
from hce.service.mailbox.errors import PeriodClosed, PeriodFull
from hce.service.mailbox.final import FinalState
from hce.service.terms import grants, states
from hce.service.terms.genesis import Params
from hce.service.terms.payloads import ANCHOR_LATE_PERIODS, AnchorPost
from hce.service.terms.transactions import check_signatures, parse

PARAMS = Params(anchor_blocks=10)
PERIOD = 100
"""The world stands at height 1,000, the first of this period."""
ENDED = 1_010


def anchoring(scene: Scene) -> Anchoring:
    return Anchoring(chain=scene.world.chain, service_key=NODE_KEY, params=PARAMS, state=scene.state, periods=scene.mailbox.periods)


def release(scene: Scene, **changes: Any) -> None:
    scene.keyholder(params=PARAMS, **changes).release(scene.request)


def at(scene: Scene, height: int, syncing: bool = False) -> None:
    scene.world.now = scene.world.now._replace(height=height, syncing=syncing)


def leaves(scene: Scene, opening_key: OpeningKey) -> list[bytes]:
    """As the owner makes them, from what he opened."""
    info = grants.receipt_info(scene.world.chain)
    return [grants.receipt_leaf(decode_as(grants.SignedReceipt, opening_key.open(info, item.data))) for item in scene.log()]


def posts(scene: Scene, raws: list[bytes]) -> list[AnchorPost]:
    txs = [parse(raw, scene.world.chain) for raw in raws]
    for tx in txs:
        check_signatures(tx)
        assert (tx.body.kind, tx.signer("node")) == ("anchor.post", NODE_KEY.public)
    return [tx.body.payload for tx in txs]


def becomes_final(scene: Scene, post: AnchorPost) -> None:
    key = states.key_anchor(NODE_KEY.public, post.period)
    scene.table[key] = encode(states.AnchorState(post.count, post.root, scene.world.now.height))


def test_receipts_of_a_period_are_anchored_after_it_and_each_is_proven(scene: Scene, opening_key: OpeningKey) -> None:
    release(scene)
    [leaf] = leaves(scene, opening_key)
    at(scene, ENDED)
    [post] = posts(scene, anchoring(scene).work())
    assert post == AnchorPost(PERIOD, 1, list_root([leaf]), NODE_KEY.public)
    [proof, unknown] = scene.mailbox.periods.proofs([leaf, bytes(32)])
    assert unknown is None
    assert proof is not None
    assert proof.period == PERIOD
    assert verify_list_proof(post.root, leaf, proof.proof)


def test_nothing_is_said_before_the_period_is_over(scene: Scene, opening_key: OpeningKey) -> None:
    release(scene)
    node = anchoring(scene)
    at(scene, ENDED - 1)
    assert node.work() == []
    assert not node.wants(ENDED - 1)
    assert scene.mailbox.periods.proofs(leaves(scene, opening_key)) == [None]
    assert node.wants(ENDED)


def test_a_node_that_is_behind_says_nothing(scene: Scene) -> None:
    release(scene)
    at(scene, ENDED, syncing=True)
    node = anchoring(scene)
    assert node.work() == []
    at(scene, ENDED)
    assert len(node.work()) == 1


def test_a_period_without_receipts_is_not_anchored(scene: Scene) -> None:
    at(scene, ENDED)
    node = anchoring(scene)
    assert node.work() == []
    assert not node.wants(ENDED)


def test_it_is_posted_until_the_chain_shows_it_as_one_transaction_while_that_lives(scene: Scene) -> None:
    release(scene)
    at(scene, ENDED)
    node = anchoring(scene)
    first = node.work()
    at(scene, ENDED + 1)
    assert node.wants(ENDED + 1)
    assert node.work() == first
    at(scene, ENDED + PARAMS.replay_window)
    again = node.work()
    assert again != first
    [post] = posts(scene, again)
    assert [post] == posts(scene, first)
    becomes_final(scene, post)
    assert node.work() == []
    assert not node.wants(ENDED + PARAMS.replay_window)


def test_a_restart_between_receipt_and_anchor_loses_nothing(scene: Scene, opening_key: OpeningKey) -> None:
    release(scene)
    [leaf] = leaves(scene, opening_key)
    restart(scene)
    at(scene, ENDED)
    [post] = posts(scene, anchoring(scene).work())
    assert post.root == list_root([leaf])
    restart(scene)
    assert posts(scene, anchoring(scene).work()) == [post]
    becomes_final(scene, post)
    restart(scene)
    assert anchoring(scene).work() == []
    assert scene.mailbox.periods.proofs([leaf]) != [None]


def restart(scene: Scene) -> None:
    scene.mailbox.close()
    scene.mailbox = scene.open_mailbox("mailbox")


def test_a_kill_at_the_receipt_leaves_neither_receipt_nor_leaf(scene: Scene, opening_key: OpeningKey) -> None:
    class Killed(Exception):
        pass

    def die(transaction: Any) -> None:
        raise Killed

    scene.mailbox.close()
    scene.mailbox = scene.open_mailbox("mailbox", commit=die)
    with pytest.raises(Killed):
        release(scene)
    restart(scene)
    assert scene.log() == []
    release(scene)
    at(scene, ENDED)
    [post] = posts(scene, anchoring(scene).work())
    assert post.root == list_root(leaves(scene, opening_key))


def test_the_same_entry_asked_again_is_one_leaf(scene: Scene) -> None:
    release(scene)
    scene.now_ms_value += 5
    release(scene)
    at(scene, ENDED)
    [post] = posts(scene, anchoring(scene).work())
    assert post.count == 1


def test_a_release_decided_before_the_period_was_closed_goes_into_the_next_one(scene: Scene, opening_key: OpeningKey) -> None:
    """The decision is made at the period's last block, and the block after it is final before the receipt is written."""
    at(scene, ENDED - 1)
    looks = 0

    def state() -> AbstractContextManager[FinalState]:
        nonlocal looks
        looks += 1
        if looks == 2:
            at(scene, ENDED)
        return scene.state()

    scene.mailbox.periods.close_before(PERIOD + 1)
    release(scene, state=state)
    assert looks == 3
    [leaf] = leaves(scene, opening_key)
    at(scene, ENDED + 10)
    [post] = posts(scene, anchoring(scene).work())
    assert post == AnchorPost(PERIOD + 1, 1, list_root([leaf]), NODE_KEY.public)


def test_nothing_enters_a_closed_or_a_full_period_and_then_there_is_no_receipt(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.mailbox.periods.close_before(PERIOD + 1)
    with pytest.raises(PeriodClosed):
        release(scene)
    assert scene.log() == []
    at(scene, ENDED)
    monkeypatch.setattr(anchors, "MAX_LEAVES", 0)
    with pytest.raises(PeriodFull):
        release(scene)
    assert scene.log() == []


def test_a_list_too_old_for_the_chain_is_given_up(scene: Scene) -> None:
    release(scene)
    last = (PERIOD + 1 + ANCHOR_LATE_PERIODS + 1) * PARAMS.anchor_blocks - 2
    at(scene, last)
    assert len(anchoring(scene).work()) == 1
    at(scene, last + 1)
    node = anchoring(scene)
    assert node.work() == []
    assert not node.wants(last + 1)


def test_many_receipts_of_several_periods_are_proven_in_one_answer(scene: Scene) -> None:
    periods = scene.mailbox.periods
    wanted = []
    for number in range(20):
        leaf = bytes([number]) * 32
        entered = ReceiptLeaf(number % 3, leaf)
        assert scene.mailbox.append_log(b"a" * 32, b"c" * 32, leaf, b"sealed", entered)
        wanted.append(leaf)
    periods.close_before(2)
    assert periods.due(10) == [0, 1]
    for leaf, found in zip(wanted, periods.proofs(wanted), strict=True):
        if leaf[0] % 3 == 2:
            assert found is None
        else:
            assert found is not None
            assert (found.period, found.proof.count) == (leaf[0] % 3, 7)
            assert verify_list_proof(periods.listed(found.period)[1], leaf, found.proof)
