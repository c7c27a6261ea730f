"""A batch of the vault as the intake sees it: what the gateway sends is what the node takes."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from hce.foundation.codec.dagcbor import decode_as
from hce.foundation.crypto.sign import verify
from hce.service.intake.errors import EntryMismatch
from hce.service.intake.rules import deliveries, placed_shards
from hce.service.sdk.messages import message_of, messages_of
from hce.service.terms.intake import IntakeBatch, intake_message
from hce.service.terms.records import ContentItem, SessionEntry
from hce.service.vault.sealing import make_batch


@pytest.fixture
def intake(world: Any) -> Any:
    """Two visits to one compartment, three records, in one signed batch."""
    sessions = [world.session(), world.session()]
    for session in (*sessions, sessions[0]):
        session.seal([ContentItem("a", "text/plain", b"x")], "note", "2025-05-05", 1)
    return decode_as(IntakeBatch, messages_of(make_batch(sessions), {}, world.org_key)[0].raw)


@pytest.mark.parametrize("nodes", [1, 4, 9])
def test_each_node_is_sent_the_signed_batch_with_its_own_shards(world: Any, nodes: int) -> None:
    session = world.session()
    for note in (b"x", b"y" * 5_000):
        session.seal([ContentItem("a", "text/plain", note)], "note", "2025-05-05", 1)
    batch = make_batch([session], nodes)
    messages = messages_of(batch, {}, world.org_key)
    assert [message.node for message in messages] == list(range(nodes))
    for message in messages:
        sent = decode_as(IntakeBatch, message.raw)
        assert verify(world.org_key.public, intake_message(sent), sent.signature)
        placed_shards(sent, message.node, nodes)
        assert len(deliveries(sent)) == 1
        assert message_of(sent, message.node) == message


def test_two_visits_to_one_compartment_go_in_one_batch(intake: Any) -> None:
    delivered = deliveries(intake)
    assert [len(each.records) for each in delivered] == [2, 1]
    placed, shards = placed_shards(intake, node=0, nodes=1)
    assert len(placed) == len(shards) == 3
    for each in delivered:
        named = [opening.record_id for opening in decode_as(SessionEntry, each.post.entry).openings]
        assert [record.record_id for record in each.records] == named


def test_every_record_stands_in_exactly_one_entry_of_its_feed(intake: Any) -> None:
    other_feed = [replace(intake.posts[0], feed=bytes(32)), intake.posts[1]]
    moved = [replace(intake.records[0], feed=bytes(32)), *intake.records[1:]]
    for changed in (
        {"posts": intake.posts[:1]},
        {"posts": [*intake.posts, intake.posts[0]]},
        {"posts": other_feed},
        {"records": moved},
    ):
        with pytest.raises(EntryMismatch):
            deliveries(replace(intake, **changed))
